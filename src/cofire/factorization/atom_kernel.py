"""Coordinate descent on sparse atoms on CPUs, compiled: all atoms in turn, through what they keep.

Of an atom with 21 entries in 2,048 channels only those meet the others, so that v_j of ``atoms.py``
costs features · kept operations instead of features · channels. As single PyTorch operations the
same loop is eight calls an atom, which took half of a sweep with 400 features.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias, no_type_check

import numpy as np
import torch

from cofire.types import AtomMatrix, Float, Int, Tensor

_Kernel: TypeAlias = Callable[..., None]


def descend_sparse_atoms(
    atoms: AtomMatrix,
    cross: Float[Tensor, "features channels"],
    gram: Float[Tensor, "features features"],
    *,
    kept: Int[Tensor, "features"],
    most: int,
    sweeps: int,
    unit_norm: bool,
    floor: float,
) -> None:
    """What ``atoms.descend_atoms`` does; CPU tensors only.

    Args:
        atoms, cross, gram, kept, sweeps, unit_norm: see there.
        most: entries that an atom has before or after at most.
        floor: code energy of an atom up to which it is left alone.
    """
    _kernel()(
        atoms.numpy(),
        cross.contiguous().numpy(),
        gram.contiguous().numpy(),
        kept.to("cpu", torch.int64).numpy(),
        most,
        sweeps,
        unit_norm,
        floor,
    )


@cache
def _kernel() -> _Kernel:
    import numba

    @no_type_check  # compiled, so nothing may be wrapped around it
    def descend(atoms, cross, gram, kept, most, sweeps, unit_norm, floor):
        features, channels = cross.shape
        index = np.empty((features, most), np.int32)
        values = np.empty((features, most), atoms.dtype)
        lengths = np.zeros(features, np.int32)
        for j in range(features):
            for channel in range(channels):
                if atoms[j, channel] != 0:
                    index[j, lengths[j]] = channel
                    values[j, lengths[j]] = atoms[j, channel]
                    lengths[j] += 1
        free, sizes = np.empty(channels, cross.dtype), np.empty(channels, cross.dtype)
        near = np.empty(channels, index.dtype)
        for _ in range(sweeps):
            for j in range(features):
                energy = gram[j, j]
                if energy <= floor:
                    continue
                free[:] = cross[j]
                for other in range(features):
                    share = gram[j, other]
                    if other != j and share != 0:
                        for place in range(lengths[other]):
                            free[index[other, place]] -= share * values[other, place]
                # As many as the atom holds are at least this large, so the largest are too.
                bound = np.inf if lengths[j] >= kept[j] else 0.0
                for place in range(lengths[j] if bound > 0 else 0):
                    bound = min(bound, abs(free[index[j, place]]))
                found = 0
                for channel in range(channels):
                    if abs(free[channel]) >= bound:
                        near[found] = channel
                        sizes[found] = abs(free[channel])
                        found += 1
                least = np.partition(sizes[:found], found - kept[j])[found - kept[j]]
                ties = kept[j] - np.sum(sizes[:found] > least)  # the first of equals are kept
                place, squares = 0, 0.0
                for one in range(found):
                    if sizes[one] > least or (sizes[one] == least and ties > 0):
                        ties -= sizes[one] == least
                        index[j, place] = near[one]
                        values[j, place] = free[near[one]]
                        squares += sizes[one] * sizes[one]
                        place += 1
                lengths[j] = place
                divisor = max(np.sqrt(squares), 1e-30) if unit_norm else energy
                for place in range(lengths[j]):
                    values[j, place] /= divisor
        atoms[:] = 0
        for j in range(features):
            for place in range(lengths[j]):
                atoms[j, index[j, place]] = values[j, place]

    try:
        return numba.njit(nogil=True, cache=True)(descend)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(nogil=True)(descend)
