"""Features that are no use: dead ones and duplicates."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from cofire.types import AtomMatrix, CodeMatrix

DUPLICATE_COSINE = 0.95
"""Two atoms count as duplicates when the absolute cosine between them exceeds this."""


@dataclass(frozen=True, eq=False)
class Health:
    """One entry a feature.

    Attributes:
        dead: never active on the rows measured, or an atom of zeros.
        nearest: the other feature whose atom is most alike (itself when there is no other).
        nearest_cosine: absolute cosine to it, 0 for a dictionary of one atom.
    """

    dead: Bool[np.ndarray, "features"]
    nearest: Int[np.ndarray, "features"]
    nearest_cosine: Float[np.ndarray, "features"]

    @property
    def duplicate(self) -> Bool[np.ndarray, "features"]:
        """Features with another one of (nearly) the same atom."""
        return self.nearest_cosine > DUPLICATE_COSINE


def health(atoms: AtomMatrix, codes: CodeMatrix) -> Health:
    """Find dead and duplicate features.

    >>> atoms = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> found = health(atoms, torch.tensor([[1.0, 1.0, 0.0]]))
    >>> found.duplicate.tolist(), found.dead.tolist()
    ([True, True, False], [False, False, True])
    """
    norms = atoms.float().norm(dim=1, keepdim=True)
    unit = atoms.float() / norms.clamp_min(torch.finfo(torch.float32).tiny)
    cosine = (unit @ unit.T).abs().fill_diagonal_(0).clamp_max(1)
    value, index = cosine.max(dim=1)
    if len(atoms) > 1:
        nearest = torch.where(value > 0, index, torch.arange(len(atoms), device=index.device))
    else:
        nearest = torch.zeros(len(atoms), dtype=torch.long)
    dead = (codes.amax(dim=0) <= 0) | (norms[:, 0] == 0)
    return Health(
        dead=dead.cpu().numpy(), nearest=nearest.cpu().numpy(), nearest_cosine=value.cpu().numpy()
    )


def collapsed_groups(
    nearest: Int[np.ndarray, "features"], duplicate: Bool[np.ndarray, "features"]
) -> Int[np.ndarray, "features"]:
    """A number a feature; features with (nearly) the same atom have the same one.

    Duplicates are joined with the feature they are most alike, and with its group: a chain of
    atoms, each a duplicate of the next, is one group.

    Args:
        nearest: the other feature whose atom is most alike.
        duplicate: whether it is alike enough to be the same.

    Example:
        >>> collapsed_groups(np.array([1, 0, 1, 0]), np.array([True, True, True, False])).tolist()
        [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    own = np.arange(len(nearest))
    links = (np.ones(len(own)), (own, np.where(duplicate, nearest, own)))
    graph = coo_array(links, shape=(len(own), len(own)))
    return np.asarray(connected_components(graph, directed=False)[1])
