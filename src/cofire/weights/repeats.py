"""Texts in which a passage comes twice: where heads look, what is gained, which heads give it.

A passage is read, perhaps other passages, and the passage again. Of every head, *induction* is the
mean attention from the tokens of the second time to the token after the first time (the rule of
``cofire.weights.attention``, Olsson et al. 2022: "prefix matching"); of the model, the *gain* is
how much more likely the same next tokens are the second time:

    gain = mean over the passage of log p(token, second time) − log p(token, first time)      nats

The first token of a passage is not predicted from the passage and left out. Whether heads give the
gain is asked by putting their mean output in place of what they hand on, together, while the model
reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float as FloatArray

from cofire.errors import InputError
from cofire.models import LanguageModel, attention_shape, intervening, read_patterns
from cofire.models.channel_ablation import AblateChannels
from cofire.models.prefix import final_streams
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.types import Float, Tensor
from cofire.weights.attention import attention_back

HeadSet = tuple[tuple[int, int], ...]
"""Heads that are held together, each as layer and head."""

_LOGIT_ROWS = 64  # rows of logits held at once; 67 MB for a vocabulary of 262 144


@dataclass(frozen=True)
class RepeatedText:
    """Token ids of a text in which a passage comes twice.

    Attributes:
        ids: the whole text, with the special token in front where the model has one.
        first, second: where the passage begins, each time.
        length: tokens of the passage.
    """

    ids: tuple[int, ...]
    first: int
    second: int
    length: int

    @property
    def distance(self) -> int:
        """Tokens from one time to the other."""
        return self.second - self.first


def repeated_texts(
    passages: Sequence[Sequence[int]], *, between: int = 0, bos: int | None = None
) -> list[RepeatedText]:
    """Every passage twice, with the next ones of the list between.

    Args:
        passages: token ids without special tokens, at least two each.
        between: how many other passages stand between the two times.
        bos: special token to put in front.

    Raises:
        InputError: when a passage has fewer than two tokens, or there are too few to stand between.
    """
    if any(len(one) < 2 for one in passages) or not 0 <= between < max(len(passages), 1):
        raise InputError(
            f"Got {len(passages)} passages and {between} to stand between; passages need two "
            "tokens, and there must be more of them than stand between."
        )
    start = () if bos is None else (bos,)
    found = []
    for place, passage in enumerate(passages):
        others = [passages[(place + 1 + i) % len(passages)] for i in range(between)]
        middle = tuple(int(token) for other in others for token in other)
        own = tuple(map(int, passage))
        found.append(
            RepeatedText(
                ids=(*start, *own, *middle, *own),
                first=len(start),
                second=len(start) + len(own) + len(middle),
                length=len(own),
            )
        )
    return found


def induction_on_repeats(
    model: LanguageModel, texts: Sequence[RepeatedText], *, progress: Progress = SILENT
) -> FloatArray[np.ndarray, "texts layers heads"]:
    """Induction score of every head in every text, 0 to 1; NaN where attention is not understood.

    Args:
        model: the model.
        texts: see ``repeated_texts``.
        progress: shown while reading.

    Raises:
        ModelError: when no layer's attention is understood.
    """
    found: dict[tuple[int, int], np.ndarray] = {}
    with progress.task("Watching heads", len(texts), "text") as advance:
        for number, text in enumerate(texts):

            def receive(
                layer: int,
                pattern: Float[Tensor, "batch heads position _"],
                _handed_on: Tensor,
                *,
                number: int = number,
                text: RepeatedText = text,
            ) -> None:
                seen = attention_back(pattern, text.distance - 1)[0, :, text.second :]
                found[number, layer] = seen.mean(dim=1).cpu().numpy()

            read_patterns(model, torch.tensor([text.ids]), receive)
            advance(1)
    heads = max(len(scores) for scores in found.values())
    grid = np.full((len(texts), model.n_layers, heads), np.nan)
    for (number, layer), scores in found.items():
        grid[number, layer, : len(scores)] = scores
    return grid


def log_probabilities(
    model: LanguageModel,
    texts: Sequence[RepeatedText],
    held: Sequence[HeadSet] = ((),),
    means: Mapping[int, Float[Tensor, "channels"]] | None = None,
    *,
    progress: Progress = SILENT,
) -> FloatArray[np.ndarray, "texts draws 2"]:
    """Mean log-probability of a passage's tokens, the first and the second time, nats.

    Args:
        model: the model.
        texts: see ``repeated_texts``.
        held: sets of heads to hold at their mean, each by itself; an empty set changes nothing.
        means: by layer, mean of what its heads hand on (the ``attn`` site); zeros where a layer is
            not named.
        progress: shown while reading.

    Returns:
        By text, set of heads, and time (first, second).

    Raises:
        InputError: when a layer or head does not exist, or means are of another width.
    """
    changes = _changes(model, held, means or {})
    found = np.zeros((len(texts), len(held), 2))
    with progress.task("Reading repeats", len(texts), "text") as advance:
        for number, text in enumerate(texts):
            ids = torch.tensor([text.ids], device=model.device).expand(len(held), -1)
            with intervening(model, changes):
                streams = final_streams(model.run(ids, torch.ones_like(ids)))
            targets = ids[0, text.first + 1 : text.first + text.length]
            for time, start in enumerate((text.first, text.second)):
                own = streams[:, start : start + text.length - 1]
                found[number, :, time] = _mean_log_probability(model, own, targets)
            advance(1)
    return found


def other_heads(
    model: LanguageModel, heads: HeadSet, *, draws: int, never: HeadSet = (), seed: int = 0
) -> list[HeadSet]:
    """Sets of other heads, as many of each layer as the given ones, drawn at random.

    Args:
        model: the model.
        heads: the given ones.
        draws: most sets; fewer where there are not so many different ones.
        never: further heads that must not be drawn.
        seed: of the drawing.

    Raises:
        InputError: when a layer has too few other heads.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(layer, []).append(head)
    rest = {}
    for layer, own in by_layer.items():
        shape = attention_shape(model, layer)
        rest[layer] = [
            head for head in range(shape.n_heads) if head not in own and (layer, head) not in never
        ]
        if len(rest[layer]) < len(own):
            raise InputError(
                f"Layer {layer} has {len(rest[layer])} other heads to stand beside {len(own)}; "
                "give fewer of its heads."
            )
    generator = np.random.default_rng(seed)
    found: dict[HeadSet, None] = {}
    for _ in range(20 * draws):
        drawn = [
            (layer, int(head))
            for layer, own in by_layer.items()
            for head in sorted(generator.choice(rest[layer], len(own), replace=False))
        ]
        found.setdefault(tuple(drawn))
        if len(found) == draws:
            break
    return list(found)


def _changes(
    model: LanguageModel, held: Sequence[HeadSet], means: Mapping[int, Tensor]
) -> dict[Site, AblateChannels]:
    """What is done at the outputs of the heads of every layer, a row a set."""
    found = {}
    for layer in sorted({layer for one in held for layer, _ in one}):
        site = Site(layer, "attn")
        width, shape = model.site_width(site), attention_shape(model, layer)
        chosen = torch.zeros(len(held), width, dtype=torch.bool)
        for row, one in enumerate(held):
            for at, head in one:
                if at == layer and head >= shape.n_heads:
                    raise InputError(
                        f"Layer {layer} of {model.name} has heads 0 to {shape.n_heads - 1}; there "
                        f"is no head {head}."
                    )
                if at == layer:
                    chosen[row, head * shape.d_head : (head + 1) * shape.d_head] = True
        mean = means.get(layer, torch.zeros(width))
        found[site] = AblateChannels(chosen.to(model.device), mean.to(model.device))
    return found


def _mean_log_probability(
    model: LanguageModel, streams: Float[Tensor, "batch position d_model"], targets: Tensor
) -> np.ndarray:
    """Mean over the places, one a row."""
    rows = streams.flatten(0, 1)
    following = targets.repeat(len(streams))
    parts = []
    for start in range(0, len(rows), _LOGIT_ROWS):
        block = slice(start, start + _LOGIT_ROWS)
        logits = model.head.logits(rows[block])
        own = logits.gather(1, following[block, None])[:, 0]
        parts.append(own - torch.logsumexp(logits, dim=1))
    found: np.ndarray = torch.cat(parts).view(len(streams), -1).double().mean(dim=1).cpu().numpy()
    return found
