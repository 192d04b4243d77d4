"""What taking one component out of W_OV does to the next token, where it should and elsewhere.

The effect is the divergence KL(plain ‖ without) of the next token's distribution, in nats, and the
change of the loss on the token that comes, at two kinds of places. *Own* places are those where the
head attends most to tokens that the component reads, *other* ones those where it does so least, by

    Σ over tokens s of attention to s · |r · e_s − mean| / sd       (the first token left out)

which is known before anything is taken out. A component that is separable acts at its own places
only: specificity = 1 − Δ other / Δ own, above 0.8 separable, below 0.5 a threat (B07 of the
Mechanistic Validity framework). Random components of the same head and the same size are taken out
at the same places: what they do as well says nothing of the component.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cofire.errors import InputError
from cofire.evaluation.bootstrap import estimate_of
from cofire.evaluation.kl_search import kl_divergence
from cofire.evaluation.measurement import Estimate
from cofire.evaluation.paired_tests import paired_p_value
from cofire.low_rank import LowRankMatrix
from cofire.models import Head, LanguageModel, Prefix, attention_patterns, ov
from cofire.site import Site
from cofire.types import Float, Tensor
from cofire.weights.removal import RemoveComponents, remove_components
from cofire.weights.tokens import TokenReader, TokenStatistics

_ROUNDING = 1e-7
"""Nats below which a divergence of float32 logits says nothing."""


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """How components are tested.

    Attributes:
        n_places: places of each kind for every component.
        n_random: random components of the same size for every component.
        batch_rows: components that run together.
        seed: of the random components and of the choice among other places.

    Raises:
        InputError: when a number is below 1.
    """

    n_places: int = 16
    n_random: int = 2
    batch_rows: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n_places, self.n_random, self.batch_rows) < 1:
            raise InputError(
                "n_places, n_random and batch_rows must be at least 1; got "
                f"{self.n_places}, {self.n_random}, {self.batch_rows}."
            )


@dataclass(frozen=True)
class ComponentEffect:
    """What taking one component out does. Intervals draw texts.

    Attributes:
        visible: share of the component's squared length that could be taken out.
        size: length ‖r‖ ‖w‖ of the component.
        own_kl, other_kl: divergence at its own and at other places, nats.
        own_loss, other_loss: change of the loss, nats; above 0 where the component helped.
        random_kl: divergence that random components of the same size make at its own places.
        specificity: 1 − other_kl / own_kl; None where nothing happens at its own places.
        random_specificity: the same of the random components.
        p: two-sided, that it does no more at its own places than the random ones (Wilcoxon over
            texts); None without places.
    """

    visible: float
    size: float
    own_kl: Estimate
    other_kl: Estimate
    own_loss: Estimate
    other_loss: Estimate
    random_kl: Estimate
    specificity: float | None
    random_specificity: float | None
    p: float | None


@dataclass(frozen=True, eq=False)
class _Place:
    text: int
    position: int
    own: bool


def ablate_components(
    model: LanguageModel,
    layer: int,
    head: int,
    components: LowRankMatrix,
    texts: Sequence[Sequence[int]],
    *,
    reader: TokenReader,
    statistics: TokenStatistics,
    settings: AblationSettings | None = None,
) -> tuple[ComponentEffect, ...]:
    """Take every component of a head out by itself and measure what changes.

    Runs each text once for every component that has a place in it, from the head's layer up.

    Args:
        model: the model.
        layer, head: which head.
        components: component j is column j of ``left`` and row j of ``right``, norms folded.
        texts: token ids, with the special token in front where the model has one.
        reader, statistics: of the model's tokens.
        settings: how; None for the defaults.

    Raises:
        InputError: when no text has three tokens, the head does not exist or widths do not fit.
        ModelError: when the head or the model's language head is not understood.
    """
    chosen = settings or AblationSettings()
    long_enough = [tuple(text) for text in texts if len(text) > 2]
    if not long_enough:
        raise InputError(
            "No text has three tokens: one to look at, one to look from, one to come; "
            "give longer texts."
        )
    removal = remove_components(model, layer, head, components)
    randoms = remove_components(
        model, layer, head, _random_parts(model, layer, head, components, chosen)
    )
    places = _places(model, layer, head, components, long_enough, reader, statistics, chosen)
    rows = _together(removal, randoms)
    variants = 1 + chosen.n_random
    n = len(removal.reads)
    measured: list[list[tuple[_Place, np.ndarray, np.ndarray]]] = [[] for _ in range(n)]
    output = Head(model)
    for number, text in enumerate(long_enough):
        here = [[p for p in own if p.text == number] for own in places]
        wanted = [j for j in range(n) if here[j]]
        if not wanted:
            continue
        prefix = Prefix(model, text, Site(layer, "attn"))
        plain = prefix.streams(n_rows=1)[0]
        per_batch = max(1, chosen.batch_rows // variants)
        for start in range(0, len(wanted), per_batch):
            batch = wanted[start : start + per_batch]
            take = torch.tensor([j + n * v for j in batch for v in range(variants)])
            streams = prefix.streams(rows.take(take), n_rows=len(take))
            for i, j in enumerate(batch):
                own = streams[i * variants : (i + 1) * variants]
                for place in here[j]:
                    at = place.position
                    found = _effect(output, plain[at], own[:, at], text[at + 1])
                    measured[j].append((place, *found))
    return tuple(
        _summary(
            measured[j],
            float(removal.visible[j]),
            float(components.left[:, j].norm() * components.right[j].norm()),
            chosen.seed,
        )
        for j in range(n)
    )


def _effect(
    output: Head, plain: Float[Tensor, "d_model"], changed: Float[Tensor, "batch d_model"], to: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divergence and change of loss of every row at one place."""
    logits = output.logits(torch.cat([plain[None], changed]))
    losses = torch.logsumexp(logits, dim=1) - logits[:, to]
    kl = kl_divergence(logits[0], logits[1:])
    return kl.cpu().double().numpy(), (losses[1:] - losses[0]).cpu().double().numpy()


def _together(one: RemoveComponents, other: RemoveComponents) -> RemoveComponents:
    return RemoveComponents(
        reads=torch.cat([one.reads, other.reads]),
        writes=torch.cat([one.writes, other.writes]),
        bias=one.bias,
        start=one.start,
        visible=torch.cat([one.visible, other.visible]),
    )


def _random_parts(
    model: LanguageModel,
    layer: int,
    head: int,
    components: LowRankMatrix,
    settings: AblationSettings,
) -> LowRankMatrix:
    """Random parts of the head, as long as the components: the first of each, then the second."""
    generator = torch.Generator().manual_seed(settings.seed)
    u, sigma, vh = ov(model, layer, head).svd()
    inside = sigma > sigma[0] * 1e-5
    u, vh = u[:, inside], vh[inside]
    n = components.left.shape[1] * settings.n_random
    left = u @ torch.randn(u.shape[1], n, generator=generator).to(u)
    right = torch.randn(n, len(vh), generator=generator).to(u) @ vh
    lengths = components.left.norm(dim=0) * components.right.norm(dim=1)
    size = lengths.to(u).repeat(settings.n_random)
    return LowRankMatrix(left / left.norm(dim=0) * size, right / right.norm(dim=1, keepdim=True))


def _places(
    model: LanguageModel,
    layer: int,
    head: int,
    components: LowRankMatrix,
    texts: Sequence[Sequence[int]],
    reader: TokenReader,
    statistics: TokenStatistics,
    settings: AblationSettings,
) -> list[list[_Place]]:
    """Own and other places of every component, among all tokens but the first and last of texts."""
    read = components.left.to(statistics.read)
    mean = statistics.read_mean @ read
    sd = (read * (statistics.read @ read)).sum(dim=0).clamp_min(1e-30).sqrt()
    where: list[tuple[int, int]] = []
    scores: list[Tensor] = []
    for number, text in enumerate(texts):
        ids = torch.tensor([list(text)])
        pattern = attention_patterns(model, ids, layers=[layer])[layer][0, head]
        strength = ((reader.read_rows(ids[0]) @ read - mean) / sd).abs()
        attended = pattern[1:-1, 1:] @ strength[1:]
        where += [(number, position) for position in range(1, len(text) - 1)]
        scores.append(attended.cpu())
    table = torch.cat(scores)
    n = min(settings.n_places, len(where) // 2)
    generator = torch.Generator().manual_seed(settings.seed)
    found = []
    for order in table.argsort(dim=0, descending=True).T:
        rest = order[len(order) // 2 :]
        others = rest[torch.randperm(len(rest), generator=generator)[:n]]
        found.append(
            [_Place(where[i][0], where[i][1], own=True) for i in order[:n].tolist()]
            + [_Place(where[i][0], where[i][1], own=False) for i in others.tolist()]
        )
    return found


def _summary(
    measured: Sequence[tuple[_Place, np.ndarray, np.ndarray]],
    visible: float,
    size: float,
    seed: int,
) -> ComponentEffect:
    own = np.array([place.own for place, _, _ in measured], dtype=bool)
    texts = np.array([place.text for place, _, _ in measured], dtype=np.int64)
    kl = np.array([kl for _, kl, _ in measured]).reshape(len(measured), -1)
    loss = np.array([loss for _, _, loss in measured]).reshape(len(measured), -1)
    random = kl[:, 1:].mean(axis=1) if len(measured) else np.zeros(0)
    first_kl = kl[:, 0] if len(measured) else np.zeros(0)
    first_loss = loss[:, 0] if len(measured) else np.zeros(0)

    def estimate(values: np.ndarray, kind: np.ndarray) -> Estimate:
        return estimate_of(values[kind], groups=texts[kind], seed=seed)

    own_kl, other_kl = estimate(first_kl, own), estimate(first_kl, ~own)
    random_kl = estimate(random, own)
    return ComponentEffect(
        visible=visible,
        size=size,
        own_kl=own_kl,
        other_kl=other_kl,
        own_loss=estimate(first_loss, own),
        other_loss=estimate(first_loss, ~own),
        random_kl=random_kl,
        specificity=_specificity(own_kl, other_kl),
        random_specificity=_specificity(random_kl, estimate(random, ~own)),
        p=paired_p_value(first_kl[own] - random[own], groups=texts[own]),
    )


def _specificity(own: Estimate, other: Estimate) -> float | None:
    if own.value is None or other.value is None or own.value < _ROUNDING:
        return None
    return 1 - abs(other.value) / abs(own.value)
