"""Checks of the estimator's parameters, made before any work on the data."""

import hashlib
import math
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from cofire.errors import InputError
from cofire.factorization.bcd import BlockCoordinateDescent
from cofire.factorization.checkpoint import fingerprint
from cofire.factorization.data import DataMatrix
from cofire.factorization.initialization import STARTS
from cofire.factorization.mu import MultiplicativeUpdates
from cofire.factorization.pgd import ProjectedGradient
from cofire.factorization.solver import Solver
from cofire.ranks import ONE, Ranks
from cofire.types import AtomMatrix, Tensor

SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver
    for solver in (BlockCoordinateDescent, ProjectedGradient, MultiplicativeUpdates)
}
"""Solvers by the name that ``SemiNMF(solver=...)`` takes."""


BUDGETS = ("atom", "dictionary")
"""What the sparsity holds for: each atom, or their mean."""


def named_solver(solver: str | Solver) -> Solver:
    """The solver of a name, with its default settings, or the solver itself.

    Raises:
        InputError: for an unknown name.
    """
    if isinstance(solver, Solver):
        return solver
    if solver not in SOLVERS:
        raise InputError(f"Unknown solver {solver!r}; use one of {', '.join(SOLVERS)}.")
    return SOLVERS[solver]()


def check_parameters(
    n_components: int,
    max_iter: int | None,
    tol: float | None,
    code_penalty: float | None,
    max_active: int | None,
    sparsity_budget: str,
) -> None:
    """Refuse parameters that no data could make right.

    Raises:
        InputError: naming the parameter, its value and what it may be.
    """
    if not _whole(n_components) or n_components < 1:
        raise InputError(f"n_components must be a whole number from 1 on; got {n_components!r}.")
    if max_iter is not None and (not _whole(max_iter) or max_iter < 1):
        raise InputError(f"max_iter must be a whole number from 1 on, or None; got {max_iter!r}.")
    if tol is not None and not _nonnegative(tol):
        raise InputError(f"tol must be a number >= 0, or None; got {tol!r}.")
    if code_penalty is not None and not _nonnegative(code_penalty):
        raise InputError(f"code_penalty must be a number >= 0, or None; got {code_penalty!r}.")
    if max_active is not None and (not _whole(max_active) or max_active < 1):
        raise InputError(
            f"max_active must be a whole number from 1 on, or None; got {max_active!r}."
        )
    if sparsity_budget not in BUDGETS:
        raise InputError(
            f"sparsity_budget must be one of {', '.join(BUDGETS)}; got {sparsity_budget!r}."
        )


def check_rows(n_components: int, data: DataMatrix) -> None:
    """Refuse more atoms than rows.

    Raises:
        InputError: saying how many rows there are.
    """
    if n_components > data.total_rows:
        raise InputError(
            f"n_components={n_components} is more than the n_samples={data.total_rows} rows of X; "
            f"pass at least {n_components} rows or lower n_components."
        )


def chosen_start(
    init: str | np.ndarray | Tensor | None, solver: Solver, n_components: int, data: DataMatrix
) -> str | AtomMatrix:
    """The name of a start, or the caller's atoms on the device of the data, as many as given.

    Raises:
        InputError: for an unknown name, or atoms of the wrong shape.
    """
    if init is None:
        return solver.starts[0]
    if isinstance(init, str):
        if init not in STARTS:
            raise InputError(f"Unknown init {init!r}; use one of {', '.join(STARTS)}, or an array.")
        return init
    atoms = given_atoms(init).detach().cpu().double()
    if atoms.ndim != 2 or atoms.shape[1] != data.n_channels or len(atoms) > n_components:
        raise InputError(
            f"init must be atoms of shape ({n_components}, {data.n_channels}), [features "
            f"channels], or fewer of them; got {tuple(atoms.shape)}."
        )
    if not bool(torch.isfinite(atoms).all()):
        raise InputError("init holds NaN or infinite values.")
    if len(atoms) == 0:
        raise InputError("init holds no atoms; leave it out to let the solver choose a start.")
    # Powers of two change no digit and keep squares of any unit within the number type.
    exponents = torch.frexp(atoms.abs().amax(dim=1, keepdim=True)).exponent
    return torch.ldexp(atoms, -exponents).to(data.compute_dtype).to(data.device)


def given_atoms(init: np.ndarray | Tensor) -> Tensor:
    """The caller's atoms as a tensor.

    Raises:
        InputError: when they are no numbers.
    """
    try:
        return torch.as_tensor(init)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"init must be one of {', '.join(STARTS)}, or an array of atoms [features channels]; "
            f"got {type(init).__name__} ({error})."
        ) from error


def named_start(init: str | np.ndarray | Tensor | None) -> str | None:
    """What tells a start from others: its name, or a fingerprint of the caller's atoms."""
    return init if init is None or isinstance(init, str) else fingerprint(given_atoms(init))


def check_agreement(ranks: Ranks, settings: Mapping[str, object]) -> None:
    """Refuse processes of one fit that were not given the same settings.

    Args:
        ranks: the processes.
        settings: what all must agree on, by name.

    Raises:
        InputError: in all of them, naming the settings that differ and what this process has.
    """
    told_apart = {
        name: float(value) if isinstance(value, Real) else repr(value)
        for name, value in settings.items()
    }
    if len(set(ranks.gather(_number_of(str(told_apart))))) == 1:
        return
    differing = []
    for name, value in told_apart.items():
        if len(set(ranks.gather(_number_of(str(value))))) == 1:
            continue
        values = ranks.gather(value if isinstance(value, float) else math.nan)
        if any(map(math.isnan, values)):
            differing.append(f"{name} ({settings[name]!r} in process {ranks.rank})")
        else:
            listed = ", ".join(f"{number:g}" for number in values)
            differing.append(f"{name} ({listed} in order of rank)")
    raise InputError(
        f"The processes of this fit disagree on {', '.join(differing)}; give all of them rows of "
        "the same site and the same settings."
    )


def _number_of(text: str) -> float:
    """A number that tells texts apart and that float64 holds."""
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


def seeded_generator(
    random_state: int | np.random.RandomState | None, ranks: Ranks = ONE
) -> torch.Generator:
    """A CPU generator, that of process 0 in all processes.

    None draws a seed from the operating system's entropy by way of NumPy.

    Raises:
        InputError: for what is no seed.
    """
    try:
        state = check_random_state(random_state)
    except ValueError as error:
        raise InputError(
            "random_state must be a whole number from 0 to 2**32 - 1, a RandomState or None; got "
            f"{random_state!r}."
        ) from error
    seed = int(state.randint(np.iinfo(np.int32).max))
    return torch.Generator().manual_seed(int(ranks.gather(float(seed))[0]))


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _nonnegative(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value) and float(value) >= 0
