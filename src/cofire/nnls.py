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
from collections.abc import Callable
from functools import cache, partial

import torch

from cofire.active_set import finish_codes, wide_gram
from cofire.code_descent import descend_codes, solve_few, unit_atoms
from cofire.errors import ConvergenceWarning, InputError
from cofire.threads import side_by_side, single_threaded, workers_for
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Int, Tensor

DEFAULT_TOL = 1e-5
"""Relative residual at which a row counts as solved; float32 reaches about 1e-6."""

_MAX_ROUNDS = 100
_FINISHED_SHARE = 0.1  # of the tolerance, so that rounding to the codes' type stays below it
_SWEEPS_A_ROUND = 3
_CG_STEPS = 4
_MANY_FEATURES = 1500  # from which rows that use few of them are solved over those few
_FEW_SHARE = 0.1
_NEW_A_ROUND = 48  # features that may come into use
_LAST_NEWTON_STEPS = 20  # over the few features that ``max_active`` leaves
_FLAT = 1e-6
_RIDGE = 1e-3
_ROUNDINGS = 8  # a move below this many roundings of the largest code of the row is noise
_BATCH_CODES = 2**18  # solved together on CPUs, so that temporaries stay small
_BATCH_ROWS = 256, 2048  # but never fewer or more rows than these


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

    Starts from the clipped solution of the equations without constraint (of thousands of features,
    from zero), so that the answer depends on nothing but the arguments; the batch size changes it
    by rounding only. A zero atom gets zero codes. For atoms that are not independent the optimum is
    not unique; one of the optima is returned, always the same one.

    Args:
        X: data in any floating type; 16-bit types are computed in float32.
        D: atoms of any norm, on the device of X.
        penalty: weight of the L1 norm of the codes, >= 0, in units of data × atoms.
        max_active: most codes above zero a row; the largest of the full solution are kept and
            improved given that the others are zero. None for no limit.
        tol: relative residual at which a row is done (module docstring); above 0.
        max_rounds: most rounds of coordinate descent and Newton steps; 2 to 6 are usual. Rows that
            are open then are finished by an active-set method (active_set.py).
        batch_rows: rows solved together; by default 256 to 2048 on CPUs, where several batches
            are solved at a time; elsewhere all, as the caller gives tiles that fit.

    Returns:
        C on the device of X, in float64 for float64 data, else in float32.

    Warns:
        ConvergenceWarning: when rows did not reach the tolerance even so.

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
        fewest, most = _BATCH_ROWS
        several = min(most, max(fewest, _BATCH_CODES // max(1, len(D))))
        batch_rows = several if X.device.type == "cpu" else len(X)
    codes = torch.empty(X.shape[0], D.shape[0], dtype=dtype, device=X.device)

    @cache  # rows seldom need it, and all batches the same
    def wide() -> Tensor:
        return wide_gram(unit)

    finish = partial(_finish, wide=wide, tol=tol, n_channels=D.shape[1])

    def encode(worker: int, start: int) -> None:
        batch = X[start : start + batch_rows].to(dtype)
        scale = torch.linalg.vector_norm(batch, dim=1)
        target = unit @ batch.T - penalty * scaling
        solved = _solve(target, gram, scale, tol, max_rounds, finish)
        if max_active is not None and max_active < len(D):
            largest = solved.topk(max_active, dim=0).indices
            solved = solve_few(
                solved, target, gram, largest, sweeps=_SWEEPS_A_ROUND, newton=_LAST_NEWTON_STEPS
            )
        codes[start : start + batch_rows] = (solved * scaling).T

    with single_threaded(X.device, work):
        starts = range(0, len(X), max(1, batch_rows))
        side_by_side(encode, starts, workers=workers_for(X.device, work))
    return codes


def _solve(
    target: Tensor,
    gram: Tensor,
    scale: Tensor,
    tol: float,
    max_rounds: int,
    finish: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Float[Tensor, "features rows"]:
    """Rounds of coordinate descent and a Newton step, until every row is done.

    Coordinate descent finds which codes are zero but polishes the others slowly when atoms
    overlap; the Newton step solves for the others at once. Of thousands of features a row uses few:
    there a round is only about those in use and those that should be, and one product over all
    tells which should (an active-set method). Finished rows leave the batch; what is open at the
    end, ``finish`` solves, from codes, target and scale.
    """
    codes = torch.zeros_like(target)
    left = torch.arange(target.shape[1], device=target.device)
    preconditioner = None if len(gram) >= _MANY_FEATURES else _inverse(gram)
    active = codes.clone() if preconditioner is None else (preconditioner @ target).clamp_(min=0)
    gradient: Tensor | None = None
    for _ in range(max_rounds):
        chosen = None if gradient is None else _few_features(active, gradient)
        if chosen is not None:
            active = solve_few(active, target, gram, chosen, sweeps=_SWEEPS_A_ROUND, newton=1)
        else:
            descend_codes(active, target, gram, sweeps=_SWEEPS_A_ROUND)
        gradient = torch.addmm(target, gram, active, beta=-1)
        if preconditioner is not None:
            active, gradient = _newton_step(active, gradient, gram, preconditioner)
        move = (active - gradient).clamp_(min=0).sub_(active).abs_().amax(dim=0)
        floor = _ROUNDINGS * torch.finfo(target.dtype).eps * active.amax(dim=0)
        open_rows = move > torch.maximum(tol * scale, floor)
        if not bool(open_rows.all()):
            codes[:, left] = active
            left, scale = left[open_rows], scale[open_rows]
            active, target = active[:, open_rows], target[:, open_rows]
            gradient = gradient[:, open_rows]
        if len(left) == 0:
            return codes
    codes[:, left] = finish(active, target, scale)
    return codes


def _finish(
    codes: Tensor,
    target: Tensor,
    scale: Tensor,
    *,
    wide: Callable[[], Tensor],
    tol: float,
    n_channels: int,
) -> Float[Tensor, "features rows"]:
    """Solve rows by the active-set method; says how many it had to give up."""
    limits = _FINISHED_SHARE * tol * scale
    solved, given_up = finish_codes(codes, target, wide(), limits, most=n_channels)
    if given_up:
        warnings.warn(
            f"{given_up} of {codes.shape[1]} rows that were left did not reach the tolerance "
            f"{tol:g} of nonnegative least squares; their codes are close to the optimum. Raise "
            "tol.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return solved


def _few_features(
    codes: Float[Tensor, "features rows"], gradient: Float[Tensor, "features rows"]
) -> Int[Tensor, "_ rows"] | None:
    """For every row the features it uses and some it should; None where that is no saving."""
    used = int((codes > 0).sum(dim=0).max())
    if len(codes) < _MANY_FEATURES or used > _FEW_SHARE * len(codes):
        return None
    wanted = torch.where(codes > 0, torch.inf, -gradient)
    return wanted.topk(min(len(codes), used + _NEW_A_ROUND), dim=0).indices


def _newton_step(
    codes: Tensor, gradient: Tensor, gram: Tensor, preconditioner: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve for the free codes by preconditioned conjugate gradients, then project.

    A code is free unless it is zero and the gradient holds it there. Where the projection would
    raise the objective of a row, that row only goes as far as its first code that reaches zero.

    Returns:
        New codes and the gradient there.
    """
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
