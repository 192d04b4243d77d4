"""Parents by weight share, and how the tree depends on the rule."""

import numpy as np
import pytest

from cofire.errors import InputError
from cofire.structure.tree import ParentRule, build_tree, published_children, weight_shares
from cofire.structure.tree_sensitivity import rule_agreement, sensitivity
from cofire.structure.tree_words import bottom_up, top_down

LOWER = np.array(
    [
        [4.0, 0.0, 0.0],  # one parent
        [3.0, 1.0, 0.0],  # a further one at a quarter
        [0.0, 2.0, 2.0],  # undecided
        [0.0, 0.0, 5.0],
        [0.0, 0.0, 0.0],  # none
    ]
)
UPPER = np.array([[1.0, 0.0], [0.2, 0.8], [0.0, 0.0]])


def test_a_feature_belongs_to_its_largest_share():
    tree = build_tree([LOWER, UPPER])
    assert tree.sizes == (5, 3, 2)
    assert [node.parent for node in tree.levels[0]] == [0, 0, 1, 2, None]
    assert [node.share for node in tree.levels[0]] == [1.0, 0.75, 0.5, 1.0, None]
    assert tree.levels[0][1].others == ((1, 0.25),)
    assert tree.levels[0][2].others == ((2, 0.5),)
    assert [node.parent for node in tree.levels[1]] == [0, 1, None]


def test_children_leaves_and_paths_agree():
    tree = build_tree([LOWER, UPPER])
    top = tree.levels[2][0]
    assert [child.name for child in tree.children(top)] == ["1.0"]
    assert tree.leaves(top) == (0, 1)
    assert tree.leaves(tree.levels[2][1]) == (2,)
    assert [node.name for node in tree.path(tree.levels[0][1])] == ["1.0", "2.0"]
    assert [node.name for node in tree.tops] == ["2.0", "2.1", "1.2", "0.4"]
    below = [leaf for node in tree.tops for leaf in tree.leaves(node)]
    assert sorted(below) == list(range(5))  # every leaf hangs somewhere, once
    assert len(tree) == 10


def test_the_rule_decides_further_parents_and_orphans():
    strict = build_tree([LOWER, UPPER], ParentRule(secondary=0.6, least=0.6))
    assert [node.parent for node in strict.levels[0]] == [0, 0, None, 2, None]
    assert all(node.others == () for node in strict.levels[0])
    loose = build_tree([LOWER, UPPER], ParentRule(secondary=0.01))
    assert [len(node.others) for node in loose.levels[0]] == [0, 1, 1, 0, 0]
    assert len(strict.tops) > len(loose.tops)


def test_sensitivity_counts_what_the_rule_would_give():
    lines = {line.threshold: line for line in sensitivity([LOWER], [0.2, 0.3, 0.6])}
    assert (lines[0.2].links, lines[0.2].several, lines[0.2].orphans) == (6, 2, 0)
    assert (lines[0.3].links, lines[0.3].several, lines[0.3].orphans) == (5, 1, 0)
    assert (lines[0.6].links, lines[0.6].several, lines[0.6].orphans) == (3, 0, 1)
    assert {line.features for line in lines.values()} == {4}
    for threshold, line in lines.items():
        tree = build_tree([LOWER], ParentRule(secondary=threshold, least=threshold))
        weighted = [node for node in tree.levels[0] if LOWER[node.index].any()]
        assert sum(node.parent is None for node in weighted) == line.orphans


def test_the_published_rule_counts_from_the_parent():
    assert published_children(LOWER) == [(0, 1), (2, 1), (3, 2)]
    assert published_children(LOWER, most=1) == [(0,), (2,), (3,)]
    (agreement,) = rule_agreement([LOWER])
    assert agreement.unweighted == 1
    assert agreement.published == 1.0
    assert agreement.median_share == 0.875


def test_both_views_tell_the_same_tree():
    tree = build_tree([LOWER, UPPER])
    outline = list(top_down(tree))
    assert outline == [
        "0",
        "└─ 0 (100%)",
        "   ├─ 0 (100%)",
        "   └─ 1 (75%)",
        "1",
        "└─ 1 (80%)",
        "   └─ 2 (50%)",
        "(level 1, no parent) 2",
        "└─ 3 (100%)",
        "(level 0, no parent) 4",
    ]
    assert list(bottom_up(tree)) == [
        "0  →  0 (100%)  →  0 (100%)",
        "1  →  0 (75%)  →  0 (100%)",
        "2  →  1 (50%)  →  1 (80%)",
        "3  →  2 (100%)",
        "4",
    ]


def test_shares_add_up_or_are_none():
    shares = weight_shares(LOWER)
    assert np.allclose(shares.sum(axis=1), [1, 1, 1, 1, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build_tree([]), "a level above"),
        (lambda: build_tree([LOWER, LOWER]), "consecutive levels"),
        (lambda: build_tree([-LOWER]), "0 or more"),
        (lambda: build_tree([np.full((2, 2), np.nan)]), "0 or more"),
        (lambda: ParentRule(secondary=0.0), "between 0 and 1"),
        (lambda: ParentRule(least=1.5), "between 0 and 1"),
    ],
)
def test_what_is_no_tree_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
