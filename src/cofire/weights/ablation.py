"""What taking one component out of W_OV does to the next token, where it should and elsewhere.

The effect is the divergence KL(plain ‖ without) of the next token's distribution, in nats, and the
change of the loss on the token that comes, at two kinds of places. *Own* places are those where the
head attends most to tokens that the component reads, *other* ones those where it does so least, by

    Σ over tokens s of attention to s · |r · e_s − mean| / sd       (the first token left out)

which is known before anything is taken out. A component that is separable acts at its own places
only: specificity = 1 − Δ other / Δ own, above 0.8 separable, below 0.5 a threat (B07 of the
Mechanistic Validity framework).

At the same places random components are taken out: the given ones L R, each side as long as the
other, mixed by a random rotation Q into (L Q) (Qᵀ R), which has the same sum, and brought to the
size of the component they stand beside. What they do as well says nothing of the component: a head
that mostly rests on the first token does little at other places whatever is taken out, so that a
specificity counts only as far as it is above that of the mixtures.
Directions drawn at random from the whole head would be no fair comparison: they are no part of the
head, so that taking them out adds something, and where the stream has a few huge directions they
meet those, which components avoid (in head 2 of layer 12 of Gemma 3 270M they did 25 to 200
times as much as the singular components of the same size).
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
from cofire.models import Head, LanguageModel, Prefix, attention_patterns
from cofire.site import Site
from cofire.types import Float, Tensor
from cofire.weights.nulls import random_frame
from cofire.weights.removal import remove_components
from cofire.weights.tokens import TokenReader, TokenStatistics

_LOGIT_ROWS = 64  # rows of logits held at once; 67 MB for a vocabulary of 262 144

_ROUNDING = 1e-6
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
        random_kl: divergence that random components of the same size make at its own places;
            missing where there is one component only.
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


@dataclass(frozen=True, eq=False)
class _Measured:
    """Divergence and change of loss at a place: of the component, then of its random ones."""

    place: _Place
    kl: np.ndarray
    loss: np.ndarray


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
    parts = _with_mixtures(components, chosen)
    rows = remove_components(model, layer, head, parts)
    places = _places(model, layer, head, components, long_enough, reader, statistics, chosen)
    n = components.left.shape[1]
    variants = parts.left.shape[1] // n
    measured: list[list[_Measured]] = [[] for _ in range(n)]
    output = Head(model)
    per_batch = max(1, chosen.batch_rows // variants)
    for number, text in enumerate(long_enough):
        here = [[p for p in own if p.text == number] for own in places]
        wanted = [j for j in range(n) if here[j]]
        if not wanted:
            continue
        prefix = Prefix(model, text, Site(layer, "attn"))
        plain = prefix.streams(n_rows=1)[0]
        streams: list[Tensor] = []
        for start in range(0, len(wanted), per_batch):
            batch = wanted[start : start + per_batch]
            take = torch.tensor([j + n * v for j in batch for v in range(variants)])
            found = prefix.streams(rows.take(take), n_rows=len(take))
            for i, j in enumerate(batch):
                own = found[i * variants : (i + 1) * variants]
                streams += [own[:, place.position] for place in here[j]]
        asked = [(j, place) for j in wanted for place in here[j]]
        positions = [place.position for _, place in asked]
        effects = _effects(output, plain, torch.stack(streams), positions, text)
        for (j, place), (kl, loss) in zip(asked, effects, strict=True):
            measured[j].append(_Measured(place, kl, loss))
    return tuple(
        _summary(
            measured[j],
            float(rows.visible[j]),
            float(components.left[:, j].norm() * components.right[j].norm()),
            chosen.seed,
        )
        for j in range(n)
    )


def _effects(
    output: Head,
    plain: Float[Tensor, "position d_model"],
    changed: Float[Tensor, "rows batch d_model"],
    positions: Sequence[int],
    text: Sequence[int],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divergence and change of loss of every row at every place.

    Many rows go through the unembedding at once, whose reading is what takes the time.

    Args:
        output: the language head.
        plain: final streams of the text.
        changed: final streams without components, one line a place.
        positions: where in the text each place is.
        text: its tokens.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = []
    per_call = max(1, _LOGIT_ROWS // (changed.shape[1] + 1))
    for start in range(0, len(positions), per_call):
        here = positions[start : start + per_call]
        rows = [
            torch.cat([plain[p][None], c])
            for p, c in zip(here, changed[start : start + per_call], strict=True)
        ]
        logits = output.logits(torch.cat(rows)).unflatten(0, (len(here), -1))
        for position, own in zip(here, logits, strict=True):
            losses = torch.logsumexp(own, dim=1) - own[:, text[position + 1]]
            kl = kl_divergence(own[0], own[1:])
            change = losses[1:] - losses[0]
            found.append((kl.cpu().double().numpy(), change.cpu().double().numpy()))
    return found


def _with_mixtures(components: LowRankMatrix, settings: AblationSettings) -> LowRankMatrix:
    """The components, and after them as many random mixtures again and again.

    A component by itself has no mixture but itself; then there are none.
    """
    left, right = components.left.float(), components.right.float()
    n = left.shape[1]
    lengths = left.norm(dim=0) * right.norm(dim=1)
    sides = lengths.sqrt()
    evened = (
        left * _ratio(sides, left.norm(dim=0)),
        right * _ratio(sides, right.norm(dim=1))[:, None],
    )
    lefts, rights = [left], [right]
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.n_random if n > 1 else 0):
        turn = random_frame(n, n, generator).to(left)
        mixed_left, mixed_right = evened[0] @ turn, turn.T @ evened[1]
        size = mixed_left.norm(dim=0) * mixed_right.norm(dim=1)
        lefts.append(mixed_left * _ratio(lengths, size))
        rights.append(mixed_right)
    return LowRankMatrix(torch.cat(lefts, dim=1), torch.cat(rights))


def _ratio(one: Float[Tensor, "features"], other: Float[Tensor, "features"]) -> Tensor:
    return torch.where(other > 0, one / other.clamp_min(1e-30), torch.zeros_like(one))


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
    measured: Sequence[_Measured], visible: float, size: float, seed: int
) -> ComponentEffect:
    own = np.array([one.place.own for one in measured], dtype=bool)
    texts = np.array([one.place.text for one in measured], dtype=np.int64)
    first_kl = np.array([one.kl[0] for one in measured])
    first_loss = np.array([one.loss[0] for one in measured])
    random = np.array([one.kl[1:].mean() if len(one.kl) > 1 else np.nan for one in measured])

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
