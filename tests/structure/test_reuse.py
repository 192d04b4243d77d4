"""Reuse of neurons, in dictionaries with and without structure."""

import json
import tracemalloc

import numpy as np
import pytest

from cofire.errors import InputError
from cofire.structure.reuse import measure_reuse
from cofire.structure.reuse_null import reuse_null


def even(seed: int) -> np.ndarray:
    """Thirty features of ten neurons, drawn evenly from 200."""
    rng = np.random.default_rng(seed)
    support = np.zeros((30, 200), np.int8)
    for row in support:
        row[rng.choice(200, 10, replace=False)] = rng.choice([-1, 1], 10)
    return support


def with_hubs(seed: int) -> np.ndarray:
    """The same, but five neurons that most features hold."""
    support = even(seed)
    rng = np.random.default_rng(seed)
    for row in support:
        for hub in range(5):
            if rng.random() < 0.7 and row[hub] == 0:
                row[rng.choice(np.flatnonzero(row[5:]) + 5)] = 0
                row[hub] = 1
    return support


def with_families(seed: int) -> np.ndarray:
    """Three families of ten features that share neurons of their own."""
    rng = np.random.default_rng(seed)
    support = np.zeros((30, 200), np.int8)
    for number, row in enumerate(support):
        row[number // 10 * 20 + rng.choice(20, 8, replace=False)] = 1
        row[60 + rng.choice(140, 2, replace=False)] = -1
    return support


def figures(support: np.ndarray, **settings) -> dict:
    found = measure_reuse(support, draws=99, partition_draws=39, **settings)
    return {one.name: one for one in found.comparisons}


VARIANCE = "variance of the features a neuron serves"
SQUARES = "sum of squares of the neurons that pairs share"
MODULARITY = "modularity of the best partition"


def test_even_draws_show_nothing():
    found = figures(even(0))
    assert found[VARIANCE].p_value > 0.05
    assert found[SQUARES].p_value > 0.05
    assert found[MODULARITY].p_value > 0.05


def test_hubs_are_reuse_and_nothing_beyond():
    found = figures(with_hubs(0))
    assert found[VARIANCE].p_value == pytest.approx(0.01)
    assert found[VARIANCE].observed > 3 * found[VARIANCE].expected
    assert found[SQUARES].p_value > 0.05


def test_families_are_more_than_reuse():
    support = with_families(0)
    found = measure_reuse(
        support,
        concepts=["a"] * 10 + ["b"] * 10 + [None] * 10,
        draws=99,
        partition_draws=39,
    )
    by_name = {one.name: one for one in found.comparisons}
    assert by_name[SQUARES].p_value == pytest.approx(0.01)
    assert by_name[MODULARITY].p_value == pytest.approx(1 / 40)
    assert found.communities.sizes[:3] == [10, 10, 10]
    assert found.enrichment[0].both == 10
    assert found.enrichment[0].p_corrected < 1e-4


def test_histograms_add_up():
    support = with_hubs(1)
    found = measure_reuse(support, draws=40, partition_draws=20)
    assert sum(found.degree_counts) == 200
    assert sum(found.shared_counts) == 30 * 29 // 2
    assert sum(found.shared_expected) == pytest.approx(30 * 29 // 2)
    held = sum(i * n for i, n in enumerate(found.degree_counts))
    assert held == np.abs(support).sum()
    # what is expected of the even null covers nearly all neurons: its tail is cut at the largest
    assert sum(found.degree_expected) == pytest.approx(200, abs=0.5)
    assert found.most_reused(1)[0] == (int(found.degree.argmax()), int(found.degree.max()))
    json.dumps(found.record(), allow_nan=False)


def test_the_expected_degrees_are_those_of_draws():
    rng = np.random.default_rng(0)
    support = even(3)
    counts = np.zeros(8)
    for _ in range(300):
        drawn = np.zeros((30, 200), bool)
        for row in drawn:
            row[rng.choice(200, 10, replace=False)] = True
        counts += np.bincount(np.minimum(drawn.sum(axis=0), 7), minlength=8)
    found = measure_reuse(support, draws=20, partition_draws=5)
    expected = np.array(found.degree_expected)
    assert np.allclose(expected[:5], counts[:5] / 300, rtol=0.05, atol=0.5)


def test_many_draws_of_many_features_take_little_memory():
    support = np.concatenate([even(seed) for seed in range(4)])
    measure_reuse(support[:9], draws=20, partition_draws=2)  # what it imports is no part of it
    tracemalloc.start()
    found = measure_reuse(support, draws=60, partition_draws=2)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3e6  # the counts of all pairs in all draws would be 120 · 120 · 60 · 4 and more
    shared = reuse_null(support, draws=60).shared
    pairs = shared[:, *np.triu_indices(120, 1)].astype(int)
    drawn = [np.bincount(one, minlength=len(found.shared_counts)) for one in pairs]
    assert found.shared_expected == pytest.approx(np.mean(drawn, axis=0))
    squares = next(one for one in found.comparisons if one.name == SQUARES)
    assert squares.expected == pytest.approx(np.square(pairs).sum(axis=1).mean())


def test_names_must_fit():
    with pytest.raises(InputError, match="names"):
        measure_reuse(even(0), concepts=["a"], draws=20)
