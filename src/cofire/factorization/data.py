"""The data matrix as solvers see it: checked once, then read in tiles of rows."""

from collections.abc import Iterator, Sequence

import torch

from cofire.errors import InputError
from cofire.types import ActivationMatrix, Float, Tensor

_TILE_BYTES = {"cpu": 64 * 2**20, "cuda": 2**30}
_OTHER_TILE_BYTES = 256 * 2**20
_TURNED_BYTES = 2**30


class DataMatrix:
    """X [rows channels] in one or several shards, in any floating type.

    Arithmetic is done in ``compute_dtype``, tile by tile, so that 16-bit shards or memory maps are
    never widened or copied as a whole.

    Attributes:
        n_rows, n_channels: the shape.
        squared_norm: ||X||^2 in float64.
        row_norms: Euclidean norm of each row.
        median_row_norm: median over the rows that are not zero; 0 without any.
    """

    def __init__(
        self, shards: Sequence[Tensor], *, compute_dtype: torch.dtype = torch.float32
    ) -> None:
        """Check every value.

        Raises:
            InputError: on NaN or infinity, naming the row.
        """
        self._shards = tuple(shards)
        self.compute_dtype = compute_dtype
        self.device = self._shards[0].device
        self.n_rows = sum(shard.shape[0] for shard in self._shards)
        self.n_channels = int(self._shards[0].shape[1])
        tile_bytes = _TILE_BYTES.get(self.device.type, _OTHER_TILE_BYTES)
        self.tile_rows = max(1024, tile_bytes // (4 * max(1, self.n_channels)))
        self.row_norms = self._checked_row_norms()
        self.squared_norm = float(self.row_norms.square().sum())
        nonzero = self.row_norms[self.row_norms > 0]
        self.median_row_norm = float(nonzero.median()) if len(nonzero) else 0.0

    def tiles(self) -> Iterator[tuple[slice, ActivationMatrix]]:
        """Consecutive blocks of rows with their place, in ``compute_dtype``."""
        start = 0
        for shard in self._shards:
            for tile in torch.split(shard, self.tile_rows):
                yield slice(start, start + len(tile)), tile.to(self.compute_dtype)
                start += len(tile)

    def turned_tiles(self) -> list[Float[Tensor, "channels rows"]]:
        """A transposed copy of every tile, in memory; see ``fits_turned``."""
        return [tile.T.contiguous() for _, tile in self.tiles()]

    @property
    def fits_turned(self) -> bool:
        """Whether a transposed copy is small enough to keep beside the data (1 GiB, CPU only)."""
        size = self.n_rows * self.n_channels * self.compute_dtype.itemsize
        return self.device.type == "cpu" and size <= _TURNED_BYTES

    def split(self, n_rows: int) -> "tuple[DataMatrix, DataMatrix | None]":
        """The first ``n_rows`` rows and the rest, None when there is none; views."""
        if n_rows >= self.n_rows:
            return self, None
        parts: tuple[list[Tensor], list[Tensor]] = ([], [])
        left = n_rows
        for shard in self._shards:
            cut = min(left, len(shard))
            left -= cut
            for part, piece in zip(parts, (shard[:cut], shard[cut:]), strict=True):
                if len(piece):
                    part.append(piece)
        first, rest = (DataMatrix(part, compute_dtype=self.compute_dtype) for part in parts)
        return first, rest

    def take(self, rows: Tensor) -> ActivationMatrix:
        """Some rows, given by a sorted or unsorted index, in ``compute_dtype``."""
        if len(self._shards) == 1:
            return self._shards[0][rows.to(self.device)].to(self.compute_dtype)
        taken = torch.empty(
            len(rows), self.n_channels, dtype=self.compute_dtype, device=self.device
        )
        start = 0
        for shard in self._shards:
            here = (rows >= start) & (rows < start + len(shard))
            taken[here.to(self.device)] = shard[rows[here] - start].to(self.compute_dtype)
            start += len(shard)
        return taken

    def sample(self, n_rows: int, generator: torch.Generator) -> ActivationMatrix:
        """At most ``n_rows`` rows drawn without replacement, all of them when there are fewer."""
        order = torch.randperm(self.n_rows, generator=generator)[:n_rows]
        return self.take(order.sort().values)

    def _checked_row_norms(self) -> Float[Tensor, "rows"]:
        norms = torch.empty(self.n_rows, dtype=torch.float64)
        for rows, tile in self.tiles():
            norms[rows] = torch.linalg.vector_norm(tile, dim=1).cpu().double()
        bad = torch.isfinite(norms).logical_not_().nonzero()
        if len(bad):
            row = int(bad[0])
            values = self.take(torch.tensor([row]))[0]
            kind = "NaN" if bool(values.isnan().any()) else "an infinite or too large value (inf)"
            raise InputError(
                f"Input X contains {kind} in row {row} ({len(bad)} of {self.n_rows} rows are "
                f"affected); remove those rows or capture them again in a wider number type."
            )
        return norms
