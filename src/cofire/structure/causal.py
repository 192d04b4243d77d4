"""What amplifying core and exclusive neurons does to the tokens that the members stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cofire.errors import InputError
from cofire.evaluation.bootstrap import estimate_of
from cofire.evaluation.measurement import Estimate
from cofire.evaluation.paired_tests import paired_p_value
from cofire.evaluation.promotion import logit_shift
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import CellKey, SteeringSettings
from cofire.models.adapter import LanguageModel
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.structure.neuron_groups import CONTROLS, Control, ControlGroups, NeuronGroup
from cofire.types import Float, Tensor

PROMPTS = (
    "I think that",
    "The first thing you notice is",
    "Yesterday afternoon we",
    "According to the report,",
    "Here is a list of",
    "My neighbour told me about",
    "It all began with",
    "The letter ended with the words",
    "Nobody in the room expected",
    "She opened the door and saw",
    "We will talk about it on",
    "The shop is closed every",
)
"""Beginnings of different kinds of text, in two of which a day may well follow."""

TARGET_KL = 0.25
"""Divergence in nats that every row of a table costs, in the middle of the published targets."""


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


def estimate_record(found: Estimate) -> dict[str, Any]:
    """An estimate as plain JSON values."""
    interval = found.interval
    return {
        "value": found.value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "n": found.n,
        "missing": found.missing,
    }


def amplify_groups(
    model: LanguageModel,
    site: Site,
    groups: Sequence[NeuronGroup],
    targets: Mapping[str, Sequence[int]],
    controls: ControlGroups,
    *,
    prompts: Sequence[str] = PROMPTS,
    target_kl: float = TARGET_KL,
    kinds: Sequence[Control] = CONTROLS,
    draws: int = 1,
    seed: int = 0,
    progress: Progress = SILENT,
) -> CausalTable:
    """Amplify every group, and controls, and read the logits of every target's tokens.

    A group's unit direction is added to the activations at every position of the prompt but the
    beginning-of-sequence token's, at the strength at which the next-token distribution has moved by
    ``target_kl`` (``match_strengths``): so that rows differ by where the change goes and not by how
    large it is. Whole atoms get no controls.

    Args:
        model: the model.
        site: where the neurons are.
        groups: what to amplify.
        targets: token ids by name of member; names of the groups' members are among them.
        controls: draws the controls.
        prompts: at least one; intervals are over prompts, so take ten or more.
        target_kl: in nats.
        kinds: which controls.
        draws: of each control and prompt; every prompt has its own.
        seed: of the intervals.
        progress: shown while working.

    Raises:
        InputError: when a group's member has no tokens, fewer than two targets are given, or a
            prompt is too long.
    """
    names = list(targets)
    absent = [g.member for g in groups if g.member is not None and g.member not in targets]
    if absent or len(names) < 2:
        raise InputError(
            f"Every member needs tokens whose logits are read, and there must be at least two; "
            f"got tokens for {', '.join(names) or 'none'}"
            + (f", none for {absent[0]}." if absent else ".")
        )
    plan = _plan(groups, controls, kinds, len(prompts), draws)
    steering = Steering(
        model,
        site,
        torch.stack([one.direction for one in plan]).to(model.device),
        SteeringSettings(
            prompts=tuple(prompts), targets=(target_kl,), signs=(1,), new_tokens=1, steer_bos=False
        ),
    )
    ids = [list(targets[name]) for name in names]
    cube = _shifts(steering, plan, ids, target_kl, progress)
    rows = []
    for group, control in dict.fromkeys((one.group, one.control) for one in plan):
        mine = [i for i, one in enumerate(plan) if (one.group, one.control) == (group, control)]
        asked = sum(len(plan[i].prompts) for i in mine)
        rows.append(
            CausalRow(
                group=group.name,
                kind=group.kind,
                member=group.member,
                control=control,
                neurons=group.size,
                shifts=mean_of_known(cube[mine]),
                missing=asked - int((~np.isnan(cube[mine, :, 0])).sum()),
            )
        )
    return CausalTable(
        rows=tuple(rows),
        targets=tuple(names),
        tokens=tuple(tuple(int(i) for i in targets[name]) for name in names),
        prompts=tuple(prompts),
        target_kl=target_kl,
        seed=seed,
    )


@dataclass(frozen=True, eq=False)
class _Amplified:
    """A direction, what it counts for, and the prompts after which it is tried."""

    group: NeuronGroup
    control: Control | None
    direction: Float[Tensor, "channels"]
    prompts: range


def _plan(
    groups: Sequence[NeuronGroup],
    controls: ControlGroups,
    kinds: Sequence[Control],
    n_prompts: int,
    draws: int,
) -> list[_Amplified]:
    """A group is tried after every prompt; controls are drawn anew for each."""
    plan = []
    for group in groups:
        plan.append(_Amplified(group, None, group.direction, range(n_prompts)))
        if group.kind == "whole" or not group.size:
            continue
        for kind in kinds:
            drawn = controls.draw(group, kind, n_prompts * draws)
            plan += [
                _Amplified(group, kind, direction, range(i // draws, i // draws + 1))
                for i, direction in enumerate(drawn)
            ]
    return plan


def _shifts(
    steering: Steering,
    plan: Sequence[_Amplified],
    tokens: list[list[int]],
    target_kl: float,
    progress: Progress,
) -> Float[np.ndarray, "draws prompts targets"]:
    """Logit shifts of every direction; NaN where it was not tried or the target not reached."""
    n_prompts = len(steering.settings.prompts)
    cube = np.full((len(plan), n_prompts, len(tokens)), np.nan)
    asked = [
        [CellKey(i, 1, target_kl, prompt) for i, one in enumerate(plan) if prompt in one.prompts]
        for prompt in range(n_prompts)
    ]
    with progress.task("Amplifying", sum(map(len, asked)), "cell") as advance:
        for prompt, keys in enumerate(asked):
            base = steering.base_logits(prompt)
            found = [cell for cell in steering.match(keys) if cell.status == "found"]
            for cell, logits in steering.logits(found):
                if bool(torch.isfinite(logits).all()):
                    cube[cell.feature, prompt] = [logit_shift(base, logits, ids) for ids in tokens]
            advance(len(keys))
    return cube


def mean_of_known(
    values: Float[np.ndarray, "draws prompts targets"],
) -> Float[np.ndarray, "prompts targets"]:
    """Mean over the draws that are not NaN; NaN where none is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
