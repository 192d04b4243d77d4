"""Trees of features without factorisation, to hold a hierarchy against."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cofire.factorization.hierarchy_start import nested_clusters
from cofire.structure.tree_scores import LeafTree
from cofire.types import AtomMatrix, CodeMatrix, Tensor


def clustering_trees(
    atoms: AtomMatrix, codes: CodeMatrix, sizes: Sequence[int]
) -> Mapping[str, LeafTree]:
    """Agglomerative clusters of the same features, cut at the sizes of a tree's levels.

    Args:
        atoms: of the features.
        codes: of training rows.
        sizes: features of the levels above, decreasing.

    Returns:
        ``atoms, average`` and ``atoms, ward`` cluster the atoms by their cosines; ``codes,
        average`` clusters by the correlation of codes over the rows.
    """
    correlated = codes_by_rows(codes)
    return {
        "atoms, average": _cut(atoms, sizes, "average"),
        "atoms, ward": _cut(atoms, sizes, "ward"),
        "codes, average": _cut(correlated, sizes, "average"),
    }


def codes_by_rows(codes: CodeMatrix) -> Float[Tensor, "features rows"]:
    """Every feature as its centred codes, whose cosines are the correlations of codes."""
    wide = codes.double()
    return (wide - wide.mean(dim=0)).T


def random_tree(n_leaves: int, sizes: Sequence[int], *, seed: int) -> LeafTree:
    """Leaves put into nested groups at random: sizes as even as can be.

    Args:
        n_leaves: leaves.
        sizes: groups of the levels, decreasing.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    below = rng.permutation(n_leaves)
    groups = []
    count = n_leaves
    for size in sizes:
        below = rng.permutation(np.arange(count) % size)[below] if count else below
        groups.append(below)
        count = size
    return LeafTree.of_groups(groups)


def _cut(rows: AtomMatrix, sizes: Sequence[int], method: str) -> LeafTree:
    groups = nested_clusters(rows, sizes, method=method)
    return LeafTree.of_groups([group.numpy() for group in groups])
