"""Nonnegative least squares for codes: given the atoms, encode rows exactly and deterministically.

Solves, for every row x of X on its own,

    min over c >= 0 of  1/2 ||x - c D||^2  +  penalty * sum(c)

Notation (see docs/architecture.md for the paper's letters):

    X [rows channels]      data                       paper: A, transposed
    C [rows features]      codes, c one row of it     paper: Y, transposed
    D [features channels]  atoms                      paper: Z, transposed
    W = D X^T - penalty    [features rows]  the target: correlations of unit atoms with the rows
    H = D D^T              [features features]  Gram matrix of the unit atoms

Only W and H are formed, never the residual. Inside, atoms have unit norm and codes and targets are
stored feature by feature, [features rows], so that one coordinate of all rows is contiguous.

Stopping rule. The residual of coordinate j of a row is the move that exact minimisation of that
coordinate alone would still make, measured in the data as a fraction of the row:

    r_j = | c_j - max(0, c_j - g_j / ||d_j||^2) | * ||d_j|| / ||x||,
    g_j = (c D - x) . d_j + penalty

It is zero for all j exactly at the optimum (the Karush-Kuhn-Tucker conditions), and does not change
when data and penalty, or atoms and codes, are rescaled. A row is done once max_j r_j <= tol.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cofire.errors import InputError
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

DEFAULT_TOL = 1e-5
"""Relative residual at which a row counts as solved; float32 reaches about 1e-6."""

_MAX_SWEEPS = 2000
_SWEEPS_BETWEEN_CHECKS = 8
_BLOCK = 32  # atoms whose mutual updates are kept in one small matrix; see descend_codes
_TILE_ROWS = 4096  # one coordinate of a tile stays in the processor's first-level cache
_BATCH_BYTES = 256 * 2**20
_DEAD = 1e-30  # squared norm under which an atom counts as zero


@contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """Run many small CPU operations on one thread; elsewhere do nothing.

    Operations of some microseconds gain nothing from a second thread, and on a busy machine every
    thread barrier may cost a scheduling slice: measured 10 to 100 times slower.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    with single_threaded(codes.device):
        for start in range(0, n_rows, max(tile, 1)):
            rows = slice(start, start + tile)
            part = codes[:, rows].contiguous()
            goal = target[:, rows].contiguous()
            for _ in range(sweeps):
                for first in range(0, n_features, _BLOCK):
                    _descend_block(part, goal, gram, slice(first, first + _BLOCK))
            codes[:, rows] = part


def _descend_block(codes: Tensor, target: Tensor, gram: Tensor, block: slice) -> None:
    step = torch.addmm(target[block], gram[block], codes, alpha=-1)  # minus the gradient
    mutual = gram[block, block]
    for j, code in enumerate(codes[block]):
        new = torch.add(code, step[j]).clamp_(min=0)
        if j + 1 < len(step):
            step[j + 1 :].addr_(mutual[j + 1 :, j], code.sub_(new))
        code.copy_(new)


def nonnegative_codes(
    X: ActivationMatrix,
    D: AtomMatrix,
    *,
    penalty: float = 0.0,
    tol: float = DEFAULT_TOL,
    max_sweeps: int = _MAX_SWEEPS,
    batch_rows: int | None = None,
) -> CodeMatrix:
    """Codes C >= 0 of the rows of X: min 1/2 ||X - C D||^2 + penalty * sum(C).

    Starts at zero, so the answer depends on nothing but the arguments; the batch size changes it
    by rounding only. A zero atom gets zero codes. Of two identical atoms the first one carries the
    code (the optimum is then not unique).

    Args:
        X: data in any floating type; 16-bit types are computed in float32.
        D: atoms of any norm, on the device of X.
        penalty: weight of the L1 norm of the codes, >= 0, in units of data × atoms.
        tol: relative residual at which a row is done (module docstring); above 0.
        max_sweeps: most coordinate sweeps a batch may take.
        batch_rows: rows solved together; by default as many as fit some 256 MiB.

    Returns:
        C on the device of X, in float64 for float64 data, else in float32.

    Raises:
        InputError: shapes that do not fit, a negative penalty or a tolerance that is not positive.
    """
    if X.shape[1] != D.shape[1]:
        raise InputError(f"Rows have {X.shape[1]} channels but atoms {D.shape[1]}.")
    if penalty < 0 or tol <= 0:
        raise InputError(f"penalty must be >= 0 and tol > 0; got {penalty!r} and {tol!r}.")
    dtype = torch.float64 if X.dtype == torch.float64 else torch.float32
    unit, norms = _unit_atoms(D.to(dtype))
    gram = unit @ unit.T
    weights = penalty / norms.clamp(min=_DEAD**0.5)
    if batch_rows is None:
        batch_rows = max(1024, _BATCH_BYTES // (4 * (X.shape[1] + 8 * len(D))))
    codes = torch.empty(X.shape[0], D.shape[0], dtype=dtype, device=X.device)
    for start in range(0, X.shape[0], batch_rows):
        batch = X[start : start + batch_rows].to(dtype)
        scale = torch.linalg.vector_norm(batch, dim=1)
        solved = _solve(unit @ batch.T - weights[:, None], gram, scale, tol, max_sweeps)
        codes[start : start + batch_rows] = (solved / norms[:, None]).T
    return codes


def _unit_atoms(D: Tensor) -> tuple[Tensor, Tensor]:
    """Atoms on the unit sphere and their norms; zero atoms stay zero and get norm one."""
    norms = torch.linalg.vector_norm(D, dim=1)
    norms = torch.where(norms.square() > _DEAD, norms, torch.ones_like(norms))
    return D / norms[:, None], norms


def _solve(
    target: Tensor, gram: Tensor, scale: Tensor, tol: float, max_sweeps: int
) -> Float[Tensor, "features rows"]:
    """Coordinate sweeps from zero until every row is done; finished rows leave the batch."""
    codes = torch.zeros_like(target)
    open_rows = torch.arange(target.shape[1], device=target.device)
    active, goal, scale = codes.clone(), target, scale.clamp(min=torch.finfo(target.dtype).tiny)
    for _ in range(0, max_sweeps, _SWEEPS_BETWEEN_CHECKS):
        descend_codes(active, goal, gram, sweeps=_SWEEPS_BETWEEN_CHECKS)
        unfinished = _residual(active, goal, gram) > tol * scale
        if bool(unfinished.all()):
            continue
        codes[:, open_rows] = active
        open_rows, scale = open_rows[unfinished], scale[unfinished]
        if len(open_rows) == 0:
            return codes
        active, goal = active[:, unfinished], goal[:, unfinished]
    codes[:, open_rows] = active
    return codes


def _residual(codes: Tensor, target: Tensor, gram: Tensor) -> Float[Tensor, "rows"]:
    step = torch.addmm(target, gram, codes, alpha=-1)
    return step.add_(codes).clamp_(min=0).sub_(codes).abs_().amax(dim=0)


def kkt_residual(
    X: ActivationMatrix, D: AtomMatrix, C: CodeMatrix, *, penalty: float = 0.0
) -> Float[Tensor, "rows"]:
    """How far the codes of each row are from the optimum: max_j r_j of the module docstring.

    Computed in float64 from the residual itself, so it also shows the rounding of the solver.
    Rows of zeros have residual zero when their codes are zero, else infinity; negative codes count
    by their size.

    >>> X, D = torch.tensor([[3.0, 4.0]]), torch.eye(2)
    >>> kkt_residual(X, D, torch.tensor([[3.0, 4.0]])).item()
    0.0
    >>> round(kkt_residual(X, D, torch.tensor([[3.0, 3.0]])).item(), 6)  # off by 1 of norm 5
    0.2
    """
    wide_x, wide_d, wide_c = (part.detach().cpu().double() for part in (X, D, C))
    unit, norms = _unit_atoms(wide_d)
    codes = wide_c * norms
    gradient = (wide_c @ wide_d - wide_x) @ unit.T + penalty / norms
    move = ((codes - gradient).clamp(min=0) - codes).abs().amax(dim=1)
    scale = torch.linalg.vector_norm(wide_x, dim=1)
    return torch.where(move == 0, 0.0, move / scale).to(torch.float64)
