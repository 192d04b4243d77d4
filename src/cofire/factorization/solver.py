"""What every solver declares, receives and returns.

Notation of all solvers: X [rows channels] ≈ C D with codes C [rows features] >= 0 and atoms
D [features channels]. The paper (arXiv:2506.10920) writes A ≈ Z Y with A = X^T, Z = D^T, Y = C^T.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.factorization.checkpoint import OpenCheckpoint
from cofire.factorization.code_blocks import CodeBlocks
from cofire.factorization.data import DataMatrix
from cofire.factorization.history import History
from cofire.factorization.objective import Products
from cofire.types import AtomMatrix

StopReason: TypeAlias = Literal[
    "converged", "exact", "max_iter", "patience", "interrupted", "streaming"
]


@dataclass(frozen=True)
class Problem:
    """What to fit.

    Attributes:
        data: the rows.
        n_features: number of atoms.
        kept: nonzero entries an atom may have.
        start: a name of ``initialization.STARTS``, or the atoms to start from.
        code_penalty: L1 weight on the codes of unit atoms, relative to the median row norm; kept
            to the end. 0 is the published objective.
        max_iter: most sweeps over the data.
        tol: the solver's own tolerance; see its ``default_tol``.
        generator: source of all random numbers, on the CPU.
        max_active: most features a row may express; None for no limit.
        shared_budget: whether atoms may trade entries, ``kept`` being their mean.
        checkpoint: where the state is kept; None for nowhere.
    """

    data: DataMatrix
    n_features: int
    kept: int
    start: str | AtomMatrix
    code_penalty: float
    max_iter: int
    tol: float
    generator: torch.Generator
    max_active: int | None = None
    shared_budget: bool = False
    checkpoint: OpenCheckpoint | None = None

    @property
    def work(self) -> float:
        """Multiplications of one product of the data with the codes."""
        return self.data.work(self.n_features)

    @property
    def absolute_penalty(self) -> float:
        """The caller's L1 weight in units of the data."""
        return self.code_penalty * self.data.median_row_norm


@dataclass(frozen=True)
class Factors:
    """What a solver returns.

    Attributes:
        codes: C^T >= 0 in blocks of rows.
        atoms: D with unit-norm rows; a dead atom is all zero.
        products: C^T X and C^T C of these codes.
        loss: ||X - C D||^2 of these factors.
        n_iter: sweeps over the data.
        stop_reason: why it ended.
    """

    codes: CodeBlocks
    atoms: AtomMatrix
    products: Products
    loss: float
    n_iter: int
    stop_reason: StopReason


OPTIONS = {
    "code_penalty": "code_penalty",
    "max_active": "max_active",
    "sparsity_budget": "sparsity_budget='dictionary'",
    "sample_weight": "sample_weight",
    "partial_fit": "partial_fit",
    "distributed": "distributed fit",
    "checkpoint": "checkpoint",
}
"""What a solver may or may not be able to do, and how an error calls it."""


class Solver(ABC):
    """A way to minimise the objective. Subclasses are frozen dataclasses of their own settings.

    Attributes:
        name: what ``SemiNMF(solver=...)`` calls it.
        starts: the starts it accepts, its own default first.
        options: those of ``OPTIONS`` that it can do.
        codes_are_optimal: whether its codes are those of nonnegative least squares.
        default_max_iter, default_tol, default_code_penalty: used where the caller gives none.
    """

    name: ClassVar[str]
    starts: ClassVar[tuple[str, ...]]
    options: ClassVar[frozenset[str]]
    codes_are_optimal: ClassVar[bool]
    default_max_iter: ClassVar[int]
    default_tol: ClassVar[float]
    default_code_penalty: ClassVar[float]

    def check(self, start: str | None, options: Iterable[str]) -> None:
        """Refuse what this solver cannot do, before any work.

        Args:
            start: the name of a start, or None for the default or given atoms.
            options: those of ``OPTIONS`` that are asked for.

        Raises:
            InputError: for an unsupported start or option.
        """
        if start is not None and start not in self.starts:
            raise InputError(
                f"solver={self.name!r} cannot start from init={start!r}; "
                f"use one of {', '.join(self.starts)}, or an array of atoms."
            )
        for option in options:
            if option not in self.options:
                raise InputError(
                    f"solver={self.name!r} has no {OPTIONS[option]}; leave it out or use "
                    "solver='bcd'."
                )

    @abstractmethod
    def solve(self, problem: Problem, history: History) -> Factors:
        """Fit; after the first sweep a KeyboardInterrupt ends it with what it has."""
