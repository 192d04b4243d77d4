"""Nodes are named after the contexts that flow through them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import builders
from cofire.corpus import Corpus
from cofire.errors import InputError
from cofire.structure.nestings import Nesting, nesting_of
from cofire.structure.tree import build_tree
from cofire.structure.tree_labels import label_tree, nested_matches, read_level, training_rows

NESTING = Nesting({"animal": "seen", "colour": "seen", "seen": None})


@pytest.fixture(scope="module")
def data():
    return builders.activations()


@pytest.fixture(scope="module")
def codes(data):
    """Animal words, colour words, and "the"."""
    return (data.X @ builders.atoms()[:3].T).clamp(min=0)


def read(codes, data, **settings):
    return read_level(codes, data.tokens, data.corpus, NESTING, **settings)


def test_a_parent_of_two_concepts_is_named_after_what_holds_both(data, codes):
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    leaves, parents = read(codes, data), read(codes @ weights, data)
    assert [one.match.concept for one in leaves[:2]] == ["animal", "colour"]
    assert leaves[0].label.startswith("animal: ")
    assert parents[0].match.concept == "seen"
    assert parents[0].label.startswith("seen: ")
    tree = label_tree(build_tree([weights.double().numpy()]), [leaves, parents])
    # "the" stands in sentences about animals only.
    assert [node.concept for node in tree.levels[0]] == ["animal", "colour", "animal"]
    assert tree.levels[1][0].concept == "seen"
    assert tree.levels[1][0].tokens
    assert tree.levels[1][0].auroc > 0.9


def test_contexts_and_tokens_are_those_of_the_summed_codes(data, codes):
    (parent,) = read(codes[:, :2].sum(dim=1, keepdim=True), data, n_contexts=16)
    labels = {context.label for context in parent.contexts}
    assert labels == {"animal", "colour"}
    assert all(data.corpus[context.text_id].split == "train" for context in parent.contexts)
    assert parent.density == pytest.approx(
        float(
            (codes[:, :2].sum(dim=1)[torch.from_numpy(training_rows(data.tokens, data.corpus))] > 0)
            .float()
            .mean()
        )
    )


def test_details_are_finer_than_labels(data, codes):
    corpus = Corpus(
        replace(text, detail="cat or dog" if "cat" in text.text or "dog" in text.text else "other")
        if text.label == "animal"
        else text
        for text in data.corpus
    )
    words = np.array(data.tokens.pieces)[data.tokens.piece]
    only = torch.from_numpy(np.isin(words, [" cat", " dog"])).float()[:, None]
    nesting = nesting_of(corpus, NESTING)
    (match,) = nested_matches(only, data.tokens.text_id, corpus, nesting)
    # Two texts are too few to be tried as a concept of their own.
    assert match.concept == "animal"


def test_texts_that_are_all_held_out_are_refused(data, codes):
    corpus = Corpus(replace(text, split="heldout") for text in data.corpus)
    with pytest.raises(InputError, match="held out"):
        read_level(codes, data.tokens, corpus, NESTING)


def test_a_wider_name_needs_firings_all_over_it(data, codes):
    """All colours with animals: the wider name. Animals alone, and a few colours weakly: not."""
    mostly = codes[:, [0]] + 0.2 * codes[:, [1]]
    evenly = codes[:, [0]] + 0.9 * codes[:, [1]]
    found = nested_matches(
        torch.cat([mostly, evenly], 1), data.tokens.text_id, data.corpus, NESTING
    )
    assert [match.concept for match in found] == ["animal", "seen"]
    assert found[0].auroc_train == found[1].auroc_train == 1.0
