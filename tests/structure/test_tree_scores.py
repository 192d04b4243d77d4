"""Scores of trees against known hierarchies: by hand, by brute force, and against chance."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from cofire.errors import InputError
from cofire.structure.nestings import Nesting
from cofire.structure.tree import build_tree
from cofire.structure.tree_baselines import clustering_trees, random_tree
from cofire.structure.tree_comparison import OWN, SCORES, score_trees
from cofire.structure.tree_scores import (
    LeafTree,
    against_shuffled,
    class_paths,
    dendrogram_purity,
    hierarchical_f1,
    leaf_tree,
)

TRUE = ["a", "a", "b", "b", "c", "c"]
PERFECT = [np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1])]


def purity_by_hand(tree, classes):
    """The definition, pair by pair."""
    known = np.array([name is not None for name in classes])
    shares = []
    for i, j in combinations(range(len(classes)), 2):
        if classes[i] is None or classes[i] != classes[j]:
            continue
        holding = [node & known for node in tree.below if node[i] and node[j]]
        smallest = min(holding, key=np.sum)
        same = [classes[leaf] == classes[i] for leaf in np.flatnonzero(smallest)]
        shares.append(np.mean(same))
    return float(np.mean(shares)) if shares else None


def nested_groups(draw, n):
    fine = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    of_fine = draw(st.lists(st.integers(0, 2), min_size=5, max_size=5))
    return [fine, np.array(of_fine)[fine]]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_purity_is_that_of_its_definition(data):
    n = data.draw(st.integers(3, 9))
    tree = LeafTree.of_groups(nested_groups(data.draw, n))
    classes = data.draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=n, max_size=n))
    found = dendrogram_purity(tree, classes).value
    expected = purity_by_hand(tree, classes)
    assert found == expected if expected is None else found == pytest.approx(expected)


def test_a_perfect_tree_has_full_marks_and_chance_has_not():
    tree = LeafTree.of_groups(PERFECT)
    assert dendrogram_purity(tree, TRUE).value == 1.0
    paths = class_paths(TRUE, Nesting({"a": "ab", "b": "ab", "ab": None, "c": None}))
    assert hierarchical_f1(tree, paths).value == 1.0
    larger = LeafTree.of_groups([np.arange(12) // 4])
    paths = class_paths(list("aaaabbbbcccc"), Nesting({}))
    beside = against_shuffled(larger, paths, "purity", shuffles=499)
    assert beside.value == 1.0
    assert beside.shuffled_mean < 0.5
    assert beside.p_value == 1 / 500
    mixed = class_paths(list("abcabcabcabc"), Nesting({}))
    assert against_shuffled(larger, mixed, "purity", shuffles=499).p_value > 0.3


def test_leaves_without_class_are_left_out_and_counted():
    tree = LeafTree.of_groups([np.array([0, 0, 0, 1])])
    found = dendrogram_purity(tree, ["a", "a", None, "b"])
    assert (found.value, found.missing, found.n) == (1.0, 1, 1)
    nothing = dendrogram_purity(tree, ["a", "b", None, None])
    assert nothing.value is None
    assert nothing.note
    assert hierarchical_f1(tree, [None] * 4).value is None
    assert against_shuffled(tree, [None] * 4, "f1").value is None


def test_f1_of_levels_above_counts_too():
    tree = LeafTree.of_groups([np.array([0, 0, 1, 1])])
    nesting = Nesting({"a": "x", "b": "x", "c": "y", "d": "y", "x": None, "y": None})
    assert hierarchical_f1(tree, class_paths(list("abcd"), nesting)).value == 1.0
    assert hierarchical_f1(tree, class_paths(list("acbd"), nesting)).value == pytest.approx(2 / 3)


def test_trees_of_features_dendrograms_and_groups_are_alike():
    weights = [np.eye(3)[[0, 0, 1, 1, 2, 2]], np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])]
    from_weights = leaf_tree(build_tree(weights))
    from_groups = LeafTree.of_groups(PERFECT)
    assert {tuple(node) for node in from_weights.below.tolist()} == {
        tuple(node) for node in from_groups.below.tolist()
    }
    points = np.array([[0.0], [0.1], [1.0], [1.1], [5.0], [5.1]])
    merged = LeafTree.of_merges(linkage(points, "average"))
    assert len(merged.below) == 5
    assert merged.below[0].all()
    assert dendrogram_purity(merged, TRUE).value == 1.0


def test_leaves_without_parent_hang_on_the_root():
    tree = leaf_tree(build_tree([np.array([[1.0], [1.0], [0.0]])]))
    assert tree.below.tolist() == [[True, True, True], [True, True, False]]
    assert tree.holder.tolist() == [1, 1, 0]


def test_groups_that_do_not_nest_are_refused():
    with pytest.raises(InputError, match="nest"):
        LeafTree.of_groups([np.array([0, 0, 1]), np.array([0, 1, 1])])


def test_clusterings_are_cut_at_the_sizes_asked_for():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 30, generator=generator)
    group = torch.arange(12) % 3
    atoms = centres[group] + 0.1 * torch.randn(12, 30, generator=generator)
    codes = torch.rand(50, 12, generator=generator)
    trees = clustering_trees(atoms, codes, (6, 3))
    assert set(trees) == {"atoms, average", "atoms, ward", "codes, average"}
    classes = [str(int(one)) for one in group]
    for name in ("atoms, average", "atoms, ward"):
        assert len(trees[name].below) == 1 + 3 + 6
        assert dendrogram_purity(trees[name], classes).value == 1.0
    chance = [dendrogram_purity(random_tree(12, (6, 3), seed=i), classes).value for i in range(20)]
    assert np.mean(chance) < 0.7


def test_a_tree_is_scored_beside_its_baselines():
    weights = [np.eye(3)[[0, 0, 1, 1, 2, 2]]]
    bare = build_tree(weights)
    from dataclasses import replace

    names = ["Monday", "Friday", "red", "blue", "Monday", None]
    tree = bare.with_nodes(
        [
            [replace(node, concept=name) for node, name in zip(bare.levels[0], names, strict=True)],
            bare.levels[1],
        ]
    )
    nesting = Nesting({"Monday": "day", "Friday": "day", "red": "colour", "blue": "colour"})
    lines = score_trees(tree, torch.eye(6), torch.rand(20, 6), nesting)
    assert {line.tree for line in lines} == {
        OWN,
        "atoms, average",
        "atoms, ward",
        "codes, average",
    }
    own = {line.score: line for line in lines if line.tree == OWN}
    assert set(own) == set(SCORES)
    assert own["purity"].leaves == 5
    assert own["purity"].of == 6
    assert own["family purity"].value == pytest.approx((1 + 1 + 2 * 3 / 5) / 4)
