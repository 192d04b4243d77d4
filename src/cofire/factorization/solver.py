"""What every solver declares, receives and returns.

Notation of all solvers: X [rows channels] ≈ C D with codes C [rows features] >= 0 and atoms
D [features channels]. The paper (arXiv:2506.10920) writes A ≈ Z Y with A = X^T, Z = D^T, Y = C^T.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.factorization.data import DataMatrix
from cofire.factorization.objective import Products
from cofire.types import AtomMatrix, CodeMatrix

Phase: TypeAlias = Literal["penalised", "repair", "released", "final", "mu", "stream"]
StopReason: TypeAlias = Literal[
    "converged", "exact", "max_iter", "patience", "interrupted", "diverged", "streaming"
]


@dataclass(frozen=True)
class SweepRecord:
    """One line of a fit's history.

    Attributes:
        iteration: sweeps over the data so far, counted from 1.
        seconds: since the fit began, the start included.
        phase: ``penalised`` (codes under the start's L1 penalty), ``released`` (under the
            caller's, 0 by default), ``repair`` (atoms replaced on trial), ``final`` (codes solved
            exactly), ``mu`` or ``stream``.
        loss: ||X - C D||^2.
        relative_loss: loss / ||X||^2, between 0 and 1 unless the fit is worse than zero codes.
        objective: what this phase minimises, in units of the loss: loss + 2 · penalty · sum(C). It
            never rises within a phase, nor from one phase to the next (``mu`` and ``stream``
            excepted).
        code_density: fraction of codes above zero; NaN where it is not known.
        support_churn: fraction of the kept atom entries that are new since the previous record.
        replaced: atoms that a repair put in place and kept; 0 for a repair that was taken back.
        taken_back: the sweep raised the objective and was undone; the record repeats the last one.
    """

    iteration: int
    seconds: float
    phase: Phase
    loss: float
    relative_loss: float
    objective: float
    code_density: float = float("nan")
    support_churn: float = float("nan")
    replaced: int = 0
    taken_back: bool = False


Callback: TypeAlias = Callable[[SweepRecord], None]


@dataclass
class History:
    """Collects records, stamps them with time, and passes them to the caller's callback."""

    squared_norm: float
    callback: Callback | None = None
    records: list[SweepRecord] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def add(
        self,
        phase: Phase,
        iteration: int,
        loss: float,
        *,
        objective: float | None = None,
        code_density: float = float("nan"),
        support_churn: float = float("nan"),
        replaced: int = 0,
    ) -> SweepRecord:
        """Append one record."""
        record = SweepRecord(
            iteration=iteration,
            seconds=time.perf_counter() - self.began,
            phase=phase,
            loss=loss,
            relative_loss=loss / self.squared_norm,
            objective=loss if objective is None else objective,
            code_density=code_density,
            support_churn=support_churn,
            replaced=replaced,
        )
        return self._append(record)

    def repeat(self, phase: Phase, iteration: int) -> SweepRecord:
        """Append the last record again, for a sweep that was taken back."""
        return self._append(
            replace(
                self.records[-1],
                phase=phase,
                iteration=iteration,
                seconds=time.perf_counter() - self.began,
                support_churn=0.0,
                replaced=0,
                taken_back=True,
            )
        )

    def _append(self, record: SweepRecord) -> SweepRecord:
        self.records.append(record)
        if self.callback is not None:
            self.callback(record)
        return record


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
    """

    data: DataMatrix
    n_features: int
    kept: int
    start: str | AtomMatrix
    code_penalty: float
    max_iter: int
    tol: float
    generator: torch.Generator

    @property
    def work(self) -> float:
        """Multiplications of one product of the data with the codes."""
        return float(self.data.n_rows) * self.data.n_channels * self.n_features

    @property
    def absolute_penalty(self) -> float:
        """The caller's L1 weight in units of the data."""
        return self.code_penalty * self.data.median_row_norm


@dataclass(frozen=True)
class Factors:
    """What a solver returns.

    Attributes:
        codes: C >= 0.
        atoms: D with unit-norm rows; a dead atom is all zero.
        products: C^T X and C^T C of these codes.
        loss: ||X - C D||^2 of these factors.
        n_iter: sweeps over the data.
        stop_reason: why it ended.
    """

    codes: CodeMatrix
    atoms: AtomMatrix
    products: Products
    loss: float
    n_iter: int
    stop_reason: StopReason


class Solver(ABC):
    """A way to minimise the objective. Subclasses are frozen dataclasses of their own settings.

    Attributes:
        name: what ``SemiNMF(solver=...)`` calls it.
        starts: the starts it accepts, its own default first.
        takes_penalty: whether it can keep an L1 penalty on the codes.
        codes_are_optimal: whether its codes are those of nonnegative least squares.
        streams: whether ``partial_fit`` goes with it.
        default_max_iter, default_tol, default_code_penalty: used where the caller gives none.
    """

    name: ClassVar[str]
    starts: ClassVar[tuple[str, ...]]
    takes_penalty: ClassVar[bool]
    codes_are_optimal: ClassVar[bool]
    streams: ClassVar[bool]
    default_max_iter: ClassVar[int]
    default_tol: ClassVar[float]
    default_code_penalty: ClassVar[float]

    def check(self, start: str | None, code_penalty: float) -> None:
        """Refuse what this solver cannot do, before any work.

        Args:
            start: the name of a start, or None for the default or given atoms.
            code_penalty: as ``Problem.code_penalty``.

        Raises:
            InputError: for an unsupported start or penalty.
        """
        if start is not None and start not in self.starts:
            raise InputError(
                f"solver={self.name!r} cannot start from init={start!r}; "
                f"use one of {', '.join(self.starts)}, or an array of atoms."
            )
        if code_penalty and not self.takes_penalty:
            raise InputError(
                f"solver={self.name!r} has no code_penalty; set it to 0 or use solver='bcd'."
            )

    @abstractmethod
    def solve(self, problem: Problem, history: History) -> Factors:
        """Fit; after the first sweep a KeyboardInterrupt ends it with what it has."""
