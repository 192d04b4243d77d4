"""Turning what callers pass as X into checked tensors: arrays, tensors, tables or Activations."""

import warnings
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from cofire.activations import Activations
from cofire.device import resolve_dtype
from cofire.errors import InputError
from cofire.factorization.sources import ChunkedRows, RowSource, Shards
from cofire.rows_on_disk import Rows
from cofire.types import Float, Tensor

DataLike: TypeAlias = Any
"""ndarray, torch tensor, Activations, anything NumPy reads as a matrix (lists, data frames), or an
iterable of such matrices that can be read again and again."""


def as_source(X: DataLike) -> RowSource:
    """The rows of X, copied only where the input demands it.

    Raises:
        InputError: when X is sparse, complex, not two-dimensional, has no rows or no channels, or
            is an iterable that cannot be read again.
        TypeError: when an entry of an object array is no number.
    """
    source: RowSource
    if isinstance(X, Activations):
        source = Shards(X.shards)
    elif _is_chunked(X):
        source = ChunkedRows(X, _as_matrix)
    else:
        source = Shards([_as_matrix(X)])
    n_rows = source.n_rows if isinstance(source, Shards) else 1
    for size, name in ((n_rows, "sample"), (source.n_channels, "feature")):
        if size == 0:
            raise InputError(
                f"Found array with 0 {name}(s) (shape=({n_rows}, {source.n_channels})) while a "
                "minimum of 1 is required; X must be [rows channels] with at least one of each."
            )
    return source


def checked_source(estimator: BaseEstimator, X: DataLike, *, reset: bool) -> RowSource:
    """The rows of X, checked against the channels and names of an estimator's fit.

    Args:
        estimator: gets ``n_features_in_`` and, from tables, the names of the columns.
        X: the rows.
        reset: whether this is the fit.

    Raises:
        InputError: as ``as_source``, and for other channels than those of the fit.
    """
    source = as_source(X)
    shaped = X if hasattr(X, "shape") else np.broadcast_to(0.0, (1, source.n_channels))
    try:
        validate_data(estimator, shaped, reset=reset, skip_check_array=True)
    except ValueError as error:
        raise InputError(str(error)) from error
    return source


def _is_chunked(X: DataLike) -> bool:
    """Whether X gives matrices one after the other rather than being one."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(getattr(chunk, "ndim", 0) == 2 for chunk in X)
    array_like = isinstance(X, Tensor | str) or hasattr(X, "__array__") or sparse.issparse(X)
    return isinstance(X, Iterable) and not array_like


def _as_matrix(X: DataLike) -> Tensor:
    if isinstance(X, Tensor) and X.layout is not torch.strided:
        raise InputError("Sparse tensors are not supported: pass X.to_dense().")
    matrix = X.detach() if isinstance(X, Tensor) else _from_array(X)
    if matrix.is_complex():
        raise InputError("Complex data not supported: pass real activations.")
    if matrix.ndim != 2:
        raise InputError(
            f"Expected X of 2 dimensions, [rows channels], got {matrix.ndim}. Reshape your data:"
            " X.reshape(-1, 1) for one channel, X.reshape(1, -1) for one row."
        )
    return matrix


def _from_array(X: DataLike) -> Tensor:
    if sparse.issparse(X):
        raise InputError("Sparse matrices are not supported: pass X.toarray().")
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise InputError(
            f"X cannot be read as one matrix ({error}); all rows must be equally long."
        ) from error
    if np.iscomplexobj(array):
        raise InputError("Complex data not supported: pass real activations.")
    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(np.float64)
        except ValueError as error:
            raise InputError(f"X must hold numbers: {error}.") from error
        except TypeError as error:
            if "NAType" in str(error):
                raise InputError(
                    "X holds missing values (pandas.NA); fill them in or drop those rows."
                ) from error
            raise
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


def moved(source: RowSource, device: torch.device, dtype: torch.dtype) -> RowSource:
    """Rows in memory on the device that computes, at most as wide as ``dtype``; others stay."""
    if not isinstance(source, Shards) or not source.in_memory:
        return source
    return Shards([_moved(shard, device, dtype) for shard in source.shards])


def _moved(shard: Rows, device: torch.device, dtype: torch.dtype) -> Rows:
    if not isinstance(shard, Tensor):
        return shard
    narrower = shard.is_floating_point() and shard.dtype.itemsize <= dtype.itemsize
    return shard.to(device=device, dtype=shard.dtype if narrower else dtype)


def as_weights(sample_weight: Any, n_rows: int) -> Float[Tensor, "rows"] | None:
    """Weights of the rows as a tensor, or None for none.

    Raises:
        InputError: when they are not one number >= 0 a row, or all zero.
    """
    if sample_weight is None:
        return None
    given = np.asarray(sample_weight, dtype=np.float64)
    if given.shape != (n_rows,):
        raise InputError(
            f"sample_weight must hold one number for each of the {n_rows} rows; got shape "
            f"{given.shape}."
        )
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise InputError("sample_weight must hold finite numbers >= 0, and not all of them zero.")
    return torch.from_numpy(given)


def handed_back(result: Tensor, X: DataLike) -> np.ndarray | Tensor:
    """A tensor on the device of X for tensors and Activations, else an array."""
    if isinstance(X, Tensor):
        return result.to(X.device)
    return result.cpu() if isinstance(X, Activations) else result.cpu().numpy()
