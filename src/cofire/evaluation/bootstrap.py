"""Bootstrap intervals over features, sentences, or groups of either that belong together."""

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.evaluation.measurement import Estimate, Interval

Statistic: TypeAlias = Literal["mean", "median"]
Groups: TypeAlias = Int[np.ndarray, "values"]

RESAMPLES = 2000
"""Resamples of an interval: the ends of a 95% interval then lie on about 50 of them each."""

CONFIDENCE = 0.95

FEW_UNITS = 10
"""Below this many independent units, bootstrap intervals are known to be too narrow."""

_MOST_BCA_UNITS = 5000  # its jackknife takes the square of them; the correction is small by then
_BATCH_VALUES = 2_000_000  # values of all resamples that are held at once


def bootstrap_interval(
    n_units: int | tuple[int, ...],
    statistic: Callable[..., np.ndarray],
    *,
    method: Literal["bca", "percentile"] = "bca",
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Bootstrap interval of anything that can be computed from a choice of units.

    Units are drawn with replacement, as many as there are; ``percentile`` takes quantiles of the
    statistic over the resamples, ``bca`` corrects them for bias and skew (Efron 1987, JASA 82:171;
    Efron & Tibshirani 1993, chapter 14; by scipy.stats.bootstrap). Where the correction is not
    defined, and above 5000 units, the percentile interval is given, and its ``method`` says so.

    Intervals from fewer than ``FEW_UNITS`` units are too narrow; ``Interval.units`` tells.

    Args:
        n_units: independent units: features, texts, or groups of them; a tuple for samples that
            are drawn separately.
        statistic: takes the numbers of the chosen units, [resamples units], one array a sample,
            and gives the figure of each resample.
        method: see above.
        confidence: between 0 and 1.
        resamples: how many times units are drawn.
        seed: of the draws.

    Returns:
        None where a sample has fewer than two units, where all resamples give the same figure, or
        where the figure is undefined (NaN) or infinite at an end.

    Raises:
        InputError: for a confidence outside (0, 1) or fewer than 100 resamples.
    """
    from scipy import stats  # slow to import

    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1; got {confidence}.")
    if resamples < 100:
        raise InputError(f"An interval needs at least 100 resamples; got {resamples}.")
    samples = (n_units,) if isinstance(n_units, int) else n_units
    total = sum(samples)
    if min(samples) < 2:
        return None

    def of_units(*chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        rows = [np.moveaxis(np.atleast_2d(one), axis, -1) for one in chosen]
        found = statistic(*(one.reshape(-1, one.shape[-1]) for one in rows))
        return np.asarray(found.reshape(rows[0].shape[:-1] if chosen[0].ndim > 1 else ()))

    def interval(kind: Literal["bca", "percentile"]) -> tuple[float, float]:
        with warnings.catch_warnings():  # what is degenerate shows as NaN below
            warnings.simplefilter("ignore")
            found = stats.bootstrap(
                tuple(map(np.arange, samples)),
                of_units,
                vectorized=True,
                method="BCa" if kind == "bca" else "percentile",
                confidence_level=confidence,
                n_resamples=resamples,
                batch=max(1, _BATCH_VALUES // total),
                **random_argument(stats.bootstrap, seed),
            ).confidence_interval
        return float(found.low), float(found.high)

    used = method if total <= _MOST_BCA_UNITS else "percentile"
    low, high = interval(used)
    if used == "bca" and not (np.isfinite(low) and np.isfinite(high)):
        used = "percentile"
        low, high = interval(used)
    if not (np.isfinite(low) and np.isfinite(high)) or low == high:
        return None
    return Interval(low, high, confidence, used, total)


def interval_of(
    values: Float[np.ndarray, "values"],
    statistic: Statistic = "mean",
    *,
    groups: Groups | None = None,
    method: Literal["bca", "percentile"] = "bca",
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Bootstrap interval of a mean or median; NaN are left out.

    Args:
        values: one a feature, text or pair.
        statistic: of what.
        groups: a number a value; values with the same number are drawn together (cluster
            bootstrap), as features must be that share sentences, and tokens of one text.
        method, confidence, resamples, seed: see ``bootstrap_interval``.
    """
    known = ~np.isnan(values)
    x = values[known]
    group = (
        np.arange(len(x)) if groups is None else np.unique(groups[known], return_inverse=True)[1]
    )
    n_units = int(group.max()) + 1 if len(x) else 0
    of_units = _grouped_mean(x, group) if statistic == "mean" else _grouped_median(x, group)
    return bootstrap_interval(
        n_units, of_units, method=method, confidence=confidence, resamples=resamples, seed=seed
    )


def estimate_of(
    values: Float[np.ndarray, "values"],
    statistic: Statistic = "mean",
    *,
    groups: Groups | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean or median of the values that are there, its interval, and how many are missing (NaN).

    Args:
        values: one a feature, text or pair; infinite ones count in a median, and leave a mean
            undefined.
        statistic: which of the two.
        groups: see ``interval_of``.
        resamples: see ``bootstrap_interval``.
        seed: of the interval.

    Example:
        >>> found = estimate_of(np.array([1.0, 2.0, 6.0, np.nan]), "median")
        >>> found.value, found.n, found.missing
        (2.0, 3, 1)
    """
    known = values[~np.isnan(values)]
    missing = len(values) - len(known)
    if not len(known):
        return Estimate(None, 0, missing, note="Nothing could be measured.")
    with np.errstate(invalid="ignore"):  # of ∞ and −∞
        value = float(known.mean() if statistic == "mean" else _median(known[None])[0])
    if not np.isfinite(value):
        note = "The value is undefined: it lies among figures that are infinite."
        return Estimate(None, len(known), missing, note=note)
    interval = interval_of(values, statistic, groups=groups, resamples=resamples, seed=seed)
    return Estimate(
        value,
        len(known),
        missing,
        interval=interval,
        seed=seed,
        note=interval_note(interval),
    )


def share_of(
    flags: Float[np.ndarray, "values"],
    *,
    groups: Groups | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Share of the flags that are 1, and its interval.

    Flags that are independent get Wilson's score interval, which is sensible at 0 and 1 (Wilson
    1927, JASA 22:209; SciPy); flags in groups of several are drawn with their group.

    Args:
        flags: 0, 1, or NaN for missing.
        groups, resamples, seed: see ``estimate_of``.

    Example:
        >>> found = share_of(np.array([0.0, 0.0, 0.0, 0.0, np.nan]))
        >>> found.value, found.missing, found.interval.low, round(found.interval.high, 2)
        (0.0, 1, 0.0, 0.49)
    """
    from scipy import stats  # slow to import

    known = ~np.isnan(flags)
    alone = groups is None or len(np.unique(groups[known])) == known.sum()
    if not alone or not known.any():
        return estimate_of(flags, groups=groups, resamples=resamples, seed=seed)
    hits, n = int(flags[known].sum()), int(known.sum())
    found = stats.binomtest(hits, n).proportion_ci(CONFIDENCE, method="wilson")
    interval = Interval(float(found.low), float(found.high), CONFIDENCE, "wilson", n)
    return Estimate(hits / n, n, len(flags) - n, interval)


def interval_note(interval: Interval | None) -> str | None:
    """What must be said of an interval; None where it can stand by itself."""
    if interval is None:
        return "Too few observations, or too alike, for an interval."
    if interval.units < FEW_UNITS:
        return f"The interval is from {interval.units} units only, and likely too narrow."
    return None


def ratio_interval(
    above: Float[np.ndarray, "values"],
    below: Float[np.ndarray, "values"],
    *,
    groups: Groups | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Bootstrap interval of Σ above / Σ below, drawing both together.

    None where a resample makes the lower sum 0 or less: the ratio is then not known at all.

    Args:
        above: one a token or text.
        below: as many.
        groups: see ``interval_of``; tokens should be grouped by text.
        resamples, seed: see ``bootstrap_interval``.
    """
    group = np.arange(len(above)) if groups is None else np.unique(groups, return_inverse=True)[1]
    top, bottom = np.bincount(group, above), np.bincount(group, below)
    undefined = False

    def ratio(chosen: np.ndarray) -> np.ndarray:
        nonlocal undefined
        sums = bottom[chosen].sum(axis=-1)
        undefined |= bool((sums <= 0).any())
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(top[chosen].sum(axis=-1) / sums)

    found = bootstrap_interval(len(top), ratio, resamples=resamples, seed=seed)
    return None if undefined else found


def _grouped_mean(x: np.ndarray, group: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    sums, counts = np.bincount(group, x), np.bincount(group)
    return lambda chosen: np.asarray(sums[chosen].sum(axis=-1) / counts[chosen].sum(axis=-1))


def _grouped_median(x: np.ndarray, group: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    order = np.argsort(group, kind="stable")
    members = np.split(x[order], np.cumsum(np.bincount(group))[:-1]) if len(x) else []
    if len(members) == len(x):  # every group is one value
        return lambda chosen: _median(x[order][chosen])
    return lambda chosen: np.array(
        [_median(np.concatenate([members[i] for i in row])[None])[0] for row in chosen]
    )


def _median(rows: np.ndarray) -> np.ndarray:
    """Median along the last axis; infinite values are allowed, and may make it infinite or NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.median(rows, axis=-1))


def random_argument(function: Callable[..., Any], seed: int) -> dict[str, Any]:
    """The seed as SciPy takes it, whose version 1.15 gave the argument its new name."""
    name = "rng" if "rng" in signature(function).parameters else "random_state"
    return {name: np.random.default_rng(seed)}
