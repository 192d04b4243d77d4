"""A tree's scores beside those of clusterings of the same features and of shuffled trees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cofire.structure.nestings import Nesting
from cofire.structure.tree import FeatureTree
from cofire.structure.tree_baselines import clustering_trees
from cofire.structure.tree_scores import (
    LeafTree,
    Paths,
    against_shuffled,
    class_paths,
    dendrogram_purity,
    hierarchical_f1,
    leaf_tree,
)
from cofire.types import AtomMatrix, CodeMatrix

SCORES = {
    "purity": "dendrogram purity of concepts",
    "family purity": "dendrogram purity of what concepts lie within",
    "f1": "hierarchical F1 over all levels of the nesting",
}
"""The scores, and what each is."""

OWN = "this tree"
"""What the tree that is compared is called among its baselines."""


@dataclass(frozen=True)
class TreeScore:
    """One score of one tree.

    Attributes:
        tree: ``this tree`` or the clustering of ``tree_baselines.py``.
        score: a name of ``SCORES``.
        value: None when it could not be measured.
        low, high: its interval, over classes; None when there are too few.
        shuffled_mean, shuffled_high, p_value: see ``AgainstShuffled``.
        leaves: leaves with a class.
        of: leaves in all.
    """

    tree: str
    score: str
    value: float | None
    low: float | None
    high: float | None
    shuffled_mean: float | None
    shuffled_high: float | None
    p_value: float | None
    leaves: int
    of: int


def score_trees(
    tree: FeatureTree,
    atoms: AtomMatrix,
    codes: CodeMatrix,
    nesting: Nesting,
    *,
    seed: int = 0,
) -> list[TreeScore]:
    """Every score of a tree and of clusterings of its leaves, cut at the sizes of its levels.

    The class of a leaf is the name that held-out texts confirm (``TreeNode.concept``).

    Args:
        tree: with what was read of its nodes.
        atoms: of its leaves.
        codes: of its leaves, training rows.
        nesting: what names lie within.
        seed: of intervals and shuffles.
    """
    trees = {OWN: leaf_tree(tree), **clustering_trees(atoms, codes, tree.sizes[1:])}
    names = [node.concept for node in tree.levels[0]]
    return [
        line
        for name, leaves in trees.items()
        for line in score_tree(name, leaves, names, nesting, seed)
    ]


def score_tree(
    name: str, tree: LeafTree, classes: Sequence[str | None], nesting: Nesting, seed: int
) -> Iterator[TreeScore]:
    """Every score of one tree.

    Args:
        name: what it is called.
        tree: the tree.
        classes: of its leaves, None for unknown.
        nesting: what classes lie within.
        seed: of intervals and shuffles.
    """
    paths = class_paths(classes, nesting)
    families: Paths = [None if path is None else path[-1:] for path in paths]
    known = sum(path is not None for path in paths)
    for score in SCORES:
        asked = families if score == "family purity" else paths
        kind = "f1" if score == "f1" else "purity"
        beside = against_shuffled(tree, asked, kind, seed=seed)
        low, high = _interval(tree, asked, kind, seed)
        yield TreeScore(
            tree=name,
            score=score,
            value=beside.value,
            low=low,
            high=high,
            shuffled_mean=beside.shuffled_mean,
            shuffled_high=beside.shuffled_high,
            p_value=beside.p_value,
            leaves=known,
            of=len(paths),
        )


def _interval(
    tree: LeafTree, paths: Paths, kind: str, seed: int
) -> tuple[float | None, float | None]:
    if kind == "f1":
        found = hierarchical_f1(tree, paths, seed=seed)
    else:
        classes = [None if path is None else path[0] for path in paths]
        found = dendrogram_purity(tree, classes, seed=seed)
    if found.interval is None:
        return None, None
    return found.interval.low, found.interval.high
