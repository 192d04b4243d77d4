"""AUROC, its interval and its p-value against independent calculations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from cofire.evaluation.auroc import auroc, auroc_interval, auroc_p_value


def test_auroc_is_scikit_learns_for_every_pair_with_ties():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(60, 4)).astype(float)
    positive = rng.random((60, 3)) < 0.3
    ours = auroc(scores, positive)
    for feature in range(4):
        for concept in range(3):
            expected = roc_auc_score(positive[:, concept], scores[:, feature])
            assert ours[feature, concept] == pytest.approx(expected)


def test_a_concept_without_positives_or_negatives_is_missing_not_zero():
    scores = np.arange(4.0)[:, None]
    positive = np.array([[False, True]] * 4)
    assert np.isnan(auroc(scores, positive)).all()


@given(st.floats(0, 1), st.integers(1, 40), st.integers(1, 400))
def test_the_interval_holds_the_value_and_stays_in_range(value, n_positive, n_negative):
    low, high = auroc_interval(value, n_positive, n_negative)
    assert 0 <= low <= value <= high <= 1


def test_the_interval_narrows_with_more_texts_and_is_open_at_one():
    few, many = auroc_interval(1.0, 5, 100), auroc_interval(1.0, 50, 1000)
    assert few[0] < many[0] < 1.0
    assert few[1] == many[1] == 1.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    separation = 1.19  # two unit normals this far apart have an AUROC of 0.80
    hits = 0
    for _ in range(400):
        scores = np.concatenate([rng.normal(separation, 1, 8), rng.normal(0, 1, 120)])
        value = auroc(scores[:, None], (np.arange(128) < 8)[:, None])[0, 0]
        low, high = auroc_interval(float(value), 8, 120)
        hits += low <= 0.80 <= high
    assert 0.91 <= hits / 400 <= 0.99


def test_the_p_value_is_scipys_mann_whitney():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.5, 1, 12), rng.normal(0, 1, 80)
    value = auroc(np.concatenate([a, b])[:, None], (np.arange(92) < 12)[:, None])[0, 0]
    expected = mannwhitneyu(a, b, alternative="greater", method="asymptotic", use_continuity=False)
    assert auroc_p_value(float(value), 12, 80) == pytest.approx(expected.pvalue)
