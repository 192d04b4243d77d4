"""p-values of the difference between two methods, over pairs or over ranks."""

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.evaluation.bootstrap import random_argument

PairedTest: TypeAlias = Literal["wilcoxon", "permutation"]

PERMUTATIONS = 9999
"""Exchanges of a permutation test, unless all of them are fewer; the smallest p is then 0.0001."""


def paired_p_value(
    differences: Float[np.ndarray, "values"],
    test: PairedTest = "wilcoxon",
    *,
    groups: Int[np.ndarray, "values"] | None = None,
    seed: int = 0,
) -> float | None:
    """Two-sided p-value that paired differences come from methods that are alike.

    ``wilcoxon``: signed ranks, zeros by Pratt's method (Wilcoxon 1945; Pratt 1959, JASA 54:655).
    ``permutation``: how often exchanging the methods within pairs makes the mean difference as
    large; all exchanges where there are at most ``PERMUTATIONS``, else (1 + hits) / (1 + draws).
    Both by SciPy.

    Args:
        differences: one a pair; NaN are left out.
        test: which of the two.
        groups: a number a pair; pairs of one group (concepts of one seed, say) are averaged
            first, since they do not vote independently.
        seed: of the exchanges.

    Returns:
        None without differences; 1 when all are 0.

    Example:
        Of the 2³ ways to give 1, 2 and 3 a sign, two make a mean as far from 0 as 2: p = 2/8.

        >>> paired_p_value(np.array([1.0, 2.0, 3.0]))
        0.25
        >>> paired_p_value(np.array([1.0, 2.0, 3.0]), "permutation")
        0.25
    """
    from scipy import stats  # slow to import

    if test not in ("wilcoxon", "permutation"):
        raise InputError(f"Unknown test {test!r}; use wilcoxon or permutation.")
    known = group_means(differences, groups)
    if not len(known):
        return None
    if test == "permutation" and not np.isfinite(known).all():
        raise InputError("A mean of infinite differences cannot be tested; use wilcoxon.")
    if not known.any():
        return 1.0
    if test == "wilcoxon":
        return float(stats.wilcoxon(known, zero_method="pratt").pvalue)
    found = stats.permutation_test(
        (known,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        **random_argument(stats.permutation_test, seed),
    )
    return float(found.pvalue)


def rank_p_value(
    first: Float[np.ndarray, "values"], second: Float[np.ndarray, "_"]
) -> float | None:
    """Two-sided p-value for two methods whose features are matched by rank, best with best.

    Features of two methods have no common name, so they are often sorted and compared pair by
    pair. But sorted pairs are not independent: one method's luck shifts many ranks at once, and a
    signed-rank test on them finds differences where there are none (between two equal methods of
    50 features each, 7 times of 10 at the 5% level). Whether the ranks of one method lie higher
    altogether is what the rank-sum test asks, and it is right 19 times of 20: that is done here
    (Mann & Whitney 1947; SciPy: exact for small groups without ties).

    Args:
        first: figures of one method, one a feature; NaN are left out, infinite ones count.
        second: those of the other; they need not be as many.

    Returns:
        None where one has no figure.

    Example:
        Of the 70 ways to deal eight figures to two methods, two separate them: p = 2/70.

        >>> p = rank_p_value(np.array([5.0, 6.0, 7.0, 8.0]), np.array([1.0, 2.0, 3.0, 4.0]))
        >>> round(p, 4)
        0.0286
    """
    from scipy import stats  # slow to import

    x, y = first[~np.isnan(first)], second[~np.isnan(second)]
    if not len(x) or not len(y):
        return None
    return float(stats.mannwhitneyu(x, y).pvalue)


def group_means(
    differences: Float[np.ndarray, "values"], groups: Int[np.ndarray, "values"] | None
) -> Float[np.ndarray, "_"]:
    """Mean of every group without what is missing (NaN); every difference alone without groups.

    A group that is infinite both ways has no mean, and is left out.
    """
    known = ~np.isnan(differences)
    if groups is None or not known.any():
        return differences[known]
    group = np.unique(groups[known], return_inverse=True)[1]
    means = np.bincount(group, differences[known]) / np.bincount(group)
    return np.asarray(means[~np.isnan(means)])
