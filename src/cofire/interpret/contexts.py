"""The tokens that fire a feature, each shown in its text."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count, islice, pairwise

import numpy as np
import torch

from cofire.activations import TokenTable
from cofire.corpus import Corpus
from cofire.types import Bool, CodeMatrix, IntArray, Tensor

QUANTILES = (0.99, 0.9, 0.75, 0.5)
"""Quantiles of a feature's positive codes at which contexts are shown beside the top ones."""

STRONG = 0.5
"""A feature fires strongly where its code is at least this share of its largest."""

_MAX_CANDIDATES = 4096  # strongest rows looked through for the top contexts of one feature


@dataclass(frozen=True)
class Context:
    """One place where a feature fires.

    Attributes:
        row: row of the activations.
        text_id: text of the corpus.
        code: the feature's code at the firing token.
        quantile: None for a top context, else the quantile of positive codes it stands for.
        tokens: surface strings of the window.
        codes: the feature's code at each of them.
        focus: index of the firing token in the window.
        label: concept of the text, None when unlabelled.
    """

    row: int
    text_id: int
    code: float
    quantile: float | None
    tokens: tuple[str, ...]
    codes: tuple[float, ...]
    focus: int
    label: str | None


def token_type(piece: str) -> str:
    """What counts as the same token when contexts are deduplicated: case and spaces do not.

    >>> token_type(" Monday") == token_type("monday")
    True
    """
    return piece.strip().casefold() or piece


def row_types(tokens: TokenTable) -> tuple[IntArray, tuple[str, ...]]:
    """The token type of every row, as an index into the names of all types.

    A tokenizer of bytes gives the first byte of a character the whole of it as its piece and the
    others none (""): they are of the type of the nearest piece before them in their text.
    """
    names: dict[str, int] = {}
    of_piece = np.array(
        [names.setdefault(token_type(piece), len(names)) for piece in tokens.pieces], np.int64
    )
    piece = tokens.piece
    if "" in tokens.pieces and len(tokens):
        rows = np.arange(len(tokens))
        written = piece != tokens.pieces.index("")
        nearest = np.maximum.accumulate(np.where(written, rows, 0))
        same_text = tokens.text_id[nearest] == tokens.text_id
        piece = piece[np.where(same_text, nearest, rows)]
    return of_piece[piece], tuple(names)


class ContextFinder:
    """Finds contexts for any feature of one code matrix.

    Args:
        codes: [rows features], ≥ 0 where the method promises it; rows in text order.
        tokens: one line a row.
        corpus: the texts.
        row_numbers: what ``Context.row`` calls each row; 0, 1, 2 … by default.
        window: tokens shown on each side of the firing one.
    """

    def __init__(
        self,
        codes: CodeMatrix,
        tokens: TokenTable,
        corpus: Corpus,
        *,
        row_numbers: np.ndarray | None = None,
        window: int = 16,
    ) -> None:
        self._codes = codes.float().cpu()
        self._tokens = tokens
        self._corpus = corpus
        self._row_numbers = np.arange(len(tokens)) if row_numbers is None else row_numbers
        self._window = window
        self._type_of_row, _ = row_types(tokens)
        edges = np.flatnonzero(np.diff(tokens.text_id)) + 1
        self._starts = np.concatenate([[0], edges])
        self._ends = np.concatenate([edges, [len(tokens)]])

    def top(self, feature: int, n: int = 10) -> list[Context]:
        """The strongest contexts, every token type once before any type comes twice.

        A second round shows further occurrences only when fewer than ``n`` types fire, and never
        the same text again.
        """
        column = self._codes[:, feature]
        strongest = column.topk(min(_MAX_CANDIDATES, len(column)))
        rows = strongest.indices[strongest.values > 0].tolist()
        types = self._type_of_row[rows].tolist()
        seen_types: set[int] = set()
        seen_texts: set[int] = set()
        chosen: list[int] = []
        repeated: list[int] = []
        for row, kind in zip(rows, types, strict=True):
            text = int(self._tokens.text_id[row])
            if kind in seen_types:
                repeated.append(row)
                continue
            seen_types.add(kind)
            seen_texts.add(text)
            chosen.append(row)
            if len(chosen) == n:
                break
        for row in repeated:
            if len(chosen) >= n:
                break
            text = int(self._tokens.text_id[row])
            if text not in seen_texts:
                seen_texts.add(text)
                chosen.append(row)
        chosen.sort(key=lambda row: -float(column[row]))
        return [self._context(feature, row, None) for row in chosen]

    def at_quantiles(
        self, feature: int, n: int = 2, *, without: Collection[Context] = ()
    ) -> list[Context]:
        """Up to ``n`` contexts nearest each quantile of the feature's positive codes, high to low.

        No row comes twice, and a row stands only for the quantile it is nearest to, so that a
        feature with few positive codes has fewer contexts.

        Args:
            feature: its column.
            n: contexts a quantile.
            without: contexts that are shown already, such as the top ones.
        """
        column = self._codes[:, feature]
        positive = torch.nonzero(column > 0)[:, 0]
        order = positive[column[positive].argsort(stable=True)].tolist()
        shown = {context.row for context in without}
        edges = [1.0, *((a + b) / 2 for a, b in pairwise(QUANTILES)), 0.0]
        last = len(order) - 1
        found = []
        for i, quantile in enumerate(QUANTILES if order else ()):
            places = _outwards(round(quantile * last), edges[i + 1] * last, edges[i] * last)
            fresh = (order[p] for p in places if int(self._row_numbers[order[p]]) not in shown)
            chosen = sorted(islice(fresh, n), key=lambda row: float(column[row]))
            found += [self._context(feature, row, quantile) for row in chosen]
            shown.update(int(self._row_numbers[row]) for row in chosen)
        return found

    def _context(self, feature: int, row: int, quantile: float | None) -> Context:
        text = int(np.searchsorted(self._starts, row, side="right")) - 1
        start = max(int(self._starts[text]), row - self._window)
        end = min(int(self._ends[text]), row + self._window + 1)
        text_id = int(self._tokens.text_id[row])
        return Context(
            row=int(self._row_numbers[row]),
            text_id=text_id,
            code=float(self._codes[row, feature]),
            quantile=quantile,
            tokens=tuple(self._tokens.surface(i) for i in range(start, end)),
            codes=tuple(self._codes[start:end, feature].tolist()),
            focus=row - start,
            label=self._corpus[text_id].label,
        )


def _outwards(centre: int, low: float, high: float) -> Iterator[int]:
    """Whole numbers from ``low`` to ``high``, nearest to the centre first."""
    for distance in count():
        below, above = centre - distance, centre + distance
        if below < low and above > high:
            return
        if low <= below <= high:
            yield below
        if distance and low <= above <= high:
            yield above


def strong_firings(codes: CodeMatrix) -> Bool[Tensor, "rows features"]:
    """Where each feature fires strongly: at ``STRONG`` times its largest code or more."""
    peak = codes.amax(dim=0)
    return (codes >= STRONG * peak) & (peak > 0)


def firing_types(codes: CodeMatrix, tokens: TokenTable) -> Iterator[list[tuple[str, int]]]:
    """For every feature, the token types it fires on strongly, most frequent first, with counts."""
    type_of_row, names = row_types(tokens)
    for column in strong_firings(codes).T:
        rows = torch.nonzero(column)[:, 0].cpu().numpy()
        kinds, counts = np.unique(type_of_row[rows], return_counts=True)
        found = [(names[kind], int(n)) for kind, n in zip(kinds, counts, strict=True)]
        yield sorted(found, key=lambda item: (-item[1], item[0]))
