"""What happened during a fit, sweep by sweep."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["penalised", "repair", "budget", "released", "final", "mu", "stream"]


@dataclass(frozen=True)
class SweepRecord:
    """One line of a fit's history.

    Attributes:
        iteration: sweeps over the data so far, counted from 1.
        seconds: since the fit began, the start included.
        phase: ``penalised`` (codes under the start's L1 penalty), ``released`` (under the
            caller's), ``repair`` (atoms replaced on trial), ``budget`` (entries moved between
            atoms on trial), ``final`` (codes solved exactly), ``mu`` or ``stream``.
        loss: ||X - C D||^2.
        relative_loss: loss / ||X||^2, between 0 and 1 unless the fit is worse than zero codes.
        objective: what this phase minimises, in units of the loss: loss + 2 · penalty · sum(C). It
            never rises within a phase, nor from one phase to the next (``mu`` and ``stream``
            excepted, and ``final`` with ``max_active``: which features a row expresses is then
            chosen anew, as ``transform`` does, and may come out worse).
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
