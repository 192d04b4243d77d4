"""Intervals hold the truth and tests err as often as they say; cases worked by hand."""

import numpy as np
import pytest
from scipy import stats

from cofire.errors import InputError
from cofire.evaluation.bootstrap import (
    bootstrap_interval,
    estimate_of,
    interval_of,
    ratio_interval,
    share_of,
)
from cofire.evaluation.comparisons import (
    compare,
    compare_all,
    count,
)
from cofire.evaluation.discoveries import corrected_p_values, discoveries
from cofire.evaluation.effect_sizes import cliffs_delta, standardised_difference
from cofire.evaluation.paired_tests import paired_p_value, rank_p_value
from cofire.evaluation.pairing import best_of_concepts

NAMES = ("snmf", "pca")


def coverage(draw, truth, *, times=400, **settings):
    """Share of intervals that hold the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(times):
        values, groups = draw(rng)
        found = interval_of(values, groups=groups, resamples=300, seed=seed, **settings)
        held += found.low <= truth <= found.high
    return held / times


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_intervals_hold_the_truth_nineteen_times_of_twenty(method, statistic):
    found = coverage(
        lambda rng: (rng.normal(size=60), None), 0.0, method=method, statistic=statistic
    )
    assert 0.91 <= found <= 0.98


def test_skewed_figures_are_covered_too():
    def draw(rng):
        return rng.lognormal(sigma=0.8, size=80), None

    assert coverage(draw, np.exp(0.32)) >= 0.89


def test_features_that_share_sentences_need_groups():
    def draw(rng):
        groups = np.repeat(np.arange(25), 8)
        return rng.normal(size=25)[groups] + 0.3 * rng.normal(size=200), groups

    assert coverage(draw, 0.0) >= 0.89
    assert coverage(lambda rng: (draw(rng)[0], None), 0.0) < 0.6


def test_the_interval_of_a_mean_is_scipys():
    x = np.random.default_rng(1).exponential(size=30)
    for method in ("BCa", "percentile"):
        theirs = stats.bootstrap(
            (x,), np.mean, method=method, n_resamples=500, rng=np.random.default_rng(3)
        ).confidence_interval
        ours = interval_of(x, method=method.lower(), resamples=500, seed=3)
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs))
    assert (ours.method, ours.units, ours.confidence) == ("percentile", 30, 0.95)


def test_bca_with_groups_of_one_is_bca_without_groups():
    x = np.random.default_rng(1).exponential(size=20)
    groups = np.arange(20) * 7
    for statistic in ("mean", "median"):
        alone = interval_of(x, statistic, seed=2, resamples=200)
        assert interval_of(x, statistic, groups=groups, seed=2, resamples=200) == alone


def test_the_median_of_groups_weighs_every_value_alike():
    values, groups = np.array([1.0, 2.0, 3.0, 10.0, 11.0]), np.array([5, 5, 5, 2, 2])
    found = interval_of(values, "median", groups=groups, method="percentile", resamples=200)
    assert (found.low, found.high, found.units) == (2.0, 10.5, 2)


def test_the_same_seed_gives_the_same_interval():
    x = np.random.default_rng(1).normal(size=20)
    assert interval_of(x, seed=4) == interval_of(x, seed=4) != interval_of(x, seed=5)


@pytest.mark.parametrize(
    "values", [np.array([]), np.array([3.0]), np.full(9, 2.0), np.array([1.0, np.nan])]
)
def test_no_interval_where_nothing_varies(values):
    assert interval_of(values) is None


def test_missing_values_are_counted_and_never_zero():
    values = np.array([2.0, np.nan, 4.0, np.nan, 6.0])
    found = estimate_of(values)
    assert (found.value, found.n, found.missing) == (4.0, 3, 2)
    assert found.interval.units == 3
    nothing = estimate_of(np.full(4, np.nan))
    assert (nothing.value, nothing.n, nothing.missing) == (None, 0, 4)
    assert count(values).total == 5


def test_infinite_figures_count_in_a_median_by_their_order():
    found = estimate_of(np.array([1.0, np.inf, 2.0, -np.inf, 3.0]), "median")
    assert found.value == 2.0
    assert found.interval is None
    assert estimate_of(np.array([np.inf, np.inf, 1.0]), "median").value is None


def test_a_mean_over_both_infinities_is_missing_without_a_warning():
    found = estimate_of(np.array([np.inf, 1.0, -np.inf]))
    assert (found.value, found.n, found.interval) == (None, 3, None)
    assert "undefined" in found.note


def test_shares_of_all_or_none_have_intervals_unless_in_groups():
    found = share_of(np.ones(20))
    assert (found.interval.high, found.interval.method) == (1.0, "wilson")
    assert found.interval.low == pytest.approx(0.839, abs=1e-3)
    grouped = share_of(np.array([1.0, 1.0, 0.0, np.nan]), groups=np.array([0, 0, 1, 1]))
    assert (grouped.interval.method, grouped.interval.units) == ("bca", 2)
    assert share_of(np.full(3, np.nan)).value is None


def test_ratios_are_resampled_together():
    rng = np.random.default_rng(0)
    below = rng.uniform(1, 3, size=100)
    assert ratio_interval(0.5 * below, below) is None  # always one half
    found = ratio_interval(0.5 * below + rng.normal(scale=0.1, size=100), below)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.05


def test_a_ratio_whose_lower_sum_may_vanish_has_no_interval():
    assert ratio_interval(np.ones(4), np.array([1.0, -1.0, 1.0, 0.5])) is None


@pytest.mark.parametrize(("name", "value"), [("confidence", 1.0), ("resamples", 10)])
def test_settings_of_intervals_that_cannot_be(name, value):
    with pytest.raises(InputError, match=str(value)):
        bootstrap_interval(5, lambda chosen: chosen.mean(axis=1), **{name: value})


def test_paired_tests_err_one_time_of_twenty():
    rng = np.random.default_rng(0)
    p = [paired_p_value(rng.normal(size=30)) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_methods_matched_by_rank_err_one_time_of_twenty():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=40), rng.normal(size=40)) for _ in range(400)]
    honest = [rank_p_value(x, y) < 0.05 for x, y in pairs]
    as_pairs = [paired_p_value(np.sort(x) - np.sort(y)) < 0.05 for x, y in pairs]
    assert 0.02 <= np.mean(honest) <= 0.08
    assert np.mean(as_pairs) > 0.5  # why sorted features are not tested as pairs


def test_groups_vote_once():
    differences = np.array([1.0, 1.2, 0.9, 1.1, -1.0, -1.1])
    groups = np.array([0, 0, 0, 0, 1, 1])
    assert paired_p_value(differences, "permutation", groups=groups) == 1.0
    assert paired_p_value(differences, "permutation") < 1.0


@pytest.mark.parametrize("test", ["wilcoxon", "permutation"])
def test_paired_tests_at_the_edges(test):
    assert paired_p_value(np.array([]), test) is None
    assert paired_p_value(np.array([np.nan]), test) is None
    assert paired_p_value(np.zeros(5), test) == 1.0
    assert paired_p_value(np.array([np.nan, 1, 2, 3.0]), test) == 0.25


def test_permutations_beyond_counting_are_drawn_with_the_seed():
    differences = np.random.default_rng(0).normal(0.3, size=40)
    p = paired_p_value(differences, "permutation", seed=1)
    assert p == paired_p_value(differences, "permutation", seed=1)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)


def test_infinite_differences_need_ranks():
    infinite = np.array([np.inf, 1.0, 2.0, 3.0, -1.0])
    assert 0 < paired_p_value(infinite) < 1
    with pytest.raises(InputError, match="take|use wilcoxon"):
        paired_p_value(infinite, "permutation")
    both_ways = np.array([np.inf, -np.inf, 1.0, 2.0, 3.0])
    assert paired_p_value(both_ways, groups=np.array([0, 0, 1, 2, 3])) == 0.25


def test_a_comparison_keeps_the_denominator():
    snmf = np.array([0.9, 0.8, np.nan, 0.7, 0.95, 0.6])
    pca = np.array([0.5, np.nan, np.nan, 0.6, 0.7, 0.4])
    found = compare(snmf, pca, names=NAMES)
    assert found.pairs == found.units == 4
    assert (found.count_first.scored, found.count_first.missing) == (5, 1)
    assert (found.count_second.scored, found.count_second.total) == (4, 6)
    assert found.difference.value == pytest.approx((0.4 + 0.1 + 0.25 + 0.2) / 4)
    assert found.difference.missing == 2
    assert found.interval.low > 0
    assert found.p_value == 0.125  # 2 of 16 ways to give four differences a sign


def test_a_comparison_by_rank_takes_any_two_numbers_of_features():
    rng = np.random.default_rng(0)
    found = compare(rng.normal(1, 1, 60), rng.normal(0, 1, 45), names=NAMES, pairing="rank")
    assert found.test == "mann-whitney"
    assert found.pairs == 45
    assert found.p_value < 0.001
    assert found.interval.low < 1 < found.interval.high


def test_shared_pairs_must_be_as_many():
    with pytest.raises(InputError, match="pca has 2"):
        compare(np.ones(3), np.ones(2), names=NAMES)


def test_all_comparisons_are_corrected_together():
    rng = np.random.default_rng(0)
    figures = {name: rng.normal(shift, 1, 30) for name, shift in [("a", 1), ("b", 0), ("c", 0.1)]}
    found = compare_all(figures)
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = corrected_p_values([one.p_value for one in found], "holm")
    assert [one.corrected_p_value for one in found] == expected
    against = compare_all(figures, reference="b", correction="benjamini-hochberg")
    assert [one.second for one in against] == ["a", "c"]
    with pytest.raises(InputError, match="'d'"):
        compare_all(figures, reference="d")


def test_a_method_that_scored_nothing_is_compared_as_missing():
    found = compare(np.array([1.0, 2.0]), np.full(2, np.nan), names=NAMES)
    assert found.p_value is None
    assert found.difference.value is None
    assert found.cliffs_delta.value is None
    assert found.count_second.missing == 2


def test_concepts_are_judged_by_the_feature_that_was_best_on_training_texts():
    nan = np.nan
    train = np.array([[0.9, nan, nan], [0.8, nan, 0.7]])
    heldout = np.array([[0.6, 0.9, 0.9], [1.0, 0.9, nan]])
    found = best_of_concepts(train, heldout)
    np.testing.assert_array_equal(found, [0.6, nan, nan])
    assert np.isnan(best_of_concepts(np.zeros((0, 2)), np.zeros((0, 2)))).all()


def test_corrections_agree_with_scipy_and_with_discoveries():
    rng = np.random.default_rng(0)
    p = [*rng.uniform(0, 0.2, 20).tolist(), None]
    corrected = corrected_p_values(p, "benjamini-hochberg")
    assert corrected[-1] is None
    assert corrected[:-1] == pytest.approx(stats.false_discovery_control(p[:-1]))
    assert [q is not None and q <= 0.15 for q in corrected] == discoveries(p, 0.15)
    assert corrected_p_values([]) == []


def test_holm_keeps_the_order_of_p_values():
    assert corrected_p_values([0.5, 0.01, 0.02, 0.4]) == pytest.approx([0.8, 0.04, 0.06, 0.8])
    with pytest.raises(InputError, match="between 0 and 1; got 1.5"):
        corrected_p_values([1.5])


def test_cliffs_delta_is_twice_the_auroc_minus_one():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, 30).round(1), rng.normal(0, 1, 20).round(1)
    u = stats.mannwhitneyu(x, y).statistic
    found = cliffs_delta(x, y)
    assert found.value == pytest.approx(2 * u / 600 - 1)
    assert found.interval.low < found.value < found.interval.high
    assert cliffs_delta(np.array([np.inf]), np.array([np.inf, 1.0])).value == 0.5


def test_the_standardised_difference_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, 500), rng.normal(0, 1, 400)
    found = standardised_difference(x, y, resamples=500)
    assert found.value == pytest.approx(1, abs=0.15)
    assert standardised_difference(7 * x, 7 * y, resamples=500).value == pytest.approx(found.value)
    assert found.interval.low < found.value < found.interval.high


@pytest.mark.parametrize("first", [[1.0], [2.0, 2.0], [1.0, np.inf]])
def test_no_standardised_difference_without_a_deviation(first):
    found = standardised_difference(np.array(first), np.array([3.0, 3.0]))
    assert found.value is None
    assert found.note
