"""Dictionaries drawn at random that keep every feature's size and every neuron's reuse.

Some neurons serve many features. Two features then share neurons without having anything to do
with one another, and a comparison with neurons drawn evenly would call that structure. The fair
null keeps, besides the number of neurons of every feature (row sums), how many features each
neuron serves with each sign (column sums), and is random otherwise: the configuration model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cofire.errors import InputError
from cofire.progress import SILENT, Progress
from cofire.structure.support import Support, shared_counts

DRAWS = 999
"""Draws of a null, so that the smallest p-value is 0.001."""

TRADES_BETWEEN = 5
"""Trades a feature between two draws of a chain."""

MIXED = 1.05
"""Largest potential scale reduction of chains that count as mixed."""


@dataclass(frozen=True, eq=False)
class Mixing:
    """Whether the chains forgot where they began.

    Attributes:
        scale_reduction: potential scale reduction of Σ shared² over pairs, by split chains
            (Gelman & Rubin 1992; Gelman et al., Bayesian Data Analysis, 3rd ed., section 11.4);
            1 when all is mixed. None when no draw differs from another.
        lag_one: autocorrelation of that figure from one draw to the next; None as above.
        moved: share of the held neurons that a draw has elsewhere than the dictionary itself, on
            average.
        mixed: whether ``scale_reduction`` is at most ``MIXED``.
    """

    scale_reduction: float | None
    lag_one: float | None
    moved: float
    mixed: bool


@dataclass(frozen=True, eq=False)
class ReuseNull:
    """Draws from the null.

    Attributes:
        shared: what was kept of each draw, by default the shared counts of the features asked for.
        mixing: see there.
        draws: how many.
        seed: of the draws.
    """

    shared: Float[np.ndarray, "draws features features"]
    mixing: Mixing
    draws: int
    seed: int


def reuse_null(
    support: Support,
    features: list[int] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    chains: int = 2,
    visit: Callable[[Support, Float[np.ndarray, "_ _"]], None] | None = None,
    progress: Progress = SILENT,
) -> ReuseNull:
    """Draw dictionaries with the same row and column sums, by trading neurons between features.

    The curveball algorithm (Strona et al. 2014, Nature Communications 5:4114; its uniformity:
    Carstens 2015, Phys. Rev. E 91:042812), made sign-aware: a trade takes two features at random,
    puts the neurons that only one of them holds together and deals them out again at random, each
    feature as many as it gave, signs travelling with the neurons; a neuron that both hold with
    opposite signs changes hands by a fair coin. Sizes and, for each neuron and sign, the number of
    features are kept; every trade is as likely as its reverse, so that all dictionaries with these
    sums are equally likely in the end. How many positive neurons a feature has is not kept.

    Args:
        support: of the dictionary, at least two features.
        features: whose shared counts are kept; all when None.
        draws: how many dictionaries, at least 20.
        seed: of the trades.
        chains: independent chains, which share the draws; the first fifth of each is thrown away.
        visit: called with every draw and the shared counts of all its features, for other figures.
        progress: shown while drawing.

    Returns:
        The shared counts [draws features features], float32, take 40 MB for 100 features and 999
        draws; name few features, or use ``visit``, for large dictionaries.

    Raises:
        InputError: for fewer than two features or 20 draws.
    """
    if len(support) < 2:
        raise InputError(f"A null of sharing needs at least two features; got {len(support)}.")
    if draws < 20 or chains < 1:
        raise InputError(f"Give at least 20 draws and one chain; got {draws} and {chains}.")
    kept = list(range(len(support))) if features is None else list(features)
    shared = np.empty((draws, len(kept), len(kept)), np.float32)
    figures: list[list[float]] = []
    moved: list[float] = []
    number = 0
    with progress.task("Drawing dictionaries with the same reuse", draws, "draw") as advance:
        for chain in range(chains):
            trader = _Trader(support, np.random.default_rng([seed, chain]))
            wanted = draws * (chain + 1) // chains - number
            for _ in range(max(10, wanted // 4)):
                trader.trade(TRADES_BETWEEN * len(support))
            figures.append([])
            for _ in range(wanted):
                trader.trade(TRADES_BETWEEN * len(support))
                drawn = trader.support()
                counts = shared_counts(drawn)
                shared[number] = counts[np.ix_(kept, kept)]
                figures[-1].append(float(np.square(np.triu(counts, 1)).sum()))
                moved.append(float((drawn != support)[support != 0].mean()))
                if visit is not None:
                    visit(drawn, counts)
                number += 1
                advance(1)
    return ReuseNull(shared, _mixing(figures, moved), draws, seed)


class _Trader:
    """One chain: every feature as a mapping of neuron to sign."""

    def __init__(self, support: Support, rng: np.random.Generator) -> None:
        self._shape = support.shape
        self._rng = rng
        self._held: list[dict[int, int]] = [
            {int(neuron): int(row[neuron]) for neuron in np.flatnonzero(row)} for row in support
        ]

    def trade(self, times: int) -> None:
        """So many trades between two different features each."""
        first = self._rng.integers(len(self._held), size=times)
        second = self._rng.integers(len(self._held) - 1, size=times)
        second += second >= first
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            self._trade(self._held[a], self._held[b])

    def _trade(self, one: dict[int, int], other: dict[int, int]) -> None:
        common = one.keys() & other.keys()
        opposed = [neuron for neuron in common if one[neuron] != other[neuron]]
        if opposed:
            # Sorted: the order of a set must not decide what a seed gives.
            for neuron, swap in zip(
                sorted(opposed), self._rng.random(len(opposed)) < 0.5, strict=True
            ):
                if swap:
                    one[neuron], other[neuron] = other[neuron], one[neuron]
        given = [(n, s) for n, s in one.items() if n not in common]
        taken = [(n, s) for n, s in other.items() if n not in common]
        if not given or not taken:
            return
        pool = given + taken
        order = self._rng.permutation(len(pool)).tolist()
        for neuron, _ in given:
            del one[neuron]
        for neuron, _ in taken:
            del other[neuron]
        one.update(pool[i] for i in order[: len(given)])
        other.update(pool[i] for i in order[len(given) :])

    def support(self) -> Support:
        """The chain's dictionary as it is now."""
        found = np.zeros(self._shape, np.int8)
        for row, held in zip(found, self._held, strict=True):
            row[list(held)] = list(held.values())
        return found


def _mixing(figures: list[list[float]], moved: list[float]) -> Mixing:
    halves = [
        np.array(part)
        for chain in figures
        for part in (chain[: len(chain) // 2], chain[-(len(chain) // 2) :])
    ]
    n = min(map(len, halves))
    parts = np.stack([half[:n] for half in halves])
    within = float(parts.var(axis=1, ddof=1).mean()) if n > 1 else 0.0
    share = float(np.mean(moved))
    if within == 0:
        return Mixing(None, None, share, mixed=False)
    between = float(parts.mean(axis=1).var(ddof=1))
    reduction = float(np.sqrt((n - 1) / n + between / within))
    centred = [np.array(chain) - np.mean(chain) for chain in figures]
    lag = sum(float(c[1:] @ c[:-1]) for c in centred) / sum(float(c @ c) for c in centred)
    return Mixing(reduction, lag, share, mixed=reduction <= MIXED)
