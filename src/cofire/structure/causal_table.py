"""The table of a causal test: rows of groups and controls, columns of targets, and its sums."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cofire.errors import InputError
from cofire.evaluation.bootstrap import estimate_of
from cofire.evaluation.measurement import Estimate, estimate_record
from cofire.evaluation.paired_tests import paired_p_value
from cofire.structure.neuron_groups import Control
from cofire.types import Float


@dataclass(frozen=True, eq=False)
class CausalRow:
    """One group of neurons, or one kind of control for it, over all prompts.

    Attributes:
        group: name of the group.
        kind: see ``NeuronGroup``.
        member: name of the member whose group it is; None for the core.
        control: which kind of control; None for the group itself.
        neurons: how many neurons were amplified.
        shifts: logit shift of every target's tokens after every prompt (``logit_shift``); of a
            control the mean of its draws. NaN where the divergence could not be reached.
        missing: cells, of all prompts and draws, in which it could not.
    """

    group: str
    kind: str
    member: str | None
    control: Control | None
    neurons: int
    shifts: Float[np.ndarray, "prompts targets"]
    missing: int


@dataclass(frozen=True)
class Contrast:
    """A figure that sums the table up, beside the same figure of a control.

    Attributes:
        name: what it is.
        control: beside which control.
        found: the figure with its interval over prompts.
        of_control: the control's.
        difference: of the two, prompt by prompt.
        p_value: that groups and controls are alike (Wilcoxon signed ranks over prompts).
    """

    name: str
    control: Control
    found: Estimate
    of_control: Estimate
    difference: Estimate
    p_value: float | None


@dataclass(frozen=True, eq=False)
class CausalTable:
    """Rows of groups and controls by columns of targets.

    Attributes:
        rows: the groups, each followed by its controls.
        targets: names of the members whose tokens are the columns.
        tokens: token ids of each target.
        prompts: after which logits were read.
        target_kl: KL(base ‖ amplified) that every row costs at the last token of every prompt.
        seed: of controls and intervals.
    """

    rows: tuple[CausalRow, ...]
    targets: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    prompts: tuple[str, ...]
    target_kl: float
    seed: int

    def row(self, group: str, control: Control | None = None) -> CausalRow:
        """One row.

        Raises:
            InputError: when there is none.
        """
        for row in self.rows:
            if (row.group, row.control) == (group, control):
                return row
        raise InputError(f"The table has no row {group!r} with control {control!r}.")

    def cell(self, row: CausalRow, target: int) -> Estimate:
        """Mean logit shift over the prompts, with its interval."""
        return estimate_of(row.shifts[:, target], seed=self.seed)

    def contrasts(self) -> list[Contrast]:
        """Core: mean shift of all targets. Exclusive: own target's shift less that of the others.

        The mean over members comes first, so that intervals and tests are over prompts.
        """
        found = []
        for name, kind in (("core raises all", "core"), ("exclusive sets apart", "exclusive")):
            own = self._figure(kind, None)
            if own is None:
                continue
            for control in dict.fromkeys(row.control for row in self.rows):
                other = None if control is None else self._figure(kind, control)
                if control is None or other is None:
                    continue
                found.append(
                    Contrast(
                        name=name,
                        control=control,
                        found=estimate_of(own, seed=self.seed),
                        of_control=estimate_of(other, seed=self.seed),
                        difference=estimate_of(own - other, seed=self.seed),
                        p_value=paired_p_value(own - other),
                    )
                )
        return found

    def _figure(self, kind: str, control: Control | None) -> Float[np.ndarray, "values"] | None:
        """A figure a prompt; None when no group of the kind has neurons."""
        values = []
        for row in self.rows:
            if row.kind != kind or row.control != control or not row.neurons:
                continue
            if kind == "core":
                values.append(row.shifts.mean(axis=1))
                continue
            own = self.targets.index(str(row.member))
            others = np.delete(row.shifts, own, axis=1)
            values.append(row.shifts[:, own] - others.mean(axis=1))
        return np.mean(values, axis=0) if values else None

    def record(self) -> dict[str, Any]:
        """Plain JSON values, with an estimate of every cell."""
        return {
            "targets": list(self.targets),
            "tokens": [list(ids) for ids in self.tokens],
            "prompts": list(self.prompts),
            "target_kl": self.target_kl,
            "seed": self.seed,
            "rows": [
                {
                    **{
                        name: getattr(row, name)
                        for name in ("group", "kind", "member", "control", "neurons", "missing")
                    },
                    "cells": [
                        estimate_record(self.cell(row, target))
                        for target in range(len(self.targets))
                    ],
                }
                for row in self.rows
            ],
            "contrasts": [
                {
                    "name": one.name,
                    "control": one.control,
                    "found": estimate_record(one.found),
                    "of_control": estimate_record(one.of_control),
                    "difference": estimate_record(one.difference),
                    "p_value": one.p_value,
                }
                for one in self.contrasts()
            ],
        }
