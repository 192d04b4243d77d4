"""Trees of features: which feature of a coarser level each feature belongs to, by a stated rule.

The rule. Atom i of a level is told by the atoms above it with weights W_ij >= 0; the share of
parent j is W_ij / sum_j W_ij. A feature belongs to the parent with the largest share, if that is at
least ``least``; parents with a share of at least ``secondary`` are its further parents. A feature
without any weight, or whose largest share is below ``least``, hangs on the root.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from cofire.errors import InputError

Weights = Float[np.ndarray, "_ _"]


@dataclass(frozen=True)
class ParentRule:
    """Which parents count; see the module docstring.

    Attributes:
        secondary: share from which a further parent counts, above 0 and at most 1.
        least: share that the largest parent needs, 0 to 1.
    """

    secondary: float = 0.25
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.secondary <= 1 or not 0 <= self.least <= 1:
            raise InputError(
                f"Shares of parents lie between 0 and 1; got secondary={self.secondary:g} and "
                f"least={self.least:g}."
            )


@dataclass(frozen=True)
class TreeNode:
    """One feature of one level.

    Attributes:
        level: 0 for the finest.
        index: the feature's number in its level.
        parent: its parent's number in the level above; None where it hangs on the root.
        share: of its weight, what goes to that parent; None where it hangs on the root.
        others: further parents with their shares, largest first.
        label: what it is called.
        concept: the concept it selects, where held-out texts confirm it.
        auroc: how well it selects that, on held-out texts.
        density: share of training rows on which it is active.
        tokens: token types it fires on strongly, most frequent first.
    """

    level: int
    index: int
    parent: int | None
    share: float | None
    others: tuple[tuple[int, float], ...] = ()
    label: str = ""
    concept: str | None = None
    auroc: float | None = None
    density: float | None = None
    tokens: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Tells it from all other nodes of its tree: ``1.7`` is feature 7 of level 1."""
        return f"{self.level}.{self.index}"


@dataclass(frozen=True, eq=False)
class FeatureTree:
    """Features of all levels, each with its parent.

    Attributes:
        levels: the nodes of every level in order, the finest level first.
        rule: by which parents were chosen.
    """

    levels: tuple[tuple[TreeNode, ...], ...]
    rule: ParentRule

    def __iter__(self) -> Iterator[TreeNode]:
        """All nodes, the finest level first."""
        for level in self.levels:
            yield from level

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Features of every level."""
        return tuple(map(len, self.levels))

    @cached_property
    def tops(self) -> tuple[TreeNode, ...]:
        """Nodes that hang on the root: the coarsest level, and features of others without parent.

        The coarsest level comes first.
        """
        hanging = [node for node in self if node.parent is None]
        return tuple(sorted(hanging, key=lambda node: (-node.level, node.index)))

    @cached_property
    def _children(self) -> dict[str, list[TreeNode]]:
        found: dict[str, list[TreeNode]] = {}
        for node in self:
            if node.parent is not None:
                found.setdefault(f"{node.level + 1}.{node.parent}", []).append(node)
        return found

    def children(self, node: TreeNode) -> tuple[TreeNode, ...]:
        """Features that belong to a node, the largest share first (top-down view)."""
        found = self._children.get(node.name, [])
        return tuple(sorted(found, key=lambda child: (-(child.share or 0.0), child.index)))

    def path(self, node: TreeNode) -> tuple[TreeNode, ...]:
        """A node's parent, its parent's parent, ... up to the coarsest level (bottom-up view)."""
        found = []
        while node.parent is not None:
            node = self.levels[node.level + 1][node.parent]
            found.append(node)
        return tuple(found)

    def leaves(self, node: TreeNode) -> tuple[int, ...]:
        """Features of the finest level below a node (itself, for one of that level)."""
        if node.level == 0:
            return (node.index,)
        return tuple(leaf for child in self.children(node) for leaf in self.leaves(child))

    def with_nodes(self, nodes: Sequence[Sequence[TreeNode]]) -> "FeatureTree":
        """The same tree with other things said of its nodes."""
        return replace(self, levels=tuple(map(tuple, nodes)))


def build_tree(weights: Sequence[Weights], rule: ParentRule | None = None) -> FeatureTree:
    """The tree of a hierarchy's weights.

    Args:
        weights: for every level but the first, how much of each atom of the level below its atoms
            are; ``HierarchicalSemiNMF.weights_``.
        rule: which parents count.

    Raises:
        InputError: for no level above the first, negative weights, or levels that do not fit.

    >>> tree = build_tree([np.array([[3.0, 1.0], [0.0, 2.0], [0.0, 0.0]])])
    >>> [(node.name, node.parent, node.share, node.others) for node in tree.levels[0]]
    [('0.0', 0, 0.75, ((1, 0.25),)), ('0.1', 1, 1.0, ()), ('0.2', None, None, ())]
    """
    rule = ParentRule() if rule is None else rule
    if not weights:
        raise InputError("A tree needs a level above its features; give the weights of one.")
    for below, above in pairwise(weights):
        if below.shape[1] != above.shape[0]:
            raise InputError(
                f"A level of {below.shape[1]} features is followed by weights for {above.shape[0]};"
                " give the weights of consecutive levels."
            )
    levels = [
        tuple(TreeNode(level, i, *chosen) for i, chosen in enumerate(choose_parents(matrix, rule)))
        for level, matrix in enumerate(weights)
    ]
    top = len(weights)
    levels.append(tuple(TreeNode(top, i, None, None) for i in range(weights[-1].shape[1])))
    return FeatureTree(tuple(levels), rule)


def choose_parents(
    weights: Weights, rule: ParentRule
) -> list[tuple[int | None, float | None, tuple[tuple[int, float], ...]]]:
    """For every feature its parent, that parent's share, and further parents with theirs.

    Args:
        weights: of one level.
        rule: which parents count.
    """
    found: list[tuple[int | None, float | None, tuple[tuple[int, float], ...]]] = []
    for shares in weight_shares(weights):
        if not shares.any():
            found.append((None, None, ()))
            continue
        best = int(shares.argmax())
        counted = [
            (int(j), float(shares[j]))
            for j in np.argsort(-shares, kind="stable")
            if shares[j] >= rule.secondary and j != best
        ]
        if shares[best] >= rule.least:
            found.append((best, float(shares[best]), tuple(counted)))
        else:
            found.append((None, None, tuple(counted)))
    return found


def weight_shares(weights: Weights) -> Weights:
    """W_ij / sum_j W_ij; zeros for a feature without weight.

    Raises:
        InputError: for negative or missing weights.
    """
    if not bool((weights >= 0).all()):
        raise InputError("Weights of parents must be 0 or more; got negative or missing ones.")
    sums = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, sums, out=np.zeros(weights.shape), where=sums > 0)


def published_children(
    weights: Weights, *, threshold: float = 0.15, most: int = 4
) -> list[tuple[int, ...]]:
    """For every parent its children by the published rule, strongest first.

    Those of the level below whose weight is above ``threshold`` times the parent's largest, at most
    ``most`` (arXiv:2506.10920). A feature may be a child of several parents, or of none.

    >>> published_children(np.array([[1.0, 0.0], [0.5, 0.1], [0.1, 0.9]]))
    [(0, 1), (2,)]
    """
    found = []
    for column in weights.T:
        order = np.argsort(-column, kind="stable")[:most]
        found.append(tuple(int(i) for i in order if column[i] > threshold * column.max()))
    return found
