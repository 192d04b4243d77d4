"""Is one method better than another? Tests on the same features or concepts, corrected for many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.evaluation.bootstrap import RESAMPLES, bootstrap_interval, estimate_of
from cofire.evaluation.discoveries import Correction, corrected_p_values
from cofire.evaluation.effect_sizes import cliffs_delta, standardised_difference
from cofire.evaluation.measurement import Estimate, Interval
from cofire.evaluation.paired_tests import PairedTest, group_means, paired_p_value, rank_p_value

Test: TypeAlias = Literal["wilcoxon", "permutation", "mann-whitney"]
Pairing: TypeAlias = Literal["shared", "rank"]


@dataclass(frozen=True)
class Count:
    """How much of what should have been scored was.

    Attributes:
        total: features or concepts asked for, the denominator of every share.
        scored: with a figure.
        missing: without one.
    """

    total: int
    scored: int
    missing: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same things.

    Attributes:
        first: name of the one method.
        second: name of the other.
        pairing: what is compared with what, see ``compare``.
        test: which test.
        pairs: pairs in which both have a figure, only they are tested; with ``rank``, as many as
            the method with fewer figures has.
        units: independent ones among them: groups, where pairs were grouped.
        count_first: how much of the first was scored.
        count_second: the same for the second.
        difference: mean of first minus second, its interval by drawing pairs, or with ``rank`` by
            drawing features of each method.
        p_value: two-sided; None where there is nothing to test.
        corrected_p_value: for the number of comparisons made together; None likewise.
        cliffs_delta: see ``effect_sizes``; over all figures, paired or not.
        standardised_difference: likewise.
    """

    first: str
    second: str
    pairing: Pairing
    test: Test
    pairs: int
    units: int
    count_first: Count
    count_second: Count
    difference: Estimate
    p_value: float | None
    corrected_p_value: float | None
    cliffs_delta: Estimate
    standardised_difference: Estimate

    @property
    def interval(self) -> Interval | None:
        """Of the mean difference."""
        return self.difference.interval


def count(values: Float[np.ndarray, "values"]) -> Count:
    """Count figures and missing ones (NaN).

    >>> count(np.array([0.5, np.nan, 1.0]))
    Count(total=3, scored=2, missing=1)
    """
    missing = int(np.isnan(values).sum())
    return Count(len(values), len(values) - missing, missing)


def compare(
    first: Float[np.ndarray, "values"],
    second: Float[np.ndarray, "_"],
    *,
    names: tuple[str, str],
    pairing: Pairing = "shared",
    test: PairedTest = "wilcoxon",
    groups: Int[np.ndarray, "values"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two methods.

    Args:
        first: figures of one method; NaN where missing.
        second: figures of the other.
        names: of the two.
        pairing: ``shared``: entry i of both is about the same thing, such as a concept that each
            method detects with its best feature, chosen on other texts. ``rank``: entries are
            features without a common name, matched by rank; see ``rank_p_value`` for why these are
            not tested as pairs.
        test: for shared pairs.
        groups: see ``paired_p_value``; for shared pairs only.
        resamples: of the intervals.
        seed: of everything random.

    Raises:
        InputError: when shared pairs differ in number.

    Example:
        >>> snmf, pca = np.array([0.9, 0.8, 0.7, np.nan]), np.array([0.6, 0.7, 0.5, 0.6])
        >>> found = compare(snmf, pca, names=("snmf", "pca"))
        >>> found.pairs, round(found.difference.value, 3), found.p_value, found.count_first.missing
        (3, 0.2, 0.25, 1)
    """
    if pairing not in ("shared", "rank"):
        raise InputError(f"Unknown pairing {pairing!r}; use shared or rank.")
    if pairing == "shared" and len(first) != len(second):
        raise InputError(
            f"Shared pairs need as many figures of both methods; {names[0]} has {len(first)}, "
            f"{names[1]} has {len(second)}. Put NaN where one is missing, or match by rank."
        )
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    used: Test = test
    if pairing == "shared":
        differences = _minus(first, second)
        p_value = paired_p_value(differences, test, groups=groups, seed=seed)
        difference = estimate_of(differences, groups=groups, **settings)
        units = len(group_means(differences, groups))
    else:
        used = "mann-whitney"
        p_value = rank_p_value(first, second)
        difference = _difference_of_means(first, second, **settings)
        units = difference.n
    return Comparison(
        first=names[0],
        second=names[1],
        pairing=pairing,
        test=used,
        pairs=difference.n,
        units=units,
        count_first=count(first),
        count_second=count(second),
        difference=difference,
        p_value=p_value,
        corrected_p_value=p_value,
        cliffs_delta=cliffs_delta(first, second, **settings),
        standardised_difference=standardised_difference(first, second, **settings),
    )


def compare_all(
    figures: Mapping[str, Float[np.ndarray, "_"]],
    *,
    reference: str | None = None,
    correction: Correction = "holm",
    **settings: Any,
) -> list[Comparison]:
    """Compare every method with every other, or all with one, and correct for having tried many.

    Args:
        figures: one array a method.
        reference: the method that the others are compared with; every pair of methods when None.
        correction: see ``corrected_p_values``.
        settings: see ``compare``.

    Raises:
        InputError: when the reference is not among the methods.
    """
    if reference is not None and reference not in figures:
        raise InputError(f"No figures of {reference!r}; there are {', '.join(figures)}.")
    pairs: Sequence[tuple[str, str]] = (
        list(combinations(figures, 2))
        if reference is None
        else [(reference, other) for other in figures if other != reference]
    )
    found = [compare(figures[a], figures[b], names=(a, b), **settings) for a, b in pairs]
    corrected = corrected_p_values([one.p_value for one in found], correction)
    return [replace(one, corrected_p_value=p) for one, p in zip(found, corrected, strict=True)]


def _minus(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """First minus second; equal infinite values are 0 apart."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(first == second, 0.0, first - second))


def _difference_of_means(
    first: np.ndarray, second: np.ndarray, *, resamples: int, seed: int
) -> Estimate:
    x, y = first[~np.isnan(first)], second[~np.isnan(second)]
    n = min(len(x), len(y))
    missing = len(first) + len(second) - len(x) - len(y)
    if not n:
        return Estimate(None, 0, missing, note="One of the methods has no figure.")
    value = float(x.mean() - y.mean()) if np.isfinite([*x, *y]).all() else np.nan
    if np.isnan(value):
        return Estimate(None, n, missing, note="Some figures are infinite.")
    interval = bootstrap_interval(
        (len(x), len(y)),
        lambda rows, columns: x[rows].mean(axis=1) - y[columns].mean(axis=1),
        resamples=resamples,
        seed=seed,
    )
    return Estimate(value, n, missing, interval=interval, seed=seed)
