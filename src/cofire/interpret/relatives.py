"""Features whose atoms are alike."""

import numpy as np
from jaxtyping import Float, Int

from cofire.code_descent import unit_atoms
from cofire.types import AtomMatrix


def similar_atoms(
    atoms: AtomMatrix, feature: int
) -> tuple[Int[np.ndarray, "values"], Float[np.ndarray, "values"]]:
    """All other features by the cosine of their atoms to one of them, largest magnitude first.

    Args:
        atoms: of any norm; an atom of zeros has cosine 0 with every other.
        feature: a row of ``atoms``.

    Returns:
        Numbers of the features, and their cosines with their signs.

    >>> import torch
    >>> numbers, cosines = similar_atoms(torch.tensor([[1.0, 0.0], [0.6, 0.8], [-2.0, 0.0]]), 0)
    >>> numbers.tolist(), cosines.round(2).tolist()
    ([2, 1], [-1.0, 0.6])
    """
    unit = unit_atoms(atoms.float().cpu())[0]
    cosines = (unit @ unit[feature]).numpy().astype(float)
    order = np.lexsort((np.arange(len(cosines)), -np.abs(cosines)))
    order = order[order != feature]
    return order, cosines[order]
