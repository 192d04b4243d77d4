"""The innermost loop of coordinate descent on CPUs, compiled: one pass over a block of features.

As single PyTorch operations the loop is thousands of calls of a few microseconds, which cannot run
on two tiles at a time (Python's lock) and which cost, for 400 features, half as much again as the
products they stand between. Compiled, it is one call without the lock.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias, no_type_check

import numpy as np

from cofire.types import Float, Tensor

_CHUNK = 512  # rows at a time, so that a block of 32 features of them stays in the second cache

_Kernel: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray, int], None]


def descend_block(
    codes: Float[Tensor, "features rows"],
    step: Float[Tensor, "features rows"],
    mutual: Float[Tensor, "features features"],
) -> None:
    """Minimise over each feature of the block in turn, for all rows; CPU tensors only.

    Args:
        codes: C^T of the block, nonnegative, rows contiguous; changed in place.
        step: minus the gradient there; used up.
        mutual: H of the block.
    """
    _kernel()(codes.numpy(), step.numpy(), mutual.contiguous().numpy(), _CHUNK)


@cache
def _kernel() -> _Kernel:
    import numba

    @no_type_check  # compiled, so nothing may be wrapped around it
    def descend(codes, step, mutual, chunk):
        features, rows = codes.shape
        change = np.empty(min(chunk, rows), codes.dtype)
        for first in range(0, rows, chunk):
            some = slice(first, min(first + chunk, rows))
            for j in range(features):
                code, way = codes[j, some], step[j, some]
                for row in range(len(code)):
                    new = max(code[row] + way[row], 0)
                    change[row] = new - code[row]
                    code[row] = new
                for later in range(j + 1, features):
                    other, share = step[later, some], mutual[later, j]
                    for row in range(len(code)):
                        other[row] -= share * change[row]

    try:
        return numba.njit(nogil=True, fastmath=True, cache=True)(descend)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(nogil=True, fastmath=True)(descend)
