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
when data and penalty, or atoms and codes, are rescaled. A row is done once max_j r_j <= tol, or
once that move is within rounding of the row's largest code.
"""

import warnings

import torch

from cofire.errors import ConvergenceWarning, InputError
from cofire.threads import side_by_side, single_threaded, workers_for
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

DEFAULT_TOL = 1e-5
"""Relative residual at which a row counts as solved; float32 reaches about 1e-6."""

_MAX_ROUNDS = 100
_SWEEPS_A_ROUND = 3
_CG_STEPS = 4
_FLAT = 1e-6
_RIDGE = 1e-3
_ROUNDINGS = 8  # a move below this many roundings of the largest code of the row is noise
_BLOCK = 32  # atoms whose mutual updates are kept in one small matrix; see descend_codes
_TILE_ROWS = 4096  # one coordinate of a tile stays in the processor's first-level cache
_BATCH_ROWS = {"cpu": 2048}  # elsewhere all at once: the caller gives tiles that fit
_ACTIVE_BYTES = 64 * 2**20
_ACTIVE_SWEEPS = 50  # of coordinate descent on the few codes that a row may keep


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
    tile = _active_rows(max_active)
    for start in range(0, codes.shape[1], tile):
        rows = slice(start, start + tile)
        stay, move = codes[:, rows], free[:, rows]
        stay = _improve_active(stay, target[:, rows], gram, sweeps, max_active)
        move = _improve_active(move, target[:, rows], gram, sweeps, max_active)
        lower = _row_objective(move, target[:, rows], gram) < _row_objective(
            stay, target[:, rows], gram
        )
        codes[:, rows] = torch.where(lower, move, stay)


def _active_rows(max_active: int) -> int:
    """Rows whose small Gram matrices take some 64 MiB."""
    return max(16, _ACTIVE_BYTES // (4 * max_active**2))


def _improve_active(
    codes: Tensor, target: Tensor, gram: Tensor, sweeps: int, max_active: int
) -> Float[Tensor, "features rows"]:
    """Descend on the largest codes of each row; the others become zero."""
    chosen = codes.topk(max_active, dim=0)
    few = chosen.values.T.contiguous()
    index = chosen.indices.T
    goal = target.gather(0, chosen.indices).T
    mutual = gram[index[:, :, None], index[:, None, :]]
    for _ in range(sweeps):
        for j in range(max_active):
            step = goal[:, j] - (mutual[:, j] * few).sum(dim=1)
            few[:, j] = (few[:, j] + step).clamp_(min=0)
    return torch.zeros_like(codes).scatter_(0, chosen.indices, few.T)


def _row_objective(codes: Tensor, target: Tensor, gram: Tensor) -> Float[Tensor, "rows"]:
    return (codes * (0.5 * (gram @ codes) - target)).sum(dim=0)


def unit_atoms(atoms: AtomMatrix) -> tuple[AtomMatrix, Float[Tensor, "features"]]:
    """Atoms scaled to norm one, and the norms they had; zero atoms stay zero with norm zero."""
    norms = torch.linalg.vector_norm(atoms, dim=1)
    return atoms / norms.clamp(min=torch.finfo(atoms.dtype).tiny)[:, None], norms


def nonnegative_codes(
    X: ActivationMatrix,
    D: AtomMatrix,
    *,
    penalty: float = 0.0,
    max_active: int | None = None,
    tol: float = DEFAULT_TOL,
    max_rounds: int = _MAX_ROUNDS,
    batch_rows: int | None = None,
) -> CodeMatrix:
    """Codes C >= 0 of the rows of X: min 1/2 ||X - C D||^2 + penalty * sum(C).

    Starts from the clipped solution of the equations without constraint, so that the answer
    depends on nothing but the arguments; the batch size changes it by rounding only. A zero atom
    gets zero codes. For atoms that are not independent the optimum
    is not unique; one of the optima is returned, always the same one.

    Args:
        X: data in any floating type; 16-bit types are computed in float32.
        D: atoms of any norm, on the device of X.
        penalty: weight of the L1 norm of the codes, >= 0, in units of data × atoms.
        max_active: most codes above zero a row; the largest of the full solution are kept and
            improved given that the others are zero. None for no limit.
        tol: relative residual at which a row is done (module docstring); above 0.
        max_rounds: most rounds of coordinate descent and Newton steps; 2 to 6 are usual.
        batch_rows: rows solved together; 2048 by default on CPUs, where several batches are
            solved at a time; elsewhere all.

    Returns:
        C on the device of X, in float64 for float64 data, else in float32.

    Warns:
        ConvergenceWarning: when rows did not reach the tolerance in ``max_rounds``.

    Raises:
        InputError: shapes that do not fit, a negative penalty or a tolerance that is not positive.
    """
    if X.shape[1] != D.shape[1]:
        raise InputError(f"Rows have {X.shape[1]} channels but atoms {D.shape[1]}.")
    if penalty < 0 or tol <= 0:
        raise InputError(f"penalty must be >= 0 and tol > 0; got {penalty!r} and {tol!r}.")
    dtype = torch.float64 if X.dtype == torch.float64 else torch.float32
    unit, norms = unit_atoms(D.to(dtype))
    gram = unit @ unit.T
    scaling = torch.where(norms > 0, 1 / norms, 0.0)[:, None]
    work = float(X.numel()) * len(D)
    if batch_rows is None:
        batch_rows = _BATCH_ROWS.get(X.device.type, len(X))
    if max_active is not None:
        batch_rows = min(batch_rows, _active_rows(max_active))
    codes = torch.empty(X.shape[0], D.shape[0], dtype=dtype, device=X.device)

    def encode(worker: int, start: int) -> None:
        batch = X[start : start + batch_rows].to(dtype)
        scale = torch.linalg.vector_norm(batch, dim=1)
        target = unit @ batch.T - penalty * scaling
        solved = _solve(target, gram, scale, tol, max_rounds)
        if max_active is not None and max_active < len(D):
            solved = _improve_active(solved, target, gram, _ACTIVE_SWEEPS, max_active)
        codes[start : start + batch_rows] = (solved * scaling).T

    with single_threaded(X.device, work):
        starts = range(0, len(X), max(1, batch_rows))
        side_by_side(encode, starts, workers=workers_for(X.device, work))
    return codes


def _solve(
    target: Tensor, gram: Tensor, scale: Tensor, tol: float, max_rounds: int
) -> Float[Tensor, "features rows"]:
    """Rounds of coordinate descent and a Newton step, until every row is done.

    Coordinate descent finds which codes are zero but polishes the others slowly when atoms
    overlap; the Newton step solves for the others at once. Finished rows leave the batch, so a row
    goes through the same rounds whatever rows are beside it.
    """
    preconditioner = _inverse(gram)
    codes = torch.zeros_like(target)
    left = torch.arange(target.shape[1], device=target.device)
    active = (preconditioner @ target).clamp_(min=0)
    for _ in range(max_rounds):
        descend_codes(active, target, gram, sweeps=_SWEEPS_A_ROUND)
        active, gradient = _newton_step(active, target, gram, preconditioner)
        move = (active - gradient).clamp_(min=0).sub_(active).abs_().amax(dim=0)
        floor = _ROUNDINGS * torch.finfo(target.dtype).eps * active.amax(dim=0)
        open_rows = move > torch.maximum(tol * scale, floor)
        if not bool(open_rows.all()):
            codes[:, left] = active
            left, scale = left[open_rows], scale[open_rows]
            active, target = active[:, open_rows], target[:, open_rows]
        if len(left) == 0:
            return codes
    codes[:, left] = active
    warnings.warn(
        f"{len(left)} of {codes.shape[1]} rows did not reach the tolerance {tol:g} in "
        f"{max_rounds} rounds of nonnegative least squares; their codes are close to the optimum. "
        f"Raise tol or max_rounds.",
        ConvergenceWarning,
        stacklevel=3,
    )
    return codes


def _newton_step(
    codes: Tensor, target: Tensor, gram: Tensor, preconditioner: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve for the free codes by preconditioned conjugate gradients, then project.

    A code is free unless it is zero and the gradient holds it there. Where the projection would
    raise the objective of a row, that row only goes as far as its first code that reaches zero.

    Returns:
        New codes and the gradient there.
    """
    gradient = torch.addmm(target, gram, codes, beta=-1)
    free = (codes > 0) | (gradient < 0)
    residual = gradient.neg().masked_fill_(~free, 0)
    direction = (preconditioner @ residual).masked_fill_(~free, 0)
    energy = (residual * direction).sum(dim=0)
    tiny = torch.finfo(codes.dtype).tiny
    step = torch.zeros_like(codes)
    for last in reversed(range(_CG_STEPS)):
        image = gram @ direction
        curvature = (direction * image).sum(dim=0)
        # No curvature: atoms that are not independent, or a row that is solved already.
        curved = curvature > _FLAT * energy
        length = torch.where(curved, energy / curvature.clamp_(min=tiny), 0.0)
        step.addcmul_(direction, length)
        if last == 0:
            break
        residual.addcmul_(image, length, value=-1).masked_fill_(~free, 0)
        turned = (preconditioner @ residual).masked_fill_(~free, 0)
        before, energy = energy, (residual * turned).sum(dim=0)
        direction.mul_(energy / before.clamp(min=tiny)).add_(turned)

    projected = (codes + step).clamp_(min=0)
    moved = projected - codes
    image = gram @ moved
    rise = (moved * (gradient + 0.5 * image)).sum(dim=0) > 0.0
    if bool(rise.any()):
        back, going = codes[:, rise], step[:, rise]
        room = torch.where(going < 0, back / going.neg().clamp_(min=tiny), torch.inf)
        shorter = (back + going * room.amin(dim=0).clamp_(max=1)).clamp_(min=0)
        projected[:, rise] = shorter
        image[:, rise] = gram @ (shorter - back)
    return projected, gradient.add_(image)


def _inverse(gram: Tensor) -> Tensor:
    """(H + ridge)^-1, a preconditioner: it decides the speed only, not the result."""
    wide = gram.double() if gram.device.type != "mps" else gram
    ridge = _RIDGE * torch.eye(len(gram), dtype=wide.dtype, device=gram.device)
    return torch.cholesky_inverse(torch.linalg.cholesky(wide + ridge)).to(gram.dtype)


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
    unit, norms = unit_atoms(wide_d)
    codes = wide_c * norms
    gradient = (wide_c @ wide_d - wide_x) @ unit.T + torch.where(norms > 0, penalty / norms, 0.0)
    move = ((codes - gradient).clamp(min=0) - codes).abs().amax(dim=1)
    scale = torch.linalg.vector_norm(wide_x, dim=1)
    return torch.where(move == 0, 0.0, move / scale).to(torch.float64)
