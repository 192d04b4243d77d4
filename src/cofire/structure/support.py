"""Which neurons an atom holds, and with which sign: what all questions of sharing start from."""

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.factorization.constraints import keep_largest, kept_entries
from cofire.types import AtomMatrix

DENSE_SHARE = 0.25
"""An atom that holds more of the neurons than this is dense: which of them count must be said."""

Support = Int[np.ndarray, "features channels"]
"""+1 or -1 where an atom holds a neuron with that sign, 0 elsewhere."""


def signed_support(atoms: AtomMatrix, *, keep: float | None = None) -> Support:
    """The neurons of every atom with the signs of their weights.

    Args:
        atoms: of any method.
        keep: share of the neurons that count, those of largest magnitude of every atom; None for
            all that are not 0, as winner-take-all leaves them.

    Returns:
        int8.

    Raises:
        InputError: when ``keep`` is None and an atom is dense, since all atoms then share all
            neurons; or when it is outside (0, 1].

    Example:
        >>> import torch
        >>> signed_support(torch.tensor([[0.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0, 0.0]]))
        array([[ 0,  1,  0,  0,  0],
               [ 0,  0, -1,  0,  0]], dtype=int8)
    """
    kept = atoms.detach().float().cpu()
    if keep is not None:
        kept = keep_largest(kept, kept_entries(keep, kept.shape[1]))
    share = float((kept != 0).float().mean(dim=1).max()) if len(kept) else 0.0
    if keep is None and share > DENSE_SHARE:
        raise InputError(
            f"An atom holds {share:.0%} of the neurons; say how many count, such as --keep 0.01, "
            "or take a dictionary of sparse atoms."
        )
    return np.sign(kept.numpy()).astype(np.int8)


def shared_counts(support: Support) -> Float[np.ndarray, "features features"]:
    """For every two atoms, the neurons both hold with the same sign; the diagonal is their size."""
    plus, minus = (support > 0).astype(np.float32), (support < 0).astype(np.float32)
    return np.asarray(plus @ plus.T + minus @ minus.T, dtype=float)


def opposed_counts(support: Support) -> Float[np.ndarray, "features features"]:
    """For every two atoms, the neurons both hold with opposite signs."""
    plus, minus = (support > 0).astype(np.float32), (support < 0).astype(np.float32)
    crossed = plus @ minus.T
    return np.asarray(crossed + crossed.T, dtype=float)


def shared_rarity(support: Support) -> Float[np.ndarray, "features features"]:
    """For every two atoms, Σ 1 / (d − 1) over the neurons both hold with the same sign.

    d is how many atoms hold the neuron with that sign. A neuron that two atoms alone share counts
    1, one that fifty share counts 1/49, so that a few neurons that nearly every atom holds do not
    hide what the others say (Newman 2001, Phys. Rev. E 64:016132, for papers and their authors).
    """
    total = np.zeros((len(support), len(support)))
    for held in (support > 0, support < 0):
        weight = 1.0 / np.maximum(held.sum(axis=0) - 1, 1)
        total += (held * weight) @ held.T.astype(float)
    return total
