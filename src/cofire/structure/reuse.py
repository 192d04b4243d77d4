"""How many features each neuron serves, and whether features share more than that explains."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.progress import SILENT, Progress
from cofire.structure.communities import (
    Communities,
    Enrichment,
    enriched_names,
    find_communities,
)
from cofire.structure.reuse_null import DRAWS, Mixing, reuse_null
from cofire.structure.support import Support, shared_counts, shared_rarity

PARTITION_DRAWS = 99
"""Draws that are parted into communities too, which takes longest."""


@dataclass(frozen=True)
class Comparison:
    """A figure of the dictionary beside the same figure of draws from a null.

    Attributes:
        name: what it is.
        null: which draws: ``sizes`` keep how many neurons each feature has, ``reuse`` besides how
            many features each neuron serves.
        observed: of the dictionary.
        expected: mean of the draws.
        low, high: 2.5% and 97.5% quantiles of the draws.
        p_value: (1 + draws at least as large) / (1 + draws), one-sided.
        draws: how many.
    """

    name: str
    null: str
    observed: float
    expected: float
    low: float
    high: float
    p_value: float
    draws: int


@dataclass(frozen=True, eq=False)
class Reuse:
    """Reuse of neurons in one dictionary.

    Attributes:
        degree: features that each neuron serves, with either sign.
        degree_counts: neurons that serve 0, 1, 2, ... features.
        degree_expected: the same when every feature's neurons are drawn from all: exact, by the
            Poisson-binomial distribution.
        shared_counts: pairs of features that share 0, 1, 2, ... neurons with the same sign.
        shared_expected: the same on average over draws that keep reuse.
        shared_low, shared_high: 2.5% and 97.5% quantiles of those draws.
        comparisons: figures beside their nulls.
        communities: families of features by shared neurons, rare ones counting more
            (``shared_rarity``).
        enrichment: what their features are about, by concept and by family of concepts.
        mixing: whether the draws that keep reuse forgot where they began.
        seed: of all draws.
    """

    degree: Int[np.ndarray, "channels"]
    degree_counts: tuple[int, ...]
    degree_expected: tuple[float, ...]
    shared_counts: tuple[int, ...]
    shared_expected: tuple[float, ...]
    shared_low: tuple[float, ...]
    shared_high: tuple[float, ...]
    comparisons: tuple[Comparison, ...]
    communities: Communities
    enrichment: tuple[Enrichment, ...]
    mixing: Mixing
    seed: int

    def most_reused(self, n: int = 20) -> list[tuple[int, int]]:
        """(neuron, features it serves) of the neurons that serve most."""
        order = np.argsort(-self.degree, kind="stable")[:n]
        return [(int(neuron), int(self.degree[neuron])) for neuron in order]

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "degree_counts": list(self.degree_counts),
            "degree_expected": list(self.degree_expected),
            "shared_counts": list(self.shared_counts),
            "shared_expected": list(self.shared_expected),
            "shared_low": list(self.shared_low),
            "shared_high": list(self.shared_high),
            "comparisons": [asdict(one) for one in self.comparisons],
            "communities": {
                "modularity": self.communities.modularity,
                "sizes": self.communities.sizes,
                "of": self.communities.of.tolist(),
            },
            "enrichment": [asdict(one) for one in self.enrichment],
            "most_reused": [list(pair) for pair in self.most_reused()],
            "mixing": asdict(self.mixing),
            "seed": self.seed,
        }


def measure_reuse(
    support: Support,
    *,
    concepts: Sequence[str | None] | None = None,
    families: Sequence[str | None] | None = None,
    draws: int = DRAWS,
    partition_draws: int = PARTITION_DRAWS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Reuse:
    """Measure reuse, what features share beyond it, and families of features.

    Two questions, two nulls. Do some neurons serve more features than others? Draws that keep the
    features' sizes only. Do features share more neurons than reused neurons make them? Draws that
    keep, besides, how many features each neuron serves with each sign (``reuse_null``); how often
    neurons are reused is then the same in every draw, and only who shares with whom differs.

    Args:
        support: of the dictionary, at least two features.
        concepts: what each feature is about, None where that is not known; for ``enrichment``.
        families: family of that concept.
        draws: of each null.
        partition_draws: how many of them are parted into communities, for the p-value of the
            modularity.
        seed: of everything random.
        progress: shown while drawing.

    Raises:
        InputError: when there are fewer than two features, or names do not fit them.
    """
    n, channels = support.shape
    for names in (concepts, families):
        if names is not None and len(names) != n:
            raise InputError(f"{len(names)} names for {n} features; give one each, or None.")
    degree = np.asarray((support != 0).sum(axis=0), dtype=int)
    sizes = (support != 0).sum(axis=1)
    drawn = _Draws(n, draws, min(partition_draws, draws))
    null = reuse_null(support, [], draws=draws, seed=seed, visit=drawn, progress=progress)
    observed = _histogram(shared_counts(support))
    communities = find_communities(shared_rarity(support), drawn.rarity, seed=seed)
    comparisons = [
        *_against_sizes(degree, sizes, draws, seed),
        *_against_reuse(observed, drawn.histograms),
        compare(
            "modularity of the best partition",
            "reuse",
            communities.modularity,
            np.array(
                [
                    find_communities(one, drawn.rarity, seed=seed).modularity
                    for one in drawn.rarities
                ]
            ),
        ),
    ]
    most = max(map(len, [observed, *drawn.histograms]))
    histograms = np.stack([np.pad(one, (0, most - len(one))) for one in drawn.histograms])
    low, high = np.quantile(histograms, [0.025, 0.975], axis=0)
    return Reuse(
        degree=degree,
        degree_counts=tuple(np.bincount(degree).tolist()),
        degree_expected=tuple(
            (channels * _poisson_binomial(sizes / channels, int(degree.max()))).tolist()
        ),
        shared_counts=tuple(np.pad(observed, (0, most - len(observed))).tolist()),
        shared_expected=tuple(histograms.mean(axis=0).tolist()),
        shared_low=tuple(low.tolist()),
        shared_high=tuple(high.tolist()),
        comparisons=tuple(comparisons),
        communities=communities,
        enrichment=tuple(
            enriched_names(communities, *(one for one in (concepts, families) if one is not None))
        ),
        mixing=null.mixing,
        seed=seed,
    )


def _against_sizes(
    degree: np.ndarray, sizes: np.ndarray, draws: int, seed: int
) -> list[Comparison]:
    rng = np.random.default_rng([seed, 1])
    channels = len(degree)
    drawn = np.empty((draws, channels), np.int32)
    for counts in drawn:
        counts[:] = 0
        for size in sizes.tolist():
            counts[rng.choice(channels, size, replace=False, shuffle=False)] += 1
    return [
        compare(
            "variance of the features a neuron serves",
            "sizes",
            float(degree.var()),
            drawn.var(axis=1),
        ),
        compare("most features a neuron serves", "sizes", float(degree.max()), drawn.max(axis=1)),
        compare(
            "neurons that serve no feature",
            "sizes",
            float((degree == 0).sum()),
            (drawn == 0).sum(axis=1),
        ),
    ]


def _against_reuse(observed: np.ndarray, drawn: Sequence[np.ndarray]) -> list[Comparison]:
    """Figures of how many pairs share 0, 1, 2, ... neurons; their sum hardly differs in draws."""

    def squares(histogram: np.ndarray) -> float:
        return float(histogram @ np.square(np.arange(len(histogram), dtype=float)))

    return [
        compare(
            "sum of squares of the neurons that pairs share",
            "reuse",
            squares(observed),
            np.array([squares(one) for one in drawn]),
        ),
        compare(
            "most neurons a pair shares",
            "reuse",
            float(len(observed) - 1),
            np.array([len(one) - 1 for one in drawn]),
        ),
    ]


def _histogram(shared: Float[np.ndarray, "features features"]) -> Int[np.ndarray, "_"]:
    """How many pairs share 0, 1, 2, ... neurons, up to the most that one does."""
    return np.bincount(shared[np.triu_indices(len(shared), 1)].astype(int))


class _Draws:
    """What is kept of draws, whose pairs are too many to keep: histograms of shared neurons, and
    ``shared_rarity``, the mean of all and some of them, evenly spaced.
    """

    def __init__(self, n: int, draws: int, kept: int) -> None:
        self._sum = np.zeros((n, n))
        self._wanted = set(np.linspace(0, draws - 1, kept).astype(int).tolist())
        self.histograms: list[Int[np.ndarray, "_"]] = []
        self.rarities: list[Float[np.ndarray, "features features"]] = []

    def __call__(self, drawn: Support, shared: Float[np.ndarray, "features features"]) -> None:
        rarity = shared_rarity(drawn)
        self._sum += rarity
        if len(self.histograms) in self._wanted:
            self.rarities.append(rarity)
        self.histograms.append(_histogram(shared))

    @property
    def rarity(self) -> Float[np.ndarray, "features features"]:
        """Mean over all draws."""
        return self._sum / len(self.histograms)


def compare(name: str, null: str, observed: float, drawn: np.ndarray) -> Comparison:
    """A figure beside the same figure of draws, one-sided; see ``Comparison``."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Comparison(
        name=name,
        null=null,
        observed=observed,
        expected=float(drawn.mean()),
        low=float(low),
        high=float(high),
        p_value=float((1 + (drawn >= observed).sum()) / (1 + len(drawn))),
        draws=len(drawn),
    )


def _poisson_binomial(chances: np.ndarray, most: int) -> Float[np.ndarray, "_"]:
    """P(0), ..., P(most) of the number of successes of independent trials."""
    found = np.zeros(most + 1)
    found[0] = 1.0
    for chance in chances:
        found[1:] = found[1:] * (1 - chance) + found[:-1] * chance
        found[0] *= 1 - chance
    return found
