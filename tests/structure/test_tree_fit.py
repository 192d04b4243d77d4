"""Levels above a dictionary: from its codes alone, or with the rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import builders
from cofire.activations import Activations
from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.factorization.planted_hierarchy import plant_hierarchy
from cofire.site import Site
from cofire.structure.tree import build_tree
from cofire.structure.tree_fit import grow
from cofire.structure.tree_levels import TreeSettings
from cofire.structure.tree_scores import dendrogram_purity, leaf_tree

SITE = Site(2, "mlp")
ROWS = 900


@pytest.fixture(scope="module")
def planted():
    return plant_hierarchy(ROWS, 200, 4, 5, core_share=0.5, noise=0.02)


@pytest.fixture(scope="module")
def data(planted):
    """The rows as activations of texts of three tokens, every fifth held out."""
    texts = [
        Text(f"text {i}", split="heldout" if i % 5 == 4 else "train") for i in range(ROWS // 3)
    ]
    tokens = builders.token_table(["a b c"] * (ROWS // 3))
    return Activations((planted.X,), tokens, Corpus(texts), SITE)


@pytest.fixture(scope="module")
def training(data):
    return np.array([text.split == "train" for text in data.corpus])[data.tokens.text_id]


def purity(found, planted):
    tree = build_tree([weights.double().numpy() for weights in found.weights])
    return dendrogram_purity(leaf_tree(tree), [str(int(one)) for one in planted.parent]).value


@pytest.mark.parametrize("direction", ["merge", "cluster"])
@pytest.mark.parametrize("rows", [True, False])
def test_a_known_dictionary_gets_its_known_parents(planted, data, training, direction, rows):
    dictionary = Dictionary(planted.atoms, SITE)
    found = grow(
        dictionary,
        planted.codes,
        training,
        TreeSettings((4,), direction=direction),
        data if rows else None,
    )
    assert purity(found, planted) == 1.0
    assert not found.first_changed
    assert torch.equal(found.atoms[0], planted.atoms)
    assert torch.equal(found.codes, planted.codes)
    first, above = found.figures
    assert (first.features, above.features) == (20, 4)
    assert first.kept == pytest.approx(1.0, abs=1e-5)
    assert 0.2 < above.kept < 1.0
    if not rows:
        assert first.variance is None
        assert above.variance_before is None
        assert above.variance_heldout is None
        return
    assert first.variance > 0.9
    assert above.variance >= above.variance_before
    assert above.variance_heldout == pytest.approx(above.variance, abs=0.1)


def test_figures_are_those_of_the_reconstruction(planted, data, training):
    found = grow(Dictionary(planted.atoms, SITE), planted.codes, training, TreeSettings((4,)), data)
    X = planted.X.double()[torch.from_numpy(training)]
    codes = found.level_codes(1).double()[torch.from_numpy(training)]
    left = (X - codes @ found.atoms[1].double()).square().sum()
    expected = 1 - float(left / (X - X.mean(dim=0)).square().sum())
    assert found.figures[1].variance == pytest.approx(expected, abs=1e-5)


def test_the_length_of_atoms_does_not_matter(planted, training):
    lengths = torch.linspace(0.5, 3.0, 20)[:, None]
    plain = grow(Dictionary(planted.atoms, SITE), planted.codes, training, TreeSettings((4,)))
    long = grow(
        Dictionary(planted.atoms * lengths, SITE),
        planted.codes / lengths.T,
        training,
        TreeSettings((4,)),
    )
    assert torch.allclose(plain.level_codes(1), long.level_codes(1), atol=1e-3)


def test_an_offset_is_taken_off_first(planted, data, training):
    offset = torch.linspace(-1, 1, 200)
    moved = replace(data, shards=(planted.X + offset,))
    plain = grow(Dictionary(planted.atoms, SITE), planted.codes, training, TreeSettings((4,)), data)
    dictionary = Dictionary(planted.atoms, SITE, offset=offset)
    found = grow(dictionary, planted.codes, training, TreeSettings((4,)), moved)
    assert torch.allclose(plain.weights[0], found.weights[0], atol=1e-3)
    assert found.figures[1].variance == pytest.approx(plain.figures[1].variance, abs=1e-3)


@pytest.mark.parametrize(
    "settings", [TreeSettings((8, 4), tune="all"), TreeSettings((8, 4), direction="split")]
)
def test_the_first_level_can_be_tuned_with_the_rows(planted, data, training, settings):
    found = grow(Dictionary(planted.atoms, SITE), planted.codes, training, settings, data)
    assert found.first_changed
    assert [len(atoms) for atoms in found.atoms] == [20, 8, 4]
    assert found.codes.shape == (ROWS, 20)
    assert all(level.variance is not None for level in found.figures)
    assert found.figures[0].variance > 0.8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TreeSettings((4, 8)), "must decrease"),
        (TreeSettings((20,)), "has 20 features, but a level of 20"),
        (TreeSettings((30, 4)), "has 20 features"),
        (TreeSettings(()), "got none"),
        (TreeSettings((4,), tune="all"), "give the activations"),
        (TreeSettings((4,), direction="split"), "give the activations"),
        (TreeSettings((4,), direction="up"), "merge, split, cluster"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(planted, training, settings, message):
    with pytest.raises(InputError, match=message):
        grow(Dictionary(planted.atoms, SITE), planted.codes, training, settings)


def test_signed_codes_and_other_rows_are_refused(planted, data, training):
    dictionary = Dictionary(planted.atoms, SITE)
    with pytest.raises(InputError, match="signed"):
        grow(dictionary, -planted.codes, training, TreeSettings((4,)))
    with pytest.raises(InputError, match="codes of 10 rows but activations of 900"):
        grow(dictionary, planted.codes[:10], training[:10], TreeSettings((4,)), data)
