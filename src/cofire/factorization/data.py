"""The data matrix as solvers see it: checked once, then read in tiles of rows."""

import logging
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch

from cofire.errors import InputError
from cofire.factorization.identity import RowsIdentity
from cofire.factorization.sources import RowSource, Shards
from cofire.ranks import ONE, Ranks
from cofire.types import ActivationMatrix, Float, Int, Tensor

logger = logging.getLogger(__name__)

_TILE_BYTES = {"cpu": 8 * 2**20, "cuda": 2**30}
_OTHER_TILE_BYTES = 256 * 2**20
_LARGEST_FLOAT16 = 65504
# Of the exponents of a number type: squares of such norms may still be added up over all rows.
_RANGE = 0.4
_SHUFFLED_WHOLE = 2**18  # rows up to which a sample is drawn by shuffling all of them


class Tile(NamedTuple):
    """Consecutive rows: which ones, their values, and their weights where rows have any."""

    rows: slice
    X: ActivationMatrix
    weights: Float[Tensor, "rows"] | None


class DataMatrix:
    """X [rows channels] in any floating type, in memory, on disk, or spread over processes.

    Arithmetic is done in ``compute_dtype``, tile by tile, so that 16-bit or stored rows are never
    widened or read as a whole. Of several processes each holds its own rows; what is said of all
    rows (the sums, the median, ``take`` and ``sample``) holds for those of all processes together,
    numbered in order of rank.

    Attributes:
        n_rows, n_channels: the shape of this process's part.
        total_rows: rows of all processes.
        squared_norm: sum over all rows of weight · ||x||^2, in float64.
        median_row_norm: weighted median over the rows that are not zero; 0 without any.
        largest: the largest |value| of all rows, before the mean is taken off.
        mean: what is taken off every row, or None.
        identity: what tells this data from other data, or None unless asked for.
    """

    def __init__(
        self,
        source: RowSource,
        *,
        compute_dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        center: bool = False,
        weights: Float[Tensor, "rows"] | None = None,
        mean: Float[Tensor, "channels"] | None = None,
        ranks: Ranks = ONE,
        identify: bool = False,
    ) -> None:
        """Check every value.

        Args:
            source: the rows of this process.
            compute_dtype: type of the tiles.
            device: of the tiles; that of the source by default.
            center: take the weighted mean of all rows off.
            weights: of the rows, >= 0.
            mean: a mean found before, to take off instead.
            ranks: all processes.
            identify: find ``identity`` too, which takes another look at every value.

        Raises:
            InputError: on NaN, infinity or values whose squares overflow, naming the row.
        """
        self._source = source
        self._weights = weights
        self.ranks = ranks
        self.compute_dtype = compute_dtype
        self.device = source.device if device is None else device
        self.n_channels = source.n_channels
        self.in_memory = source.in_memory
        tile_bytes = _TILE_BYTES.get(self.device.type, _OTHER_TILE_BYTES)
        self.tile_rows = max(1024, tile_bytes // (4 * max(1, self.n_channels)))
        self.mean = None if mean is None else mean.to(self.device, compute_dtype)
        watch = RowsIdentity(self.n_channels, self.device) if identify else None
        norms = self._checked_row_norms(watch)
        self.n_rows = len(norms)
        self.total_rows, self._first_row = self._place()
        self.identity = None if watch is None else self._identity(watch, norms)
        if center:
            self.mean = self._mean()
            norms = self._row_norms()
        squares = norms.square()
        if weights is not None:
            squares *= weights.double().cpu()
        self.squared_norm = sum(ranks.gather(float(squares.sum())))
        self.median_row_norm = _weighted_median(norms, weights, ranks)

    def work(self, n_features: int) -> float:
        """Multiplications of one product of this process's rows with codes."""
        return float(self.n_rows) * self.n_channels * n_features

    @classmethod
    def of(cls, *shards: Tensor, compute_dtype: torch.dtype = torch.float32) -> "DataMatrix":
        """Rows in memory."""
        return cls(Shards(shards), compute_dtype=compute_dtype)

    def tiles(self) -> Iterator[Tile]:
        """Consecutive blocks of rows with their place, in ``compute_dtype``."""
        start = 0
        for block in self._source.blocks(self.tile_rows):
            rows = slice(start, start + len(block))
            start = rows.stop
            if start > self.n_rows:
                break
            X = block.to(self.device, self.compute_dtype)
            if self.mean is not None:
                X = X - self.mean
            weights = self._weights
            if weights is not None:
                weights = weights[rows].to(self.device, self.compute_dtype)
            yield Tile(rows, X, weights)
        if start != self.n_rows:
            raise InputError(
                f"X gave {self.n_rows} rows when it was first read and another number now; an "
                "iterable of chunks must give the same rows every time."
            )

    def split(self, n_rows: int) -> "tuple[DataMatrix, DataMatrix | None]":
        """The first ``n_rows`` rows and the rest, None when there is none; rows in memory only."""
        if n_rows >= self.n_rows:
            return self, None
        if not isinstance(self._source, Shards):
            raise InputError("Give partial_fit one chunk at a time, as one matrix.")
        first, rest = self._source.split(n_rows)
        if rest is None:
            return self, None
        weights = self._weights
        cuts = (None, None) if weights is None else (weights[:n_rows], weights[n_rows:])
        return self._part(first, cuts[0]), self._part(rest, cuts[1])

    def _part(self, source: Shards, weights: Tensor | None) -> "DataMatrix":
        return DataMatrix(
            source,
            compute_dtype=self.compute_dtype,
            device=self.device,
            weights=weights,
            mean=self.mean,
        )

    def local(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of some rows (numbered over all processes) are here, and their numbers here."""
        here = (rows >= self._first_row) & (rows < self._first_row + self.n_rows)
        return here, rows[here] - self._first_row

    def take(self, rows: Tensor) -> ActivationMatrix:
        """Some rows by their number over all processes, in ``compute_dtype``."""
        here, numbers = self.local(rows)
        found = self._source.take(numbers).to(self.device, self.compute_dtype)
        if self.mean is not None:
            found = found - self.mean
        if self.ranks.size == 1:
            return found
        taken = found.new_zeros(len(rows), self.n_channels)
        taken[here.to(self.device)] = found
        return self.ranks.add(taken)

    def draw(self, n_rows: int, generator: torch.Generator) -> Int[Tensor, "rows"]:
        """Numbers of at most ``n_rows`` rows of all processes, without repetition, in order."""
        if self.total_rows <= max(_SHUFFLED_WHOLE, 2 * n_rows):
            rows = torch.randperm(self.total_rows, generator=generator)[:n_rows]
            return rows.sort().values
        return torch.randint(self.total_rows, (n_rows,), generator=generator).unique()

    def sample(self, n_rows: int, generator: torch.Generator) -> "Sample":
        """At most ``n_rows`` rows drawn without replacement, all of them when there are fewer.

        Rows with weights are drawn in proportion to them, never with weight zero, and then count
        alike; only where all rows are taken do the weights come along.
        """
        if self._weights is None:
            return Sample(self.take(self.draw(n_rows, generator)), None)
        weights = self._weights.double().cpu()
        positive = weights.nonzero()[:, 0]
        if n_rows >= len(positive):
            return Sample(self.take(positive), self.weights_of(positive))
        # Efraimidis & Spirakis 2006: the smallest of exponential variables over the weights.
        clocks = torch.empty(len(positive), dtype=torch.float64)
        clocks.exponential_(generator=generator).div_(weights[positive])
        return Sample(self.take(positive[clocks.argsort()[:n_rows]].sort().values), None)

    def weights_of(self, rows: Int[Tensor, "rows"]) -> Float[Tensor, "rows"] | None:
        """Weights of some rows of a single process, or None where rows have none."""
        if self._weights is None:
            return None
        return self._weights[rows].to(self.device, self.compute_dtype)

    def _checked_row_norms(self, watch: RowsIdentity | None) -> Float[Tensor, "rows"]:
        """Norms of the rows, not centred; says what is wrong about the data."""
        low = torch.full((self.n_channels,), torch.inf, device=self.device)
        high = -low
        narrow = False

        def watched() -> Iterator[ActivationMatrix]:
            nonlocal low, high, narrow
            for block in self._source.blocks(self.tile_rows):
                narrow |= block.dtype == torch.float16
                tile = block.to(self.device, self.compute_dtype)
                if self.mean is not None:
                    tile = tile - self.mean
                low = torch.minimum(low, tile.amin(dim=0))
                high = torch.maximum(high, tile.amax(dim=0))
                if watch is not None:
                    watch.add(tile)
                yield tile

        norms = _norms(watched())
        limit = torch.finfo(self.compute_dtype).max ** _RANGE
        bad = (norms <= limit).logical_not_().nonzero()[:, 0]  # NaN is not below it either
        everywhere = self.ranks.gather(float(len(bad)))
        if len(bad):
            self._refuse(bad, len(norms), narrow, limit)
        if any(everywhere):
            others = ", ".join(str(rank) for rank, count in enumerate(everywhere) if count)
            raise InputError(
                f"Process {self.ranks.rank} has good rows, but the rows of process {others} hold "
                "NaN, infinite or too large values; its message says which."
            )
        self.largest = float(torch.maximum(-low, high).max()) if len(norms) else 0.0
        self._silent_rows = int((norms == 0).sum())
        self._silent_channels = int(((low == 0) & (high == 0)).sum())
        first = self.ranks.copy_first(low.clone())
        same = bool((low == high).all()) and bool((low == first).all())
        self._all_same = all(self.ranks.gather(float(same)))
        return norms

    def check_size(self) -> None:
        """Refuse to fit data that is all zero, or so small that its squares vanish.

        Warns (in the log) of data without differences, and notes rows and channels that are all
        zero; such data can be fitted all the same.

        Raises:
            InputError: in all processes, saying what to do.
        """
        largest = max(self.ranks.gather(self.largest))
        kind = _named(self.compute_dtype)
        if largest == 0:
            raise InputError(f"All values of X are zero in {kind}; there is nothing to factorise.")
        if largest < torch.finfo(self.compute_dtype).tiny ** _RANGE:
            raise InputError(
                f"The values of X are so small ({largest:.2g} at most) that their squares vanish "
                f"in {kind}; multiply X by a constant."
            )
        if self.mean is not None and self.squared_norm == 0:
            raise InputError(
                "All rows of X are the same; less their mean there is nothing to factorise."
            )
        self._note_oddities()
        if self._all_same and self.total_rows > 1:
            logger.warning(
                "All rows of X are the same, so that no feature can tell rows apart; check how the "
                "rows were made."
            )

    def _refuse(self, bad: Tensor, n_rows: int, narrow: bool, limit: float) -> None:
        row = int(bad[0])
        values = self._source.take(bad[:1])
        if bool(values.isnan().any()):
            kind, cure = "NaN", "remove those rows or capture them again"
        elif bool(values.isfinite().all()):
            kind = f"values too large for squares in {_named(self.compute_dtype)}"
            cure = f"divide X by a constant, so that the norms of its rows stay below {limit:.0e}"
        else:
            kind = "an infinite or too large value (inf)"
            cure = "remove those rows or capture them again in a wider number type"
            if narrow:
                cure += f" (float16 ends at {_LARGEST_FLOAT16}; bfloat16 does not)"
        raise InputError(
            f"Input X contains {kind} in row {row} ({len(bad)} of {n_rows} rows are affected); "
            f"{cure}."
        )

    def _note_oddities(self) -> None:
        rows, channels = self._silent_rows, self._silent_channels
        if 0 < rows < self.n_rows:
            logger.info("%d of %d rows are all zero; they get zero codes.", rows, self.n_rows)
        if 0 < channels < self.n_channels:
            logger.info(
                "%d of %d channels are zero in all rows; no feature will use them.",
                channels,
                self.n_channels,
            )

    def _mean(self) -> Float[Tensor, "channels"]:
        total = torch.zeros(self.n_channels + 1, dtype=widest_float(self.device)).to(self.device)
        for _, X, weights in self.tiles():
            wide = X.to(total.dtype)
            total[:-1] += wide.sum(dim=0) if weights is None else weights.to(total.dtype) @ wide
            total[-1] += len(X) if weights is None else weights.sum()
        self.ranks.add(total)
        return (total[:-1] / total[-1]).to(self.compute_dtype)

    def _row_norms(self) -> Float[Tensor, "rows"]:
        return _norms(tile.X for tile in self.tiles())

    def _identity(self, watch: RowsIdentity, norms: Tensor) -> dict[str, Any]:
        """By a name that an error may call it; lists are in order of rank."""
        gather = self.ranks.gather
        digests = gather(float(watch.digest(norms, self._weights)))
        return {
            "rows of each process": [int(count) for count in gather(float(self.n_rows))],
            "blocks of rows of each process": [int(n) for n in gather(float(watch.n_tiles))],
            "data": ", ".join(f"{int(digest):012x}" for digest in digests),
        }

    def _place(self) -> tuple[int, int]:
        counts = [int(count) for count in self.ranks.gather(float(self.n_rows))]
        return sum(counts), sum(counts[: self.ranks.rank])


class Sample(NamedTuple):
    """Some rows, and their weights where they do not count alike."""

    X: ActivationMatrix
    weights: Float[Tensor, "rows"] | None


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _norms(tiles: Iterable[ActivationMatrix]) -> Float[Tensor, "rows"]:
    """Norms of the rows of all tiles.

    In one growing block: a tensor a tile would lie between the places of the tiles and keep their
    memory from being used again. Measured, gigabytes for a million rows.
    """
    norms = array("d")
    for tile in tiles:
        norms.frombytes(torch.linalg.vector_norm(tile, dim=1).cpu().double().numpy().tobytes())
    if not norms:
        return torch.zeros(0, dtype=torch.float64)
    return torch.frombuffer(norms, dtype=torch.float64)


def widest_float(device: torch.device) -> torch.dtype:
    """float64 wherever the device has it (Apple's MPS has not)."""
    return torch.float32 if device.type == "mps" else torch.float64


def _weighted_median(norms: Tensor, weights: Tensor | None, ranks: Ranks) -> float:
    """The smallest positive norm at or below which half of the weight lies.

    One process looks; several halve the interval, since only sums pass between them.
    """
    positive = norms > 0
    if weights is None and ranks.size == 1:
        return float(norms[positive].median()) if bool(positive.any()) else 0.0
    weights = torch.ones_like(norms) if weights is None else weights.double().cpu()
    norms, weights = norms[positive], weights[positive]
    total = sum(ranks.gather(float(weights.sum())))
    if total == 0:
        return 0.0
    norms, order = norms.sort()
    reached = weights[order].cumsum(dim=0)
    if ranks.size == 1:
        return float(norms[int((reached < total / 2).sum())])

    def weight_up_to(value: float) -> float:
        count = int((norms <= value).sum())
        return sum(ranks.gather(float(reached[count - 1]) if count else 0.0))

    low = 0.0
    high = max(ranks.gather(float(norms[-1]) if len(norms) else 0.0))
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if weight_up_to(middle) >= total / 2 else (middle, high)
    above = norms[norms > low]
    return min(ranks.gather(float(above[0]) if len(above) else float("inf")))
