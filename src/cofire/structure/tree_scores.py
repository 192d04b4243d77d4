"""How well a tree agrees with a known hierarchy of its leaves.

Both scores look at leaves whose class is known; others are left out of them and counted. A class is
a name of a nesting; a leaf of the class Monday is also one of weekday, of calendar and of time.

``dendrogram purity``  over pairs of leaves of one class: the share of that class among the leaves
                       below the smallest node that holds both (Heller & Ghahramani 2005).
``hierarchical F1``    over the classes of all levels: the best F1 that a node reaches for the
                       class, weighted by its size (Larsen & Aone 1999, KDD, "overall F measure").

Trees with more nodes can score higher by that alone. Trees are to be compared at the same shape,
and with shuffled trees: the same tree with the classes drawn over its leaves anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from cofire.errors import InputError
from cofire.evaluation.bootstrap import RESAMPLES, interval_note, ratio_interval
from cofire.evaluation.measurement import Estimate
from cofire.structure.nestings import Nesting
from cofire.structure.tree import FeatureTree

SHUFFLES = 999
"""Shuffled trees of a null; the smallest p is then 0.001."""

Paths: TypeAlias = Sequence[tuple[str, ...] | None]


@dataclass(frozen=True, eq=False)
class LeafTree:
    """A tree by its clusters of leaves.

    Attributes:
        below: for every inner node which leaves lie below it; the root, with all of them, first.
        parent: for every inner node the number of the one it lies in; -1 for the root.
        holder: for every leaf the inner node it hangs on.
    """

    below: Bool[np.ndarray, "_ features"]
    parent: Int[np.ndarray, "_"]
    holder: Int[np.ndarray, "features"]

    @classmethod
    def of_groups(cls, groups: Sequence[Int[np.ndarray, "features"]]) -> "LeafTree":
        """The tree of nested groupings of the leaves.

        Args:
            groups: the number of every leaf's group, finest grouping first; each must lie within
                the next. -1 for a leaf that hangs on the root.

        Raises:
            InputError: when a group does not lie within one of the next grouping.

        >>> LeafTree.of_groups([np.array([0, 0, 1])]).below.tolist()
        [[True, True, True], [True, True, False], [False, False, True]]
        """
        n = len(groups[0])
        below, parent = [np.ones(n, dtype=bool)], [-1]
        holder = np.zeros(n, dtype=int)
        for grouping in reversed(groups):
            nodes = {}
            for group in np.unique(grouping[grouping >= 0]):
                members = grouping == group
                holders = np.unique(holder[members])
                if len(holders) > 1:
                    raise InputError(
                        "Groupings of a tree must nest: every group in one group of the next."
                    )
                nodes[int(group)] = len(below)
                below.append(members)
                parent.append(int(holders[0]))
            for group, node in nodes.items():
                holder[grouping == group] = node
        return cls(np.array(below), np.array(parent), holder)

    @classmethod
    def of_merges(cls, merges: Float[np.ndarray, "_ _"]) -> "LeafTree":
        """The tree of a dendrogram in SciPy's form (``linkage``), with all its merges."""
        n = len(merges) + 1
        members = [np.eye(n, dtype=bool)[i] for i in range(n)]
        above = np.full(2 * n - 1, -1)
        for number, (first, second) in enumerate(merges[:, :2].astype(int)):
            members.append(members[first] | members[second])
            above[[first, second]] = n + number
        # Inner nodes from the root down.
        last = 2 * n - 2
        numbers = {n + i: last - (n + i) for i in range(n - 1)}
        inner = list(reversed(range(n, 2 * n - 1)))
        below = np.array([members[node] for node in inner])
        parent = np.array([numbers.get(int(above[node]), -1) for node in inner])
        return cls(below, parent, np.array([numbers[int(above[leaf])] for leaf in range(n)]))


def leaf_tree(tree: FeatureTree) -> LeafTree:
    """A tree of features by the leaves below its nodes."""
    groups = []
    at = np.arange(tree.sizes[0])
    for nodes in tree.levels[:-1]:
        parents = np.array([-1 if node.parent is None else node.parent for node in nodes])
        at = np.where(at >= 0, parents[at], -1)
        groups.append(at)
    return LeafTree.of_groups(groups)


def class_paths(names: Sequence[str | None], nesting: Nesting) -> Paths:
    """For every leaf its class and all that this lies within; None for a leaf without class."""
    return [None if name is None else nesting.path(name) for name in names]


def dendrogram_purity(
    tree: LeafTree,
    classes: Sequence[str | None],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean share of a pair's class below the smallest node that holds both, over pairs of a class.

    1 when every class has a node of its own. The interval draws classes.

    Args:
        tree: the tree.
        classes: of its leaves, None for unknown.
        resamples, seed: of the interval.

    Example:
        Leaves a, a, b in one node under the root: the pair of a's is 2/3 pure.

        >>> tree = LeafTree.of_groups([np.array([0, 0, 0])])
        >>> round(dendrogram_purity(tree, ["a", "a", "b"]).value, 3)
        0.667
    """
    counts = _Counts(tree, _indicator([(name,) if name else None for name in classes]))
    n, missing = int(counts.pairs.sum()), sum(name is None for name in classes)
    if n == 0:
        return Estimate(None, 0, missing, note="No two leaves are of one class.")
    several = counts.pairs > 0
    interval = ratio_interval(
        counts.pure[several], counts.pairs[several], resamples=resamples, seed=seed
    )
    return Estimate(
        counts.purity, n, missing, interval=interval, seed=seed, note=interval_note(interval)
    )


def hierarchical_f1(
    tree: LeafTree, paths: Paths, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Best F1 of a node for every class of every level, mean weighted by the classes' leaves.

    Classes of a single leaf say nothing of a tree and are left out, as is one that all leaves are
    of. The interval draws classes.

    Args:
        tree: the tree.
        paths: of its leaves, from ``class_paths``; None for unknown.
        resamples, seed: of the interval.

    Example:
        A node of a, a, b has precision 2/3 and recall 1 for a; a is the only class of two.

        >>> tree = LeafTree.of_groups([np.array([0, 0, 0, 1])])
        >>> round(hierarchical_f1(tree, [("a",), ("a",), ("b",), ("c",)]).value, 3)
        0.8
    """
    counts = _Counts(tree, _indicator(paths))
    missing = sum(path is None for path in paths)
    if not counts.telling.any():
        return Estimate(None, 0, missing, note="No class has two leaves or more.")
    sizes = counts.sizes[counts.telling].astype(float)
    interval = ratio_interval(
        counts.best_f1[counts.telling] * sizes, sizes, resamples=resamples, seed=seed
    )
    return Estimate(
        counts.f1,
        int(counts.telling.sum()),
        missing,
        interval=interval,
        seed=seed,
        note=interval_note(interval),
    )


@dataclass(frozen=True)
class AgainstShuffled:
    """A score beside those of shuffled trees.

    Attributes:
        value: of the tree; None when it could not be measured.
        shuffled_mean: mean over the shuffled trees.
        shuffled_high: the value that 5% of them reach or pass.
        p_value: (1 + shuffled trees that reach the value) / (1 + shuffled trees).
        shuffles: how many.
    """

    value: float | None
    shuffled_mean: float | None
    shuffled_high: float | None
    p_value: float | None
    shuffles: int


def against_shuffled(
    tree: LeafTree, paths: Paths, score: str, *, shuffles: int = SHUFFLES, seed: int = 0
) -> AgainstShuffled:
    """A score of a tree, and of the same tree with classes drawn over its known leaves anew.

    Args:
        tree: the tree.
        paths: of its leaves; for ``purity`` the first name of each is its class.
        score: ``purity`` or ``f1``.
        shuffles: shuffled trees.
        seed: of the shuffles.
    """
    measured: dict[str, Callable[[_Counts], float]] = {
        "purity": lambda counts: counts.purity,
        "f1": lambda counts: counts.f1,
    }
    if score not in measured:
        raise InputError(f"Scores of a tree are {', '.join(measured)}; got {score!r}.")
    if score == "purity":
        paths = [None if path is None else path[:1] for path in paths]
    value_of, indicator = measured[score], _indicator(paths)
    value = value_of(_Counts(tree, indicator))
    if not np.isfinite(value):
        return AgainstShuffled(None, None, None, None, 0)
    known = np.flatnonzero(indicator.any(axis=1))
    rng = np.random.default_rng(seed)
    null = np.empty(shuffles)
    for i in range(shuffles):
        shuffled = indicator.copy()
        shuffled[known] = indicator[rng.permutation(known)]
        null[i] = value_of(_Counts(tree, shuffled))
    return AgainstShuffled(
        value=float(value),
        shuffled_mean=float(null.mean()),
        shuffled_high=float(np.quantile(null, 0.95)),
        p_value=float((1 + (null >= value - 1e-12).sum()) / (1 + shuffles)),
        shuffles=shuffles,
    )


class _Counts:
    """How many leaves of every class lie below every node, and what follows."""

    def __init__(self, tree: LeafTree, indicator: Bool[np.ndarray, "features _"]) -> None:
        known = indicator.any(axis=1)
        at = tree.below[:, known].astype(np.int32) @ indicator[known].astype(np.int32)
        size = tree.below[:, known].sum(axis=1)
        together = at * (at - 1) // 2
        lowest = together.copy()
        inner = tree.parent >= 0
        np.subtract.at(lowest, tree.parent[inner], together[inner])
        share = at / np.maximum(size, 1)[:, None]
        self.sizes = indicator.sum(axis=0)
        self.pairs = lowest.sum(axis=0).astype(float)
        self.pure = (lowest * share).sum(axis=0)
        with np.errstate(invalid="ignore"):
            f1 = 2.0 * at / (size[:, None] + self.sizes[None, :])
        self.best_f1 = np.nan_to_num(f1).max(axis=0)
        self.telling = (self.sizes > 1) & (self.sizes < known.sum())

    @property
    def purity(self) -> float:
        return float(self.pure.sum() / self.pairs.sum()) if self.pairs.any() else float("nan")

    @property
    def f1(self) -> float:
        sizes = self.sizes[self.telling]
        if not len(sizes):
            return float("nan")
        return float((self.best_f1[self.telling] * sizes).sum() / sizes.sum())


def _indicator(paths: Paths) -> Bool[np.ndarray, "features _"]:
    """Which leaf is of which class."""
    names = dict.fromkeys(name for path in paths if path is not None for name in path)
    numbers = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(paths), len(numbers)), dtype=bool)
    for leaf, path in enumerate(paths):
        for name in path or ():
            found[leaf, numbers[name]] = True
    return found
