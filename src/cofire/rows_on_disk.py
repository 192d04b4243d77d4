"""Rows of a matrix in a safetensors file, mapped anew for every read."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from cofire.errors import StoreError
from cofire.types import ActivationMatrix, Int, Tensor

NUMBER_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""Floating types of safetensors files by the name they have there."""


@dataclass(frozen=True, eq=False)
class RowsOnDisk:
    """A matrix [rows channels] of which only the part that is asked for is in memory.

    Reads like a tensor: ``rows[10:20]`` and ``rows[index]`` give tensors, ``len``, ``shape`` and
    ``dtype`` cost nothing. The file is mapped for one read at a time, so that walking through a
    matrix of any size takes the memory of one block.

    Attributes:
        path: the file.
        name: the tensor in it.
        file_rows, channels, dtype: of that tensor.
        chosen: which rows of it, in order; None for all.
    """

    path: Path
    name: str
    file_rows: int
    channels: int
    dtype: torch.dtype
    chosen: Int[np.ndarray, "rows"] | None = field(default=None, repr=False)

    ndim = 2
    device = torch.device("cpu")

    @classmethod
    def open(cls, path: Path, name: str) -> "RowsOnDisk":
        """Look at the file's header.

        Raises:
            StoreError: when the file is missing, damaged, or holds no such matrix of floats.
        """
        try:
            with safe_open(path, framework="pt") as file:
                part = file.get_slice(name)
                shape, kind = part.get_shape(), part.get_dtype()
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
        if len(shape) != 2 or kind not in NUMBER_TYPES:
            raise StoreError(
                f"{path} should hold a matrix of floats named {name!r}; it has shape {shape} and "
                f"type {kind}. Capture it again."
            )
        return cls(path, name, shape[0], shape[1], NUMBER_TYPES[kind])

    def __len__(self) -> int:
        return self.file_rows if self.chosen is None else len(self.chosen)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, channels)."""
        return len(self), self.channels

    def __getitem__(self, rows: slice | Tensor) -> ActivationMatrix:
        """Some rows, by a slice or an index.

        Raises:
            StoreError: when the file has gone, or is another one by now.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                whole: Tensor = file.get_tensor(self.name)
        except (SafetensorError, OSError) as error:
            raise _unreadable(self.path, error) from error
        if whole.shape != (self.file_rows, self.channels):
            raise StoreError(
                f"{self.path} has changed: it held {self.file_rows} rows of {self.channels} "
                f"channels and now has shape {tuple(whole.shape)}. Open the folder again."
            )
        if self.chosen is None:
            return whole[rows]
        return whole[torch.from_numpy(self.chosen)[rows]]

    def select(self, rows: Int[np.ndarray, "rows"]) -> "RowsOnDisk":
        """Some of the rows, still on disk."""
        return replace(self, chosen=rows if self.chosen is None else self.chosen[rows])


Rows: TypeAlias = Tensor | RowsOnDisk
"""A matrix [rows channels] in memory or on disk."""


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} cannot be read: {error}.")
