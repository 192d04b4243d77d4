"""Telling data apart by what one pass over it sees, so that no state goes on with other data."""

import hashlib

import torch

from cofire.types import ActivationMatrix, Float, Tensor

_PIECE_ROWS = 4096  # sums of integers take twice the memory of what they add up
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class RowsIdentity:
    """Collects, tile by tile, what tells the rows of one process from others.

    For every channel the exact sum of the bits of its values, and the length of every tile; with
    the norm of every row in order, this is different for -X, for rows in another order and for the
    same rows in other tiles. Integers are added up, so that it is the same for any number of
    threads.

    Args:
        n_channels: width of the rows.
        device: of the tiles.
    """

    def __init__(self, n_channels: int, device: torch.device) -> None:
        self._bits = torch.zeros(n_channels, dtype=torch.int64, device=device)
        self._lengths: list[int] = []

    def add(self, tile: ActivationMatrix) -> None:
        """Count one tile."""
        self._lengths.append(len(tile))
        for piece in tile.contiguous().view(_INTEGERS[tile.itemsize]).split(_PIECE_ROWS):
            self._bits += piece.sum(dim=0)

    @property
    def n_tiles(self) -> int:
        """Tiles so far."""
        return len(self._lengths)

    def digest(self, norms: Float[Tensor, "rows"], weights: Float[Tensor, "rows"] | None) -> int:
        """A number below 2^48, so that float64 holds it."""
        parts = [torch.tensor(self._lengths), self._bits, norms]
        parts += [] if weights is None else [weights]
        found = hashlib.sha256()
        for part in parts:
            found.update(part.cpu().numpy().tobytes())
        return int.from_bytes(found.digest()[:6], "big")
