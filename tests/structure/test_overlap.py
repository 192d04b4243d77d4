"""Shared neurons, and chances that were counted by hand or by enumeration."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom

from cofire.errors import InputError
from cofire.structure.overlap import overlap, shared_p_value
from cofire.structure.support import (
    opposed_counts,
    shared_counts,
    shared_rarity,
    signed_support,
)

SUPPORT = np.array(
    [
        [1, 1, -1, 0, 0, 0],
        [1, -1, -1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
    ],
    np.int8,
)


def enumerated(shared: int, first: tuple[int, int], second: tuple[int, int], n: int) -> float:
    """The same chance, by going through every way to place the second feature's neurons."""
    plus, minus = set(range(first[0])), set(range(first[0], sum(first)))
    hits = total = 0
    for up in combinations(range(n), second[0]):
        rest = [i for i in range(n) if i not in up]
        for down in combinations(rest, second[1]):
            total += 1
            hits += len(plus & set(up)) + len(minus & set(down)) >= shared
    return hits / total


@pytest.mark.parametrize("shared", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [(2, 2), (4, 0), (1, 3)])
@pytest.mark.parametrize("second", [(2, 2), (3, 1), (0, 3)])
def test_the_chance_of_sharing_is_exact(shared, first, second):
    found = shared_p_value(shared, first, second, 7)
    assert found == pytest.approx(enumerated(shared, first, second, 7), abs=1e-12)


def test_positive_neurons_only_are_hypergeometric():
    found = shared_p_value(3, (21, 0), (21, 0), 2048)
    assert found == pytest.approx(float(hypergeom.sf(2, 2048, 21, 21)), rel=1e-9)


def test_counts_by_sign():
    assert shared_counts(SUPPORT)[0].tolist() == [3, 2, 0]
    assert opposed_counts(SUPPORT)[0].tolist() == [0, 1, 0]


def test_a_neuron_that_few_hold_counts_more():
    support = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], np.int8)
    rarity = shared_rarity(support)
    assert rarity[0, 1] == pytest.approx(1 / 3 + 1)
    assert rarity[0, 2] == pytest.approx(1 / 3)


def test_overlap_of_a_pair():
    found = overlap(SUPPORT, [0, 1])
    assert found.shared.tolist() == [[3, 2], [2, 3]]
    assert found.opposed[0, 1] == 1
    # three neurons between them, all held by both, two with the same sign
    assert found.jaccard[0, 1] == pytest.approx(2 / 3)
    assert found.p_uniform[0, 1] == pytest.approx(enumerated(2, (2, 1), (1, 2), 6))
    assert np.isnan(found.p_reuse).all()


def test_holm_over_pairs():
    rng = np.random.default_rng(0)
    support = rng.choice([0, 0, 0, 1, -1], (5, 40)).astype(np.int8)
    found = overlap(support, range(5))
    assert (found.p_uniform_corrected >= found.p_uniform).all()
    above = np.triu_indices(5, 1)
    smallest = found.p_uniform[above].argmin()
    assert found.p_uniform_corrected[above][smallest] == pytest.approx(
        min(1.0, 10 * found.p_uniform[above][smallest])
    )
    assert (found.p_uniform_corrected == found.p_uniform_corrected.T).all()


def test_draws_of_a_null_become_p_values():
    null = np.zeros((99, 2, 2), np.float32)
    null[:4] = 2
    found = overlap(SUPPORT, [0, 1], null=null)
    assert found.p_reuse[0, 1] == pytest.approx(5 / 100)


def test_dense_atoms_need_a_share():
    dense = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="--keep"):
        signed_support(dense)
    kept = signed_support(dense, keep=0.2)
    assert (np.abs(kept).sum(axis=1) == 2).all()
    largest = dense.abs().topk(2, dim=1).indices
    for row, places in zip(kept, largest.tolist(), strict=True):
        assert set(np.flatnonzero(row)) == set(places)


@pytest.mark.parametrize("features", [[0], [0, 0], [0, 9], []])
def test_features_that_make_no_pair(features):
    with pytest.raises(InputError):
        overlap(SUPPORT, features)


def test_more_neurons_than_there_are():
    with pytest.raises(InputError, match="more neurons"):
        shared_p_value(1, (5, 0), (1, 0), 4)


def test_order_of_features_does_not_matter():
    tables = [overlap(SUPPORT, list(order)).shared for order in permutations(range(3))]
    assert len({tuple(sorted(table.ravel())) for table in tables}) == 1
