"""Families of features: planted ones, none where there is none, and another library's Louvain."""

import networkx
import numpy as np
import pytest

from cofire.errors import InputError
from cofire.structure.communities import Communities, enriched_names, find_communities


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Thirty nodes in three blocks; what the degrees lead to expect."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(3), 10)
    rates = np.where(block[:, None] == block[None, :], 4.0, 0.7)
    shared = np.triu(rng.poisson(rates).astype(float), 1)
    shared += shared.T
    degree = shared.sum(axis=1)
    return shared, np.outer(degree, degree) / degree.sum()


def test_planted_families_are_found():
    shared, expected = planted(0)
    found = find_communities(shared, expected)
    assert found.sizes == [10, 10, 10]
    assert all(len(set(found.of[start : start + 10].tolist())) == 1 for start in (0, 10, 20))
    assert found.members(0) == list(range(10))


@pytest.mark.parametrize("seed", range(5))
def test_as_good_as_another_library(seed):
    """networkx leaves self-pairs in what it expects; modularity is compared by one measure."""
    shared, expected = planted(seed)
    graph = networkx.from_numpy_array(shared)
    theirs = networkx.algorithms.community.louvain_communities(graph, seed=0)
    mine = find_communities(shared, expected)
    measure = networkx.algorithms.community.modularity
    parts = [set(mine.members(c)) for c in range(len(mine.sizes))]
    assert measure(graph, parts) >= measure(graph, theirs) - 1e-9


def test_modularity_is_what_it_says():
    shared, expected = planted(1)
    found = find_communities(shared, expected)
    same = np.triu(found.of[:, None] == found.of[None, :], 1)
    wanted = (shared - expected)[same].sum() / np.triu(shared, 1).sum()
    assert found.modularity == pytest.approx(wanted)


def test_nothing_beyond_what_is_expected():
    found = find_communities(np.ones((6, 6)), np.ones((6, 6)))
    assert found.sizes == [1] * 6
    assert found.modularity == 0


def test_shapes_must_agree():
    with pytest.raises(InputError, match="same features"):
        find_communities(np.ones((3, 3)), np.ones((4, 4)))


def test_names_that_are_common_in_a_family():
    parts = Communities(np.repeat([0, 1, 2], 10), 0.5)
    concepts = ["day"] * 8 + [None] * 12 + ["day"] + [None] * 9
    families = ["time"] * 9 + [None] * 21
    found = enriched_names(parts, concepts, families)
    assert [one.name for one in found[:2]] == ["time", "day"]
    assert found[1].both == 8
    assert found[1].p_corrected < 1e-3
    assert found[-1].p_corrected == 1.0
    assert len(found) == 6  # two names in three families, those that lack them included


def test_shuffled_names_are_rarely_common():
    rng = np.random.default_rng(0)
    parts = Communities(np.repeat([0, 1, 2, 3], 10), 0.5)
    names = ["a"] * 10 + ["b"] * 10 + [None] * 20
    hits = 0
    for _ in range(200):
        rng.shuffle(names)
        hits += any(one.p_corrected < 0.05 for one in enriched_names(parts, names))
    assert hits <= 20
