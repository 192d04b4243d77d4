"""What amplifying core and exclusive neurons does to the tokens that the members stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cofire.errors import InputError
from cofire.evaluation.promotion import logit_shift
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import CellKey, SteeringSettings
from cofire.models.adapter import LanguageModel
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.structure.causal_table import CausalRow, CausalTable
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
