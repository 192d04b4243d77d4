"""Turning what callers pass as X into checked tensors: arrays, tensors, tables or Activations."""

import warnings
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse

from cofire.activations import Activations
from cofire.device import resolve_dtype
from cofire.errors import InputError
from cofire.factorization.data import DataMatrix
from cofire.types import Tensor

DataLike: TypeAlias = Any
"""ndarray, torch tensor, Activations, or anything NumPy reads as a matrix (lists, data frames)."""


def as_shards(X: DataLike) -> tuple[Tensor, ...]:
    """The rows of X as tensors [rows_i channels], copied only where the input demands it.

    Raises:
        InputError: when X is sparse, complex, not two-dimensional or has no rows or no channels.
        TypeError: when an entry of an object array is no number.
    """
    if isinstance(X, Activations):
        shards = X.shards
    elif isinstance(X, Tensor):
        shards = (X.detach(),)
    else:
        shards = (_from_array(X),)
    for shard in shards:
        if shard.is_complex():
            raise InputError("Complex data not supported: pass real activations.")
        if shard.ndim != 2:
            raise InputError(
                f"Expected X of 2 dimensions, [rows channels], got {shard.ndim}. Reshape your data:"
                " X.reshape(-1, 1) for one channel, X.reshape(1, -1) for one row."
            )
    shape = (sum(len(shard) for shard in shards), int(shards[0].shape[1]))
    for axis, name in enumerate(("sample", "feature")):
        if shape[axis] == 0:
            raise InputError(
                f"Found array with 0 {name}(s) (shape={shape}) while a minimum of 1 is required; "
                f"X must be [rows channels] with at least one of each."
            )
    return shards


def _from_array(X: DataLike) -> Tensor:
    if sparse.issparse(X):
        raise InputError("Sparse matrices are not supported: pass X.toarray().")
    array = np.asarray(X)
    if np.iscomplexobj(array):
        raise InputError("Complex data not supported: pass real activations.")
    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(np.float64)
        except ValueError as error:
            raise InputError(f"X must hold numbers: {error}.") from error
    elif array.dtype.itemsize > 8 or not array.dtype.isnative:
        array = array.astype(np.float64)
    array = np.ascontiguousarray(array) if any(step < 0 for step in array.strides) else array
    with warnings.catch_warnings():
        # Read-only arrays and memory maps are fine: the data is never written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def storage_dtype(name: str | torch.dtype) -> torch.dtype:
    """The number type that data is held in; ``float64`` is accepted beside the usual three."""
    return torch.float64 if name in ("float64", torch.float64) else resolve_dtype(name)


def prepare(shards: tuple[Tensor, ...], *, device: torch.device, dtype: torch.dtype) -> DataMatrix:
    """Data on its device: at most as wide as ``dtype``, arithmetic in float32 or float64.

    Raises:
        InputError: for NaN or infinite values, naming the row.
    """
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    moved = tuple(_moved(shard, device, dtype) for shard in shards)
    return DataMatrix(moved, compute_dtype=compute)


def _moved(shard: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    narrower = shard.is_floating_point() and shard.dtype.itemsize <= dtype.itemsize
    return shard.to(device=device, dtype=shard.dtype if narrower else dtype)


def code_dtype(shards: tuple[Tensor, ...]) -> torch.dtype:
    """float64 for float64 data, else float32."""
    return torch.float64 if shards[0].dtype == torch.float64 else torch.float32


def handed_back(result: Tensor, X: DataLike) -> np.ndarray | Tensor:
    """A tensor on the device of X for tensors and Activations, else an array."""
    if isinstance(X, Tensor):
        return result.to(X.device)
    return result.cpu() if isinstance(X, Activations) else result.cpu().numpy()
