"""Families of features by the neurons they share, beyond what reused neurons explain."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.evaluation.discoveries import corrected_p_values

_LEAST_GAIN = 1e-9
RESTARTS = 10
"""Orders in which features are visited; the best partition of them counts."""


@dataclass(frozen=True, eq=False)
class Communities:
    """A partition of features.

    Attributes:
        of: community of every feature, numbered from 0, the largest first.
        modularity: see ``find_communities``; 0 when sharing is as expected.
    """

    of: Int[np.ndarray, "features"]
    modularity: float

    def members(self, community: int) -> list[int]:
        """Its features."""
        return [int(feature) for feature in np.flatnonzero(self.of == community)]

    @property
    def sizes(self) -> list[int]:
        """Features of every community."""
        return [int(n) for n in np.bincount(self.of)]


def find_communities(
    shared: Float[np.ndarray, "features features"],
    expected: Float[np.ndarray, "_ _"],
    *,
    seed: int = 0,
    restarts: int = RESTARTS,
) -> Communities:
    """Part features so that they share more neurons within parts than the null expects.

    Maximises Q = Σ over pairs in one part of (shared − expected) / Σ over all pairs of shared, by
    local moves and aggregation (the Louvain method: Blondel et al. 2008, J. Stat. Mech. P10008),
    with the mean of draws that keep reuse as what is expected, in place of the formula of degrees.
    Each restart visits features in another order; the best Q counts. A feature that shares no more
    than expected with any other stays alone.

    Args:
        shared: neurons that two features share, symmetric; the diagonal is not looked at.
        expected: the same on average under the null.
        seed: of the orders.
        restarts: how many orders.

    Raises:
        InputError: when the two matrices differ in shape.

    Example:
        Features 0 and 1 share three neurons, 2 and 3 as well; one is expected of every pair.

        >>> shared = np.kron(np.eye(2), np.full((2, 2), 3.0))
        >>> found = find_communities(shared, np.ones((4, 4)))
        >>> found.of.tolist(), round(found.modularity, 2)
        ([0, 0, 1, 1], 0.67)
    """
    if shared.shape != expected.shape:
        raise InputError(
            f"shared is {shared.shape} and expected {expected.shape}; give the same features."
        )
    excess = np.asarray(shared - expected, dtype=float)
    np.fill_diagonal(excess, 0.0)
    total = float(np.triu(shared, 1).sum())
    n = len(shared)
    best, best_gain = np.arange(n), 0.0
    rng = np.random.default_rng(seed)
    for _ in range(restarts):
        part = _louvain(excess, rng)
        same = part[:, None] == part[None, :]
        gain = float(excess[same].sum()) / 2
        if gain > best_gain + _LEAST_GAIN:
            best, best_gain = part, gain
    sizes = np.bincount(best, minlength=int(best.max(initial=-1)) + 1)
    first = np.array([int(np.argmax(best == c)) for c in range(len(sizes))], dtype=int)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(sizes), int)
    rank[order] = np.arange(len(sizes))
    return Communities(rank[best], best_gain / total if total > 0 else 0.0)


def _louvain(excess: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One partition: moves until none gains, then the parts become the nodes of the next round."""
    part = np.arange(len(excess))
    between = excess
    while True:
        moved = _local_moves(between, rng)
        names, moved = np.unique(moved, return_inverse=True)
        part = moved[part]
        if len(names) == len(between):
            return part
        member = np.zeros((len(between), len(names)))
        member[np.arange(len(between)), moved] = 1.0
        between = member.T @ between @ member
        np.fill_diagonal(between, 0.0)  # within a part nothing can be gained any more


def _local_moves(between: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(between)
    part = np.arange(n)
    pull = between.copy()  # of every part on every node
    while True:
        changed = False
        for node in rng.permutation(n).tolist():
            here = part[node]
            gains = pull[node] - pull[node, here]
            there = int(np.argmax(gains))
            if gains[there] > _LEAST_GAIN:
                pull[:, here] -= between[:, node]
                pull[:, there] += between[:, node]
                part[node] = there
                changed = True
        if not changed:
            return part


@dataclass(frozen=True)
class Enrichment:
    """A name that is more common in a community than among all features.

    Attributes:
        community: which.
        name: a concept, or a family of concepts.
        members: features of the community.
        named: features with this name, anywhere.
        both: features of the community with this name.
        p_value: chance of as many when the community's features are drawn from all (hypergeometric,
            one-sided).
        p_corrected: over all communities and names tried, by Benjamini and Hochberg.
    """

    community: int
    name: str
    members: int
    named: int
    both: int
    p_value: float
    p_corrected: float


def enriched_names(communities: Communities, *names: Sequence[str | None]) -> list[Enrichment]:
    """Test every name against every community of at least two features.

    Args:
        communities: of all features.
        names: name of every feature, None for those without; several lists for several kinds of
            names, all tests of which are corrected together. Names of fewer than two features are
            not tried.

    Returns:
        Every test, the smallest p-value first.

    Example:
        >>> parts = Communities(np.array([0, 0, 0, 1, 1, 1]), 0.5)
        >>> found = enriched_names(parts, ["day", "day", "day", None, None, "food"])
        >>> [(one.community, one.name, one.both, round(one.p_value, 2)) for one in found]
        [(0, 'day', 3, 0.05), (1, 'day', 0, 1.0)]
    """
    from scipy.stats import hypergeom  # slow to import

    n = len(communities.of)
    tests = []
    for kind in names:
        counts = Counter(name for name in kind if name is not None)
        for community, size in enumerate(communities.sizes):
            here = Counter(kind[feature] for feature in communities.members(community))
            for name, named in sorted(counts.items()):
                if size >= 2 and named >= 2:
                    p = float(hypergeom.sf(here[name] - 1, n, named, size))
                    tests.append((community, name, size, named, here[name], p))
    corrected = corrected_p_values([test[-1] for test in tests], "benjamini-hochberg")
    found = [
        Enrichment(*test, p_corrected=1.0 if p is None else p)
        for test, p in zip(tests, corrected, strict=True)
    ]
    return sorted(found, key=lambda one: (one.p_value, one.community, one.name))
