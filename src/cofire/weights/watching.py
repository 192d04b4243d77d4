"""Watches heads while a model reads texts: mean scores, and the pairs of tokens they join most."""

import math
from collections.abc import Iterable, Sequence

import torch

from cofire.corpus import Corpus
from cofire.models import LanguageModel
from cofire.models.tokens import TokenizedTexts, tokenize
from cofire.progress import SILENT, Progress
from cofire.types import Float, Tensor
from cofire.weights.attention import behaviour_on_texts
from cofire.weights.on_texts import Look, OnTexts, TextExample
from cofire.weights.tokens import TokenReader, TokenStatistics

MOST_TEXTS = 100
"""Texts that are read; the means are of their tokens."""

_LONGEST = 128  # tokens of a text that are read; attention takes the square of them
_EXAMPLES = 4  # texts kept for a head
_LOOKS = 3  # pairs of tokens kept of each


def watch_heads(
    model: LanguageModel,
    reader: TokenReader,
    statistics: TokenStatistics,
    corpus: Corpus,
    *,
    data: str,
    layers: Iterable[int] | None = None,
    progress: Progress = SILENT,
) -> dict[tuple[int, int], OnTexts]:
    """What every head of some layers does on held-out texts, or on all where none is held out.

    Reads up to ``MOST_TEXTS`` texts, spread evenly, of up to 128 tokens each. Examples are chosen
    for every head by its strongest attention beside the first token, so that they show what it
    can look at and not what it mostly does, which the means say.

    Args:
        model: the model.
        reader, statistics: of its tokens.
        corpus: the texts.
        data: what the texts are called.
        layers: which; None for all whose attention is understood.
        progress: shown while reading.

    Returns:
        By layer and head.

    Raises:
        InputError: when no text has two tokens, or a layer does not exist.
        ModelError: when a layer's attention is not understood.
    """
    chosen = texts_to_watch(corpus)
    longest = _LONGEST if model.context_length is None else min(_LONGEST, model.context_length)
    texts = tokenize(model.tokenizer, corpus, chosen, max_length=longest, skip_empty=True)
    strongest = _Strongest()
    found = behaviour_on_texts(
        model, reader, statistics, texts.ids, layers=layers, watch=strongest, progress=progress
    )
    pieces = _pieces(model, texts)

    def known(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    return {
        (layer, head): OnTexts(
            data=data,
            fingerprint=corpus.fingerprint,
            texts=len(texts.ids),
            tokens=found.n_tokens,
            previous=known(found.previous[layer, head]),
            first=known(found.first[layer, head]),
            itself=known(found.itself[layer, head]),
            copying=known(found.copying[layer, head]),
            examples=tuple(
                TextExample(pieces[number], looks) for number, looks in strongest.of(layer, head)
            ),
        )
        for layer, head in strongest.heads
    }


def texts_to_watch(corpus: Corpus, most: int = MOST_TEXTS) -> list[int]:
    """Numbers of up to ``most`` texts, spread evenly: of the held-out ones where there are any."""
    heldout = [number for number, text in enumerate(corpus) if text.split == "heldout"]
    among = heldout or list(range(len(corpus)))
    every = max(1, -(-len(among) // most))
    return among[::every][:most]


class _Strongest:
    """Keeps the strongest attention of every head in every text."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], dict[int, tuple[Look, ...]]] = {}

    @property
    def heads(self) -> list[tuple[int, int]]:
        """Layer and head of all that were watched."""
        return sorted(self._found)

    def __call__(
        self,
        layer: int,
        numbers: Sequence[int],
        attention: Float[Tensor, "batch heads position _"],
    ) -> None:
        """See ``cofire.weights.attention.Watch``."""
        width = attention.shape[3]
        flat = attention.flatten(2)
        top = torch.topk(flat, min(_LOOKS, flat.shape[2]), dim=2)
        values, places = top.values.tolist(), top.indices.tolist()
        for row, number in enumerate(numbers):
            for head in range(attention.shape[1]):
                self._found.setdefault((layer, head), {})[number] = tuple(
                    Look(place // width, place % width, value)
                    for place, value in zip(places[row][head], values[row][head], strict=True)
                    if value > 0
                )

    def of(self, layer: int, head: int) -> list[tuple[int, tuple[Look, ...]]]:
        """The texts with the strongest attention of one head; of equal ones the first."""
        found = [(number, looks) for number, looks in self._found[layer, head].items() if looks]
        return sorted(found, key=lambda one: (-one[1][0].attention, one[0]))[:_EXAMPLES]


def _pieces(model: LanguageModel, texts: TokenizedTexts) -> list[tuple[str, ...]]:
    """What each token of each text stands for; special tokens in front for nothing."""
    special = "" if model.tokenizer.bos_token_id is not None else None
    found = []
    row = 0
    for ids, rows in zip(texts.ids, texts.rows, strict=True):
        pieces = [str(model.tokenizer.convert_ids_to_tokens(int(token))) for token in ids]
        if special is not None:
            pieces[0] = special
        for place in rows:
            pieces[place] = texts.table.pieces[int(texts.table.piece[row])]
            row += 1
        found.append(tuple(pieces))
    return found
