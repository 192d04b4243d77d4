"""Where the rows of X come from: shards in memory or on disk, or an iterable of matrices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from cofire.errors import InputError
from cofire.rows_on_disk import Rows
from cofire.types import ActivationMatrix, Int, Tensor


@runtime_checkable
class RowSource(Protocol):
    """Rows that can be walked any number of times, always the same ones.

    Attributes:
        n_channels: width of every row.
        in_memory: whether all rows are in memory at once.
        device: where blocks come from.
        wide: whether the rows are float64.
    """

    n_channels: int
    in_memory: bool
    device: torch.device
    wide: bool

    def blocks(self, max_rows: int) -> Iterator[Tensor]:
        """All rows in order, in blocks of at most ``max_rows``."""
        ...

    def take(self, rows: Int[Tensor, "rows"]) -> ActivationMatrix:
        """Some rows, in the order asked for."""
        ...


class Shards:
    """Rows in one or several matrices, in memory or on disk.

    Args:
        shards: [rows_i channels] each, of one width.
    """

    def __init__(self, shards: Sequence[Rows]) -> None:
        self.shards = tuple(shards)
        first = self.shards[0]
        self.n_rows = sum(len(shard) for shard in self.shards)
        self.n_channels = int(first.shape[1])
        self.in_memory = all(isinstance(shard, Tensor) for shard in self.shards)
        self.device = first.device
        self.wide = first.dtype == torch.float64

    def blocks(self, max_rows: int) -> Iterator[Tensor]:
        """See ``RowSource.blocks``."""
        for shard in self.shards:
            for start in range(0, len(shard), max_rows):
                yield shard[start : start + max_rows]

    def take(self, rows: Int[Tensor, "rows"]) -> ActivationMatrix:
        """See ``RowSource.take``."""
        parts, places, start = [], [], 0
        for shard in self.shards:
            here = ((rows >= start) & (rows < start + len(shard))).nonzero()[:, 0]
            if len(here):
                parts.append(shard[(rows[here] - start).to(shard.device)])
                places.append(here)
            start += len(shard)
        return _in_order(parts, places, self.n_channels)

    def split(self, n_rows: int) -> "tuple[Shards, Shards | None]":
        """The first ``n_rows`` rows and the rest, None when there is none; in memory only."""
        parts: tuple[list[Rows], list[Rows]] = ([], [])
        left = n_rows
        for shard in self.shards:
            cut = min(left, len(shard))
            left -= cut
            for part, piece in zip(parts, (shard[:cut], shard[cut:]), strict=True):
                if len(piece):
                    part.append(piece)
        return Shards(parts[0]), Shards(parts[1]) if parts[1] else None


class ChunkedRows:
    """Rows of an iterable that gives the same matrices every time it is asked.

    Args:
        chunks: an object whose ``iter`` starts anew each time, such as a list of arrays or a class
            of the caller's own that reads files.
        as_tensor: turns one chunk into a checked tensor [rows channels].

    Raises:
        InputError: when there is no chunk, or the iterable can be read only once.
    """

    in_memory = False

    def __init__(self, chunks: Iterable[Any], as_tensor: Callable[[Any], Tensor]) -> None:
        if iter(chunks) is chunks:
            raise InputError(
                "X can be read only once (a generator or iterator), and fit reads it many times: "
                "pass a list of chunks or an object whose iter() starts anew, or feed the chunks "
                "to partial_fit one by one."
            )
        self._chunks = chunks
        self._as_tensor = as_tensor
        first = next(self._tensors(), None)
        if first is None:
            raise InputError("X is an iterable without any chunk that has rows; pass at least one.")
        self.n_channels = int(first.shape[1])
        self.device = first.device
        self.wide = first.dtype == torch.float64

    def _tensors(self) -> Iterator[Tensor]:
        for number, chunk in enumerate(self._chunks):
            tensor = self._as_tensor(chunk)
            width = getattr(self, "n_channels", tensor.shape[1])
            if tensor.shape[1] != width:
                raise InputError(
                    f"Chunk {number} of X has {tensor.shape[1]} channels, the ones before it "
                    f"{width}; all chunks must be equally wide."
                )
            if len(tensor):  # a text may have no rows
                yield tensor

    def blocks(self, max_rows: int) -> Iterator[Tensor]:
        """See ``RowSource.blocks``."""
        for tensor in self._tensors():
            yield from torch.split(tensor, max_rows)

    def take(self, rows: Int[Tensor, "rows"]) -> ActivationMatrix:
        """See ``RowSource.take``; walks through all chunks."""
        parts, places, start = [], [], 0
        for tensor in self._tensors():
            here = ((rows >= start) & (rows < start + len(tensor))).nonzero()[:, 0]
            if len(here):
                parts.append(tensor[rows[here] - start].clone())
                places.append(here)
            start += len(tensor)
        return _in_order(parts, places, self.n_channels)


def _in_order(parts: list[Tensor], places: list[Tensor], n_channels: int) -> ActivationMatrix:
    if not parts:
        return torch.zeros(0, n_channels)
    if len(parts) == 1:  # then all rows are in it, asked for in this order
        return parts[0]
    taken = torch.cat(parts)
    order = torch.empty(len(taken), dtype=torch.int64)
    order[torch.cat(places)] = torch.arange(len(taken))
    return taken[order.to(taken.device)]
