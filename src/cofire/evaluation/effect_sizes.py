"""How large a difference between two groups of figures is, whatever their unit."""

import numpy as np
from jaxtyping import Float

from cofire.evaluation.bootstrap import RESAMPLES, bootstrap_interval
from cofire.evaluation.measurement import Estimate


def cliffs_delta(
    first: Float[np.ndarray, "values"],
    second: Float[np.ndarray, "_"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Chance that a first value is the larger one, minus the chance that it is the smaller one.

    δ = (#{x > y} - #{x < y}) / (n₁ n₂), from -1 to 1, 0 for no difference (Cliff 1993, Psychol.
    Bull. 114:494); equal to 2 AUROC - 1. Infinite values count by their order. NaN are left out
    and counted as missing. The interval draws the values of each group with replacement
    (percentile bootstrap).

    Args:
        first: figures of one method, one a feature.
        second: those of the other; the two need not be as many.
        resamples, seed: of the interval.

    Example:
        Of the six pairs of 3, 5 with 1, 3, 4, the first is larger in 4 and smaller in 1.

        >>> cliffs_delta(np.array([3.0, 5.0]), np.array([1.0, 3.0, 4.0])).value
        0.5
    """
    x, y, missing = _known(first, second)
    n = len(x) + len(y)
    if not len(x) or not len(y):
        return Estimate(None, n, missing, note="One of the groups is empty.")
    # A comparison and not a difference: infinity minus infinity is no number.
    wins = (x[:, None] > y).astype(float) - (x[:, None] < y)

    def of_draws(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        won = _counts(rows, len(x)) @ wins
        return np.asarray((won * _counts(columns, len(y))).sum(axis=1) / wins.size)

    interval = bootstrap_interval(
        (len(x), len(y)), of_draws, method="percentile", resamples=resamples, seed=seed
    )
    return Estimate(float(wins.mean()), n, missing, interval=interval, seed=seed)


def standardised_difference(
    first: Float[np.ndarray, "values"],
    second: Float[np.ndarray, "_"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Difference of the means in pooled standard deviations, corrected for small groups.

    g = J (x̄ - ȳ) / s,  s² = ((n₁-1) s₁² + (n₂-1) s₂²) / (n₁+n₂-2),  J = 1 - 3 / (4 (n₁+n₂) - 9)
    (Hedges 1981, J. Educ. Stat. 6:107). Positive where the first is larger.

    Args:
        first: figures of one method, one a feature; NaN are left out and counted as missing.
        second: those of the other.
        resamples, seed: of the percentile bootstrap interval.

    Returns:
        Without a value where the groups hold fewer than two values, or do not vary, or hold
        infinite ones; Cliff's delta takes those.

    Example:
        Means 3 and 1, both variances 2, so (3 - 1) / √2 = 1.414; J = 1 - 3/7 = 0.571.

        >>> round(standardised_difference(np.array([2.0, 4.0]), np.array([0.0, 2.0])).value, 3)
        0.808
    """
    x, y, missing = _known(first, second)
    n = len(x) + len(y)
    if min(len(x), len(y)) < 2:
        return Estimate(None, n, missing, note="Each group needs at least two values.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return Estimate(None, n, missing, note="Some values are infinite: take Cliff's delta.")
    correction = 1 - 3 / (4 * n - 9)

    def of_groups(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = a.var(axis=1) * a.shape[1] + b.var(axis=1) * b.shape[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = (a.mean(axis=1) - b.mean(axis=1)) / np.sqrt(squares / (n - 2))
        return np.asarray(correction * apart)

    value = float(of_groups(x[None], y[None])[0])
    if not np.isfinite(value):
        return Estimate(None, n, missing, note="The values do not vary within the groups.")
    interval = bootstrap_interval(
        (len(x), len(y)),
        lambda rows, columns: of_groups(x[rows], y[columns]),
        method="percentile",
        resamples=resamples,
        seed=seed,
    )
    return Estimate(value, n, missing, interval=interval, seed=seed)


def _known(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    x, y = first[~np.isnan(first)], second[~np.isnan(second)]
    return x, y, len(first) + len(second) - len(x) - len(y)


def _counts(chosen: np.ndarray, n: int) -> np.ndarray:
    """How often each of n units was drawn, a line a resample."""
    line = np.arange(len(chosen))[:, None] * n
    return np.bincount((chosen + line).ravel(), minlength=len(chosen) * n).reshape(-1, n)
