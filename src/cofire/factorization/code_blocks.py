"""Where the codes of a fit are kept between sweeps: in memory, or on disk for data that is too.

Codes lie block by block, [features rows] each, one block a tile of the data. A fit keeps three sets
(the codes before, the codes now, and the ones being computed) and rotates them, so that no set is
ever copied.
"""

import mmap
import os
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cofire.errors import StoreError
from cofire.types import CodeMatrix, Float, Tensor

_PACKED_DENSITY = 0.9  # above it the bits that say which entries are zero save nothing
_SLACK = 1.1  # blocks that change little keep their memory


class CodeBlocks(ABC):
    """One set of codes. Threads may read and write different blocks at the same time."""

    @abstractmethod
    def read(self, block: int) -> Float[Tensor, "features rows"] | None:
        """A block, or None when it was never written (all zero). Not to be changed in place."""

    @abstractmethod
    def write(self, block: int, codes: Float[Tensor, "features rows"]) -> None:
        """Keep a block, which belongs to the set from now on."""

    @property
    @abstractmethod
    def n_blocks(self) -> int:
        """Blocks written so far."""

    def __iter__(self) -> Iterator[Float[Tensor, "features rows"]]:
        for number in range(self.n_blocks):
            codes = self.read(number)
            if codes is not None:
                yield codes


class _Room:
    """Memory of one block, straight from the operating system and used again and again.

    The allocator would scatter blocks that live for a sweep among the temporaries of that sweep;
    measured, its heap grew to twice the codes.
    """

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._shape = torch.Size()
        self._packed = False
        self._dtype = np.dtype(np.float32)
        self._count = 0

    def put(self, codes: Float[Tensor, "features rows"]) -> None:
        """Keep a copy; where entries are zero, the others and a bit an entry."""
        flat = codes.contiguous().view(-1).numpy()
        nonzero = flat != 0
        count = int(np.count_nonzero(nonzero))
        self._packed = count <= _PACKED_DENSITY * flat.size
        self._shape, self._dtype = codes.shape, flat.dtype
        self._count = count if self._packed else flat.size
        size = self._count * self._dtype.itemsize + self._packed * -(-flat.size // 8)
        if not size <= len(self._map) <= 2 * size + mmap.PAGESIZE:
            self._map = mmap.mmap(-1, int(_SLACK * size) + mmap.PAGESIZE)
        if self._packed:
            self._bits()[:] = np.packbits(nonzero)
            self._values()[:] = flat[nonzero]
        else:
            self._values()[:] = flat

    def get(self) -> Float[Tensor, "features rows"]:
        """The codes; a view of this memory where they are kept as they are."""
        values = torch.from_numpy(self._values())
        if not self._packed:
            return values.view(self._shape)
        codes = torch.zeros(self._shape, dtype=values.dtype)
        nonzero = np.unpackbits(self._bits(), count=codes.numel()).view(np.bool_)
        return codes.masked_scatter_(torch.from_numpy(nonzero).view(self._shape), values)

    def _values(self) -> np.ndarray:
        return np.frombuffer(self._map, self._dtype, self._count)

    def _bits(self) -> np.ndarray:
        size = -(-self._shape.numel() // 8)
        return np.frombuffer(self._map, np.uint8, size, self._count * self._dtype.itemsize)


class CodesInMemory(CodeBlocks):
    """Codes in memory; on CPUs without their zeros."""

    def __init__(self) -> None:
        self._blocks: dict[int, Tensor | _Room] = {}

    @property
    def n_blocks(self) -> int:
        """See ``CodeBlocks.n_blocks``."""
        return len(self._blocks)

    def read(self, block: int) -> Float[Tensor, "features rows"] | None:
        """See ``CodeBlocks.read``."""
        codes = self._blocks.get(block)
        return codes.get() if isinstance(codes, _Room) else codes

    def write(self, block: int, codes: Float[Tensor, "features rows"]) -> None:
        """See ``CodeBlocks.write``."""
        if codes.device.type != "cpu":
            self._blocks[block] = codes
            return
        room = self._blocks.setdefault(block, _Room())
        if isinstance(room, _Room):
            room.put(codes)


class _Place(NamedTuple):
    """Where a block lies in a file."""

    start: int
    shape: torch.Size
    dtype: torch.dtype


class CodesOnDisk(CodeBlocks):
    """Codes in a file without a name, which goes when the fit ends or dies.

    Args:
        folder: where; the system's folder for temporary files by default (``TMPDIR``).
        device: where blocks are read to.
    """

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        self._device = device
        self._file, name = tempfile.mkstemp(dir=folder)
        Path(name).unlink()
        weakref.finalize(self, os.close, self._file)
        self._places: dict[int, _Place] = {}
        self._end = 0
        self._growing = threading.Lock()

    @property
    def n_blocks(self) -> int:
        """See ``CodeBlocks.n_blocks``."""
        return len(self._places)

    def read(self, block: int) -> Float[Tensor, "features rows"] | None:
        """See ``CodeBlocks.read``."""
        if block not in self._places:
            return None
        start, shape, dtype = self._places[block]
        codes = torch.empty(shape, dtype=dtype)
        memory = codes.numpy().reshape(-1).view(np.uint8).data
        done = 0
        while done < len(memory):
            done += os.preadv(self._file, [memory[done:]], start + done)
        return codes.to(self._device)

    def write(self, block: int, codes: Float[Tensor, "features rows"]) -> None:
        """See ``CodeBlocks.write``.

        Raises:
            StoreError: when the disk is full.
        """
        values = codes.contiguous().cpu().numpy()
        with self._growing:
            if block not in self._places:
                self._places[block] = _Place(self._end, codes.shape, codes.dtype)
                self._end += values.nbytes
        start = self._places[block].start
        memory = values.reshape(-1).view(np.uint8).data
        done = 0
        try:
            while done < len(memory):
                done += os.pwrite(self._file, memory[done:], start + done)
        except OSError as error:
            raise StoreError(
                f"The codes cannot be written to {tempfile.gettempdir()} ({error}); point TMPDIR "
                "to a disk with more room, or fit fewer features."
            ) from error


def stacked(codes: CodeBlocks) -> CodeMatrix:
    """All codes as one matrix [rows features]."""
    return torch.cat([block.T for block in codes])
