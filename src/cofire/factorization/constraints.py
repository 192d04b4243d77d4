"""Winner-take-all: an atom keeps only its largest entries in magnitude."""

import math

import torch

from cofire.errors import InputError
from cofire.types import AtomMatrix, Int, Tensor

# 0.07 * 100 is 7.000000000000001 in binary floating point; without this the ceiling would be 8.
_CEIL_SLACK = 1e-9


def kept_entries(sparsity: float, n_channels: int) -> int:
    """How many of ``n_channels`` entries an atom keeps: ceil(sparsity × n_channels).

    Args:
        sparsity: fraction of channels kept, 0 < sparsity <= 1.
        n_channels: length of an atom, at least 1.

    Raises:
        InputError: when the fraction is outside (0, 1].

    >>> kept_entries(0.01, 2048), kept_entries(0.07, 100), kept_entries(1.0, 5)
    (21, 7, 5)
    """
    if not 0.0 < sparsity <= 1.0:
        raise InputError(
            f"sparsity is the fraction of channels an atom keeps, above 0 and at most 1; "
            f"got {sparsity!r}."
        )
    return min(n_channels, max(1, math.ceil(sparsity * n_channels - _CEIL_SLACK)))


def keep_largest(atoms: AtomMatrix, kept: int | Int[Tensor, "features"]) -> AtomMatrix:
    """Set all but the ``kept`` largest |entries| of every atom to zero.

    This is the exact Euclidean projection onto vectors with at most ``kept`` nonzero entries.
    Of equal magnitudes an unspecified but reproducible choice is kept.

    Args:
        atoms: [features channels]; not changed.
        kept: entries an atom keeps, 1 to channels; a number for all, or one for each.

    Returns:
        A new tensor of the same shape.
    """
    most = kept if isinstance(kept, int) else int(kept.max())
    if isinstance(kept, int) and most >= atoms.shape[1]:
        return atoms.clone()
    index = atoms.abs().topk(most, dim=1, sorted=not isinstance(kept, int)).indices
    values = atoms.gather(1, index)
    if not isinstance(kept, int):
        values = values * (torch.arange(most, device=atoms.device) < kept[:, None])
    return torch.zeros_like(atoms).scatter_(1, index, values)
