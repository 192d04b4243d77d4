"""Coordinate descent on codes: over all features of a row, or over the few that a row may use.

Both minimise ½ c H c - w c over c >= 0 for every row, given the target W = D X^T - penalty
[features rows] and the Gram matrix H = D D^T of unit atoms. Codes and targets are stored feature by
feature, [features rows], so that one coordinate of all rows is contiguous.
"""

import torch

from cofire.code_kernel import descend_block
from cofire.threads import single_threaded
from cofire.types import AtomMatrix, Float, Int, Tensor

_BLOCK = 32  # atoms whose mutual updates are kept in one small matrix; see descend_codes
_TILE_ROWS = 4096  # one coordinate of a tile stays in the processor's first-level cache
_FEW_BYTES = 64 * 2**20  # of small Gram matrices at a time
_PRODUCTS_PAY = 8.0  # a product is one operation: from 2.5e7 multiplications on threads pay
_RIDGE = 1e-7


def unit_atoms(atoms: AtomMatrix) -> tuple[AtomMatrix, Float[Tensor, "features"]]:
    """Atoms scaled to norm one, and the norms they had; zero atoms stay zero with norm zero."""
    norms = torch.linalg.vector_norm(atoms, dim=1)
    return atoms / norms.clamp(min=torch.finfo(atoms.dtype).tiny)[:, None], norms


def descend_codes(
    codes: Float[Tensor, "features rows"],
    target: Float[Tensor, "features rows"],
    gram: Float[Tensor, "features features"],
    *,
    sweeps: int,
) -> None:
    """Hierarchical alternating least squares: exact coordinate descent on the codes, in place.

    Each sweep minimises over every feature in turn, for all rows at once; the objective never
    rises. Features are taken in blocks: one matrix product brings a block up to date, and changes
    within the block are passed on by rank-one updates of that block only.

    Args:
        codes: C^T, nonnegative; changed in place.
        target: W = D X^T - penalty, for atoms of unit norm (or zero).
        gram: H = D D^T, so with ones (or zeros) on the diagonal.
        sweeps: how many times to pass over all features.

    Source: Cichocki & Phan 2009 (HALS), for codes of semi-NMF as in Gillis & Kumar,
    arXiv:1410.7220. Cost a sweep: 2 · rows · features² operations.
    """
    n_features, n_rows = codes.shape
    tile = _TILE_ROWS if codes.device.type == "cpu" else n_rows
    for start in range(0, n_rows, max(tile, 1)):
        rows = slice(start, start + tile)
        part = codes[:, rows].contiguous()
        goal = target[:, rows].contiguous()
        for _ in range(sweeps):
            for first in range(0, n_features, _BLOCK):
                _descend_block(part, goal, gram, slice(first, first + _BLOCK))
        codes[:, rows] = part


def _descend_block(codes: Tensor, target: Tensor, gram: Tensor, block: slice) -> None:
    with single_threaded(codes.device, float(codes.numel()) * _BLOCK * _PRODUCTS_PAY):
        step = torch.addmm(target[block], gram[block], codes, alpha=-1)  # minus the gradient
    if codes.device.type == "cpu":
        descend_block(codes[block], step, gram[block, block])
    else:
        _descend_in_operations(codes[block], step, gram[block, block])


def _descend_in_operations(codes: Tensor, step: Tensor, mutual: Tensor) -> None:
    """What ``descend_block`` does, by operations of a device."""
    for j, code in enumerate(codes):
        new = torch.add(code, step[j]).clamp_(min=0)
        if j + 1 < len(step):
            step[j + 1 :].addr_(mutual[j + 1 :, j], code.sub_(new))
        code.copy_(new)


def descend_active_codes(
    codes: Float[Tensor, "features rows"],
    target: Float[Tensor, "features rows"],
    gram: Float[Tensor, "features features"],
    *,
    sweeps: int,
    max_active: int,
) -> None:
    """Coordinate descent with at most ``max_active`` codes above zero a row, in place.

    Each row takes the better of two: its old features with their codes improved, or the largest
    ``max_active`` codes of a descent over all features, improved. The first never rises, so the
    objective does not either. Which set is best is a combinatorial question that this only
    approaches.

    Args:
        codes: C^T with at most ``max_active`` positive entries a column; changed in place.
        target, gram, sweeps: as for ``descend_codes``.
        max_active: from 1 on.
    """
    if max_active >= len(codes):
        descend_codes(codes, target, gram, sweeps=sweeps)
        return
    free = codes.clone()
    descend_codes(free, target, gram, sweeps=sweeps)
    stay = solve_few(codes, target, gram, codes.topk(max_active, dim=0).indices, sweeps=sweeps)
    move = solve_few(free, target, gram, free.topk(max_active, dim=0).indices, sweeps=sweeps)
    lower = _row_objective(move, target, gram) < _row_objective(stay, target, gram)
    codes.copy_(torch.where(lower, move, stay))


def _row_objective(codes: Tensor, target: Tensor, gram: Tensor) -> Float[Tensor, "rows"]:
    return (codes * (0.5 * (gram @ codes) - target)).sum(dim=0)


def solve_few(
    codes: Float[Tensor, "features rows"],
    target: Float[Tensor, "features rows"],
    gram: Float[Tensor, "features features"],
    chosen: Int[Tensor, "_ rows"],
    *,
    sweeps: int,
    newton: int = 0,
) -> Float[Tensor, "features rows"]:
    """Descend over the chosen features of each row; all others become zero.

    Args:
        codes, target, gram: as for ``descend_codes``; not changed.
        chosen: features of each row.
        sweeps: coordinate sweeps before every Newton step, or in all without one.
        newton: steps to the unconstrained minimum over the codes above zero, as far as the first of
            them that reaches zero; the objective does not rise.

    Returns:
        New codes.
    """
    few = len(chosen)
    solved = torch.zeros_like(codes)
    rows_at_once = max(16, _FEW_BYTES // (4 * few**2))
    for start in range(0, codes.shape[1], rows_at_once):
        rows = slice(start, start + rows_at_once)
        index = chosen[:, rows]
        goal = target[:, rows].gather(0, index).T.contiguous()
        part = codes[:, rows].gather(0, index).T.contiguous()
        turned = index.T
        mutual = gram[turned[:, :, None], turned[:, None, :]]
        for _ in range(max(1, newton)):
            for _ in range(sweeps):
                for j in range(few):
                    step = torch.sub(goal[:, j], (mutual[:, j] * part).sum(dim=1))
                    part[:, j].add_(step).clamp_(min=0)
            if newton:
                part = _newton(part, goal, mutual)
        solved[:, rows] = torch.zeros_like(codes[:, rows]).scatter_(0, index, part.T)
    return solved


def _newton(
    part: Float[Tensor, "rows _"], goal: Float[Tensor, "rows _"], mutual: Float[Tensor, "rows _ _"]
) -> Float[Tensor, "rows _"]:
    """Towards the minimum over the positive codes of each row, until one reaches zero."""
    positive = part > 0
    both = positive[:, :, None] & positive[:, None, :]
    system = torch.where(both, mutual, 0.0)
    system.diagonal(dim1=1, dim2=2).add_((~positive).to(part.dtype)).add_(_RIDGE)
    factor, failed = torch.linalg.cholesky_ex(system)
    best = torch.cholesky_solve((goal * positive)[:, :, None], factor)[:, :, 0]
    move = torch.where(positive & (failed == 0)[:, None], best - part, 0.0)
    tiny = torch.finfo(part.dtype).tiny
    room = torch.where(move < 0, part / move.neg().clamp(min=tiny), torch.inf)
    return (part + move * room.amin(dim=1, keepdim=True).clamp_(max=1)).clamp_(min=0)
