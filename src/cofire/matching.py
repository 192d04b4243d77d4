"""Pairing the atoms of two dictionaries one to one, so that the pairs are as alike as can be."""

from dataclasses import dataclass

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.errors import InputError
from cofire.types import AtomMatrix, Float, Int, Tensor


@dataclass(frozen=True, eq=False)
class Matching:
    """Who is paired with whom, one entry an atom of the first dictionary.

    Attributes:
        partner: index of its partner in the second dictionary; -1 where the second has too few.
        cosine: cosine to the partner, its magnitude where either sign counts; NaN without one.
    """

    partner: Int[np.ndarray, "features"]
    cosine: Float[np.ndarray, "features"]


def match_atoms(
    first: AtomMatrix, second: Float[Tensor, "_ _"], *, either_sign: bool = False
) -> Matching:
    """Pair atoms so that the sum of the cosines within pairs is largest (Hungarian method).

    Args:
        first: atoms, of any norm; an atom of zeros has cosine 0 with every other.
        second: atoms of the same channels, as many or not.
        either_sign: whether an atom and its negative are the same feature, as they are where codes
            are signed (PCA, ICA). With codes ≥ 0 they are not.

    Raises:
        InputError: when the two are not of the same width.

    Example:
        >>> found = match_atoms(torch.eye(2), torch.tensor([[0.0, 2.0], [3.0, 4.0]]))
        >>> found.partner.tolist(), found.cosine.round(3).tolist()
        ([1, 0], [0.6, 1.0])
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"Atoms of {first.shape[1]} channels cannot be matched with atoms of "
            f"{second.shape[1]}; compare dictionaries of one site and model."
        )
    cosines = (unit_atoms(first.float().cpu())[0] @ unit_atoms(second.float().cpu())[0].T).numpy()
    alike = np.abs(cosines) if either_sign else cosines
    rows, columns = linear_sum_assignment(alike, maximize=True)
    partner = np.full(len(first), -1)
    cosine = np.full(len(first), np.nan)
    partner[rows] = columns
    cosine[rows] = alike[rows, columns]
    return Matching(partner, cosine)


def recovery(found: Float[Tensor, "_ channels"], truth: AtomMatrix) -> Float[Tensor, "features"]:
    """Cosine of each true atom with the found atom it is matched to, one to one (Hungarian).

    The sign counts: codes are nonnegative, so an atom and its negative are different features.
    True atoms without a partner get 0.
    """
    return torch.from_numpy(np.nan_to_num(match_atoms(truth, found).cosine)).float()
