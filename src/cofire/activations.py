"""Activations: a data matrix X [rows channels] together with what each row is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from cofire.corpus import Corpus
from cofire.errors import InputError
from cofire.rows_on_disk import Rows, RowsOnDisk
from cofire.site import Site
from cofire.types import ActivationMatrix, IntArray

_COPY_ROWS = 16384  # rows of a shard on disk that are in memory at once


@dataclass(frozen=True, eq=False)
class TokenTable:
    """One line a row of X: which token of which text it is.

    Attributes:
        text_id: index into the corpus.
        position: place in the model's input, counted from 0 with special tokens included.
        token_id: the token's number in the vocabulary.
        piece: index into ``pieces``.
        pieces: distinct surface strings, leading space kept, so that the pieces of one text joined
            in order give the text back.
    """

    text_id: IntArray
    position: IntArray
    token_id: IntArray
    piece: IntArray
    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.text_id), len(self.position), len(self.token_id), len(self.piece)}
        if len(lengths) != 1:
            raise InputError(f"Columns of a token table differ in length: {sorted(lengths)}.")

    def __len__(self) -> int:
        return len(self.text_id)

    def surface(self, row: SupportsIndex) -> str:
        """The token of one row as it stands in the text, leading space included."""
        return self.pieces[int(self.piece[row])]

    def same_tokens(self, other: "TokenTable") -> bool:
        """Whether both have the same tokens of the same texts in the same order."""
        return all(
            np.array_equal(getattr(self, column), getattr(other, column))
            for column in ("text_id", "position", "token_id")
        )

    def take(self, rows: np.ndarray) -> "TokenTable":
        """The table of some rows: a boolean mask or an index array."""
        return replace(
            self,
            text_id=self.text_id[rows],
            position=self.position[rows],
            token_id=self.token_id[rows],
            piece=self.piece[rows],
        )

    @classmethod
    def concatenate(cls, tables: "list[TokenTable]") -> "TokenTable":
        """Stack tables; distinct pieces are merged."""
        numbers: dict[str, int] = {}
        columns = []
        for table in tables:
            lookup = np.array(
                [numbers.setdefault(piece, len(numbers)) for piece in table.pieces], dtype=np.int32
            )
            columns.append(lookup[table.piece] if len(table) else table.piece)
        return cls(
            text_id=np.concatenate([table.text_id for table in tables]),
            position=np.concatenate([table.position for table in tables]),
            token_id=np.concatenate([table.token_id for table in tables]),
            piece=np.concatenate(columns).astype(np.int32),
            pieces=tuple(numbers),
        )


@dataclass(frozen=True, eq=False)
class Activations:
    """X [rows channels] at one site, with the token of each row and the corpus it came from.

    The rows may lie in several shards, each in memory or on disk; ``chunks`` walks them in little
    memory, ``X`` gives one tensor (a copy unless there is one shard, in memory).

    Attributes:
        shards: matrices [rows_i channels]; together they hold the rows in order.
        tokens: one line a row.
        corpus: the texts that ``tokens.text_id`` points to.
        site: where in the model the rows were read.
        provenance: model, data and settings that made the rows, as plain JSON values.
    """

    shards: tuple[Rows, ...]
    tokens: TokenTable
    corpus: Corpus
    site: Site
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.shards:
            raise InputError("Activations need at least one shard.")
        widths = {shard.shape[1] if shard.ndim == 2 else None for shard in self.shards}
        if len(widths) != 1 or None in widths:
            shapes = [tuple(shard.shape) for shard in self.shards]
            raise InputError(f"Shards must be [rows channels] of one width; got {shapes}.")
        n_rows = sum(shard.shape[0] for shard in self.shards)
        if n_rows != len(self.tokens):
            raise InputError(f"{n_rows} rows of activations but {len(self.tokens)} tokens.")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, channels)."""
        return len(self), int(self.shards[0].shape[1])

    @property
    def X(self) -> ActivationMatrix:  # noqa: N802  (the matrix of the notation)
        """All rows as one tensor; a new copy each time unless there is one shard, in memory."""
        first = self.shards[0]
        if isinstance(first, Tensor) and len(self.shards) == 1:
            return first
        rows = torch.empty(self.shape, dtype=first.dtype, device=first.device)
        start = 0
        for chunk in self.chunks(_COPY_ROWS):
            rows[start : start + len(chunk)] = chunk
            start += len(chunk)
        return rows

    def chunks(self, max_rows: int) -> Iterator[ActivationMatrix]:
        """Consecutive blocks of at most ``max_rows`` rows, views where possible."""
        for shard in self.shards:
            for start in range(0, len(shard), max_rows):
                yield shard[start : start + max_rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows as a NumPy array, so that any scikit-learn style estimator takes them.

        Args:
            dtype: number type; None for float32, or float64 when the rows are that.
            copy: True for an array of its own, False for a view of the rows, None for whichever
                needs less memory.

        Raises:
            ValueError: when ``copy`` is False but the rows cannot be given without copying.
        """
        first = self.shards[0]
        own = first.dtype if first.dtype in (torch.float32, torch.float64) else torch.float32
        wanted = np.dtype(str(own).removeprefix("torch.") if dtype is None else dtype)
        whole = len(self.shards) == 1 and first.dtype == own and first.device.type == "cpu"
        if whole and not copy:
            values = first[:].detach().numpy()
            if values.dtype == wanted:
                return values
        if copy is False:
            raise ValueError("These activations give no array without copying; use copy=None.")
        result = np.empty(self.shape, wanted)
        start = 0
        for chunk in self.chunks(_COPY_ROWS):
            result[start : start + len(chunk)] = chunk.detach().to("cpu", own).numpy()
            start += len(chunk)
        return result

    def take(self, rows: np.ndarray) -> "Activations":
        """Some rows (boolean mask or index array).

        Rows in ascending order stay in the shards they came from, on disk where those are; rows in
        another order come as one tensor in memory.

        Raises:
            IndexError: for a row that does not exist, or a mask of another length.
        """
        tokens = self.tokens.take(rows)
        numbers = np.arange(len(self), dtype=np.int64)[rows]
        ends = np.cumsum([len(shard) for shard in self.shards])
        if np.all(numbers[1:] > numbers[:-1]):
            cuts = np.split(numbers, np.searchsorted(numbers, ends[:-1]))
            taken = [
                shard if len(cut) == len(shard) else _taken(shard, cut - end + len(shard))
                for shard, cut, end in zip(self.shards, cuts, ends, strict=True)
            ]
            shards = tuple(part for part in taken if len(part)) or tuple(taken[:1])
        else:
            first = self.shards[0]
            one = torch.empty(len(numbers), self.shape[1], dtype=first.dtype, device=first.device)
            for shard, end in zip(self.shards, ends, strict=True):
                here = np.flatnonzero((numbers >= end - len(shard)) & (numbers < end))
                one[torch.from_numpy(here)] = shard[
                    torch.from_numpy(numbers[here] - end + len(shard))
                ]
            shards = (one,)
        return replace(self, shards=shards, tokens=tokens)

    def where_split(self, split: str) -> "Activations":
        """Rows of the texts of one split, ``train`` or ``heldout``."""
        in_split = np.array([text.split == split for text in self.corpus], dtype=bool)
        mask = in_split[self.tokens.text_id]
        return self if mask.all() else self.take(mask)

    def __repr__(self) -> str:
        rows, channels = self.shape
        return f"Activations({rows} rows × {channels} channels at {self.site})"


def _taken(shard: Rows, rows: np.ndarray) -> Rows:
    return shard.select(rows) if isinstance(shard, RowsOnDisk) else shard[torch.from_numpy(rows)]
