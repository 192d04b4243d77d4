"""What a model forgets when core or exclusive neurons are held at their mean.

Amplifying shows what neurons can do; ablation, whether the model leans on them. Neurons that a day
fires matter only where a day was read, so the prompts name a member and lead the model to name it
again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float

from cofire.errors import InputError
from cofire.evaluation.bootstrap import estimate_of
from cofire.evaluation.kl_search import kl_divergence
from cofire.evaluation.measurement import Estimate, estimate_record
from cofire.evaluation.paired_tests import paired_p_value
from cofire.evaluation.promotion import logit_shift
from cofire.models.adapter import LanguageModel
from cofire.models.channel_ablation import AblateChannels
from cofire.models.head import Head
from cofire.models.prefix import Prefix
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.structure.neuron_groups import Control, ControlGroups, NeuronGroup
from cofire.types import Bool, Tensor

RECALL_PROMPTS = (
    "The word on the card was{0}. Once more: the word on the card was",
    "She wrote{0} on the wall, and under it a child wrote",
    "First he said{0}, then he said it again:",
    "It was{0}, they were told. They asked twice, and twice the answer was",
    "They agreed on{0}. Nobody objected, so they wrote down",
    "Question: which one did you choose? Answer:{0}. So your choice was",
    "We all remember it was{0}, do we not? Yes, we all remember it was",
    "Repeat after me:{0},{0},",
    "The answer is{0}; please check that the answer is",
    "Both clocks said{0}. The first clock said{0} and the second clock said",
)
"""Prompts that name a member ({0}, with its leading space) and lead to its being named again."""

ABLATION_CONTROLS: tuple[Control, ...] = ("permuted", "magnitude", "feature")
"""Only the choice of neurons matters here, so that ``random`` and ``permuted`` are one."""


@dataclass(frozen=True, eq=False)
class AblationRow:
    """One kind of group held at its mean, over all prompts and members named there.

    Attributes:
        what: ``core``, ``own exclusive`` (of the member that the prompt names), ``other's
            exclusive`` (mean over the other members), ``own whole`` (all neurons of its feature).
        control: which kind of control; None for the group itself.
        neurons: neurons held, on average.
        own: logit shift of the named member's tokens [prompts targets], a column a member; NaN
            where it has no such neurons.
        others: mean shift of the other members' tokens.
        kl: KL(model ‖ ablated) at the last token, in nats.
    """

    what: str
    control: Control | None
    neurons: float
    own: Float[np.ndarray, "prompts targets"]
    others: Float[np.ndarray, "prompts targets"]
    kl: Float[np.ndarray, "prompts targets"]

    @property
    def apart(self) -> Float[np.ndarray, "prompts targets"]:
        """``own`` less ``others``: below 0 where the named member loses more than the others."""
        return self.own - self.others


@dataclass(frozen=True, eq=False)
class AblationTable:
    """What holding groups of neurons at their mean does to recall.

    Attributes:
        rows: groups, each followed by its controls.
        targets: members that were named.
        prompts: templates.
        recalled: share of prompts and members for which the unchanged model puts the named member
            above all others; where it does not, there is little to forget.
        seed: of controls and intervals.
    """

    rows: tuple[AblationRow, ...]
    targets: tuple[str, ...]
    prompts: tuple[str, ...]
    recalled: float
    seed: int

    def estimate(self, row: AblationRow, figure: str) -> Estimate:
        """Mean of ``own``, ``others``, ``apart`` or ``kl`` with an interval over prompts.

        Members named in one template are drawn together.
        """
        values = getattr(row, figure)
        groups = np.repeat(np.arange(len(values)), values.shape[1])
        return estimate_of(values.ravel(), groups=groups, seed=self.seed)

    def p_value(self, row: AblationRow, figure: str) -> float | None:
        """That a figure is as under the control (Wilcoxon over prompts); None for groups."""
        if row.control is None:
            return None
        group = next(r for r in self.rows if (r.what, r.control) == (row.what, None))
        difference = getattr(group, figure) - getattr(row, figure)
        known = difference[:, ~np.isnan(difference).all(axis=0)]  # members with such neurons
        return paired_p_value(known.mean(axis=1))

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "targets": list(self.targets),
            "prompts": list(self.prompts),
            "recalled": self.recalled,
            "seed": self.seed,
            "rows": [
                {
                    "what": row.what,
                    "control": row.control,
                    "neurons": row.neurons,
                    **{
                        name: estimate_record(self.estimate(row, name))
                        for name in ("own", "others", "apart", "kl")
                    },
                    "p_own": self.p_value(row, "own"),
                    "p_apart": self.p_value(row, "apart"),
                }
                for row in self.rows
            ],
        }


def ablate_groups(
    model: LanguageModel,
    site: Site,
    groups: Sequence[NeuronGroup],
    words: Mapping[str, str],
    targets: Mapping[str, Sequence[int]],
    controls: ControlGroups,
    means: Float[Tensor, "channels"],
    *,
    prompts: Sequence[str] = RECALL_PROMPTS,
    kinds: Sequence[Control] = ABLATION_CONTROLS,
    draws: int = 1,
    seed: int = 0,
    progress: Progress = SILENT,
) -> AblationTable:
    """Hold groups of neurons at their mean while the model recalls a member that it has read.

    Args:
        model: the model.
        site: where the neurons are.
        groups: the core, and the exclusive and whole groups of every member.
        words: what a prompt calls each member, with its leading space.
        targets: token ids by name of member.
        controls: draws the controls.
        means: mean activation of every neuron.
        prompts: templates with ``{0}`` where the member stands.
        kinds: which controls.
        draws: of each control and prompt; every prompt has its own.
        seed: of the intervals.
        progress: shown while working.

    Raises:
        InputError: when a template has no place for the member, or fewer than two are given.
    """
    if any("{0}" not in prompt for prompt in prompts) or len(words) < 2:
        raise InputError(
            "Recall needs at least two members, and prompts with {0} where the member stands."
        )
    names = list(words)
    drawn = _draw(groups, controls, kinds, len(prompts) * draws)
    batches = {
        (t, name): _batch(name, groups, drawn, slice(t * draws, (t + 1) * draws))
        for t in range(len(prompts))
        for name in names
    }
    keys = list(dict.fromkeys(one.key for batch in batches.values() for one in batch))
    figures = {key: np.full((3, len(prompts), len(names)), np.nan) for key in keys}
    head = Head(model)
    hits: list[bool] = []
    with progress.task("Ablating", len(prompts) * len(names), "prompt") as advance:
        for t, template in enumerate(prompts):
            for m, name in enumerate(names):
                batch = batches[t, name]
                held = torch.stack([one.held for one in batch]).to(model.device)
                prefix = Prefix(model, _ids(model, template.format(words[name])), site)
                base = head.logits(prefix.run(None, n_rows=1))[0]
                change = AblateChannels(held, means.to(model.device))
                where = prefix.positions(len(held), 1 if _has_bos(model) else 0)
                after = head.logits(prefix.run(change, n_rows=len(held), where=where))
                kl = kl_divergence(base, after)
                best = {n: max(float(base[i]) for i in ids) for n, ids in targets.items()}
                hits.append(max(best, key=lambda n: best[n]) == name)
                measured: dict[_Key, list[list[float]]] = {}
                for row, one in enumerate(batch):
                    shifts = {n: logit_shift(base, after[row], ids) for n, ids in targets.items()}
                    others = [shift for n, shift in shifts.items() if n != name]
                    measured.setdefault(one.key, []).append(
                        [shifts[name], float(np.mean(others)), float(kl[row])]
                    )
                for key, values in measured.items():
                    figures[key][:, t, m] = np.mean(values, axis=0)
                advance(1)
    sizes = {
        key: np.mean(
            [int(one.held.sum()) for batch in batches.values() for one in batch if one.key == key]
        )
        for key in keys
    }
    return AblationTable(
        rows=tuple(
            AblationRow(what, control, float(sizes[what, control]), *found)
            for (what, control), found in figures.items()
        ),
        targets=tuple(names),
        prompts=tuple(prompts),
        recalled=float(np.mean(hits)),
        seed=seed,
    )


_Key: TypeAlias = tuple[str, Control | None]


@dataclass(frozen=True, eq=False)
class _Held:
    """Neurons to hold on one prompt, and the row of the table that they count for."""

    key: _Key
    held: Bool[Tensor, "channels"]


_Drawn: TypeAlias = Mapping[tuple[str, Control], Bool[Tensor, "draws channels"]]


def _draw(
    groups: Sequence[NeuronGroup], controls: ControlGroups, kinds: Sequence[Control], draws: int
) -> _Drawn:
    """Neurons of every control of the core and of exclusive groups."""
    return {
        (group.name, kind): controls.draw(group, kind, draws) != 0
        for group in groups
        if group.kind != "whole" and group.size
        for kind in kinds
    }


def _batch(name: str, groups: Sequence[NeuronGroup], drawn: _Drawn, mine: slice) -> list[_Held]:
    """What is run on a prompt that names a member, with the prompt's own draws of controls."""
    found = []
    for group in groups:
        if group.kind == "core":
            what = "core"
        elif group.kind == "exclusive":
            what = "own exclusive" if group.member == name else "other's exclusive"
        else:
            what = "own whole" if group.member == name else ""
        if not what or not group.size:
            continue
        found.append(_Held((what, None), group.direction != 0))
        if what in ("core", "own exclusive"):
            for (group_name, kind), masks in drawn.items():
                if group_name == group.name:
                    found += [_Held((what, kind), one) for one in masks[mine]]
    return found


def _ids(model: LanguageModel, text: str) -> list[int]:
    tokenizer = model.tokenizer
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return [*([tokenizer.bos_token_id] if _has_bos(model) else []), *(int(i) for i in ids)]


def _has_bos(model: LanguageModel) -> bool:
    return model.tokenizer.bos_token_id is not None
