"""Where the codes of a fit are kept between sweeps: in memory, or on disk for data that is too.

Codes lie block by block, [features rows] each, one block a tile of the data. A fit keeps three sets
(the codes before, the codes now, and the ones being computed) and rotates them, so that no set is
ever copied.
"""

import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from cofire.errors import StoreError
from cofire.types import CodeMatrix, Float, Tensor


class CodeBlocks(ABC):
    """One set of codes."""

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


class CodesInMemory(CodeBlocks):
    """Codes as a list of tensors."""

    def __init__(self) -> None:
        self._blocks: list[Tensor] = []

    @property
    def n_blocks(self) -> int:
        """See ``CodeBlocks.n_blocks``."""
        return len(self._blocks)

    def read(self, block: int) -> Float[Tensor, "features rows"] | None:
        """See ``CodeBlocks.read``."""
        return self._blocks[block] if block < len(self._blocks) else None

    def write(self, block: int, codes: Float[Tensor, "features rows"]) -> None:
        """See ``CodeBlocks.write``."""
        if block == len(self._blocks):
            self._blocks.append(codes)
        else:
            self._blocks[block] = codes


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
        self._places: list[tuple[int, tuple[int, int], torch.dtype]] = []

    @property
    def n_blocks(self) -> int:
        """See ``CodeBlocks.n_blocks``."""
        return len(self._places)

    def read(self, block: int) -> Float[Tensor, "features rows"] | None:
        """See ``CodeBlocks.read``."""
        if block >= len(self._places):
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
        if block == len(self._places):
            start, shape, _ = self._places[-1] if self._places else (0, (0, 0), codes.dtype)
            start += shape[0] * shape[1] * codes.dtype.itemsize
            self._places.append((start, (codes.shape[0], codes.shape[1]), codes.dtype))
        start = self._places[block][0]
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
