"""What heads do on texts: where they look, and whether they raise what they look at.

All heads at once, in one forward pass a batch (``cofire.models.read_patterns``):

==============  ==============================================================================
previous        mean attention from a token to the one before it
first           mean attention to the first token of the input, where heads rest
itself          mean attention of a token to itself
induction       on random tokens that come twice, mean attention from the second time to the token
                after the first time (Olsson et al. 2022, In-context Learning and Induction Heads:
                "prefix matching")
duplicate       the same, to the first time itself
copying         how far a head raises the logits of the tokens it attends to: the direct effect of
                its output on the attended token's logit, in standard deviations over the
                vocabulary, averaged with the attention as weight ("copying" of Olsson et al., with
                standard deviations in place of ratios). The first token is left out.
==============  ==============================================================================
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float as ArrayFloat

from cofire.errors import InputError
from cofire.models import LanguageModel, read_patterns
from cofire.models.batching import pad, plan_batches
from cofire.models.weights import value_matrices
from cofire.progress import SILENT, Progress
from cofire.types import Float, Int, Tensor
from cofire.weights.tokens import TokenReader, TokenStatistics

HeadGrid = ArrayFloat[np.ndarray, "layers heads"]

Watch: TypeAlias = Callable[
    [int, Sequence[int], Float[Tensor, "batch heads position _"]],
    None,
]
"""Gets the layer, the numbers of the texts of a batch, and the attention of its heads from each
token (third axis) to each token (last axis), 0 to the first token and from tokens not looked from.
"""

_LEAST_ATTENTION = 1e-3
"""Attention to tokens beside the first, a token on average, below which copying is not measured."""


@dataclass(frozen=True, eq=False)
class HeadBehaviour:
    """Scores of every head, [layers heads]; NaN where a layer has no attention that is understood.

    Attributes:
        previous, first, itself: see the module, 0 to 1.
        copying: see the module; from the vocabulary's mean, in standard deviations. NaN also where
            a head attends to hardly anything but the first token.
        induction, duplicate: 0 to 1; NaN on texts, whose tokens do not repeat by construction.
        n_tokens: tokens that were looked from.
    """

    previous: HeadGrid
    first: HeadGrid
    itself: HeadGrid
    copying: HeadGrid
    induction: HeadGrid
    duplicate: HeadGrid
    n_tokens: int


def behaviour_on_repeats(
    model: LanguageModel,
    reader: TokenReader,
    statistics: TokenStatistics,
    *,
    n_texts: int = 4,
    length: int = 48,
    seed: int = 0,
) -> HeadBehaviour:
    """Scores on random tokens that come twice in the same order, after the first special token.

    ``previous``, ``first``, ``itself`` and ``copying`` are taken from the second time too.

    Args:
        model: the model.
        reader: of its tokens.
        statistics: of its tokens.
        n_texts: sequences.
        length: tokens of a sequence before it repeats.
        seed: of the tokens.

    Raises:
        InputError: for fewer than one sequence or two tokens, or where a sequence is longer than
            the model takes.
    """
    if n_texts < 1 or length < 2:
        raise InputError(f"Got {n_texts} sequences of {length} tokens; at least 1 of 2 are needed.")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(reader.tokens), (n_texts, length), generator=generator)
    ids = reader.tokens[chosen].repeat(1, 2)
    bos = model.tokenizer.bos_token_id
    if bos is not None:
        ids = torch.cat([torch.full((n_texts, 1), int(bos)), ids], dim=1)
    if model.context_length is not None and ids.shape[1] > model.context_length:
        raise InputError(
            f"Two times {length} tokens are longer than the {model.context_length} that "
            f"{model.name} takes; give a smaller length."
        )
    start = ids.shape[1] - length
    looking = torch.zeros(ids.shape, dtype=torch.bool)
    looking[:, start:] = True
    sums = _Sums(model, reader, statistics)
    sums.add(ids, torch.ones_like(ids), looking, repeat=length)
    return sums.behaviour()


def behaviour_on_texts(
    model: LanguageModel,
    reader: TokenReader,
    statistics: TokenStatistics,
    texts: Sequence[Sequence[int]],
    *,
    batch_tokens: int = 1024,
    layers: Iterable[int] | None = None,
    watch: Watch | None = None,
    progress: Progress = SILENT,
) -> HeadBehaviour:
    """Scores on texts, given as token ids with the special token in front where the model has one.

    Args:
        model: the model.
        reader: of its tokens.
        statistics: of its tokens.
        texts: token ids of each text; those of fewer than two tokens are left out.
        batch_tokens: most tokens of a batch.
        layers: which; None for all that have attention that cofire understands.
        watch: called for every layer and batch.
        progress: shown while reading.

    Raises:
        InputError: when no text has two tokens, or a layer does not exist.
        ModelError: when a wanted layer's attention is not understood.
    """
    numbers = [number for number, text in enumerate(texts) if len(text) > 1]
    if not numbers:
        raise InputError("No text has two tokens to look from one to the other; give longer texts.")
    sums = _Sums(model, reader, statistics, None if layers is None else sorted(set(layers)))
    lengths = [len(texts[number]) for number in numbers]
    with progress.task("Watching heads", len(numbers), "text") as advance:
        for batch in plan_batches(lengths, batch_tokens=batch_tokens):
            own = [numbers[place] for place in batch]
            ids, mask, _ = pad([texts[one] for one in own], 0, "right", torch.device("cpu"))
            looking = mask.bool()
            looking[:, 0] = False
            sums.add(ids, mask, looking, numbers=own, watch=watch)
            advance(len(batch))
    return sums.behaviour()


def attention_back(
    pattern: Float[Tensor, "batch heads position _"], back: int | Int[Tensor, "position"]
) -> Float[Tensor, "batch heads position"]:
    """Attention from each token to the place so many tokens before it, the first where none is.

    Args:
        pattern: attention from each token (third axis) to each token (last axis).
        back: how many, for all tokens or for each.
    """
    place = torch.arange(pattern.shape[2], device=pattern.device)
    target = (place - back).clamp(min=0)
    return pattern.gather(3, target[None, None, :, None].expand(*pattern.shape[:3], 1))[..., 0]


class _Sums:
    """Sums over tokens of what heads do, layer by layer."""

    def __init__(
        self,
        model: LanguageModel,
        reader: TokenReader,
        statistics: TokenStatistics,
        layers: Sequence[int] | None = None,
    ) -> None:
        self._model = model
        self._layers = layers
        self._reader = reader
        self._statistics = statistics
        self._sums: dict[int, dict[str, Tensor]] = {}
        self._n = 0
        self._repeated = False
        self._outputs: dict[int, Tensor] = {}

    def add(
        self,
        ids: Int[Tensor, "batch position"],
        mask: Int[Tensor, "batch position"],
        looking: Tensor,
        *,
        repeat: int | None = None,
        numbers: Sequence[int] = (),
        watch: Watch | None = None,
    ) -> None:
        """Read one batch.

        Args:
            ids: tokens.
            mask: 1 for tokens.
            looking: True at the tokens that are looked from.
            repeat: after how many tokens the sequence comes again.
            numbers: of the texts of the batch.
            watch: called for every layer.
        """
        self._n += int(looking.sum())
        self._repeated = repeat is not None
        device = self._model.device
        weight = looking.to(device, torch.float32)
        statistics = self._statistics
        raises = self._reader.write_rows(ids.flatten()).view(*ids.shape, -1)
        raises = raises - statistics.write_mean

        def receive(layer: int, pattern: Tensor, handed_on: Tensor) -> None:
            place = torch.arange(ids.shape[1], device=device)

            def at(back: int | Tensor) -> Tensor:
                """Σ over tokens of the attention to the place so far back, by head."""
                return (attention_back(pattern, back) * weight[:, None]).sum(dim=(0, 2))

            found = {"previous": at(1), "first": at(place), "itself": at(0)}
            if repeat is not None:
                found |= {"induction": at(repeat - 1), "duplicate": at(repeat)}
            output = self._output(layer)
            written = torch.einsum("bhpd,hdm->bhpm", handed_on, output)
            spread = torch.einsum("bhpm,mn,bhpn->bhp", written, statistics.write, written)
            effect = torch.einsum("bhpm,bsm->bhps", written, raises)
            effect = effect / spread.clamp_min(1e-30).sqrt()[..., None]
            other = pattern * weight[:, None, :, None]
            other[..., 0] = 0
            if watch is not None:
                watch(layer, numbers, other)
            found |= {
                "raised": (other * effect).sum(dim=(0, 2, 3)),
                "attended": other.sum(dim=(0, 2, 3)),
            }
            sums = self._sums.setdefault(layer, {})
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.double().cpu()

        read_patterns(self._model, ids, receive, attention_mask=mask, layers=self._layers)

    def behaviour(self) -> HeadBehaviour:
        """Means over the tokens looked from."""
        heads = max(len(sums["first"]) for sums in self._sums.values())
        grids = {
            field.name: np.full((self._model.n_layers, heads), np.nan)
            for field in fields(HeadBehaviour)
            if field.name != "n_tokens"
        }
        for layer, sums in self._sums.items():
            for name, grid in grids.items():
                if name in sums:
                    grid[layer, : len(sums[name])] = (sums[name] / self._n).numpy()
            attended = sums["attended"]
            copying = (sums["raised"] / attended).where(
                attended / self._n > _LEAST_ATTENTION, torch.nan
            )
            grids["copying"][layer, : len(copying)] = copying.numpy()
        return HeadBehaviour(**grids, n_tokens=self._n)

    def _output(self, layer: int) -> Float[Tensor, "heads d_head d_model"]:
        """W_O of all heads of a layer, past the norm after them."""
        if layer not in self._outputs:
            parts = self._model.attention_parts[layer]
            n = 0 if isinstance(parts, str) else parts.wiring.n_heads
            self._outputs[layer] = torch.stack(
                [value_matrices(self._model, layer, head).W_O for head in range(n)]
            )
        return self._outputs[layer]
