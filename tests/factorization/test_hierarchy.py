"""Hierarchies of atoms as a scikit-learn estimator."""

from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import builders
from cofire.errors import InputError
from cofire.factorization import HierarchicalSemiNMF, SemiNMF
from cofire.factorization.constraints import kept_entries
from cofire.factorization.planted_hierarchy import plant_hierarchy
from cofire.matching import match_atoms

DIRECTIONS = ("merge", "split", "cluster")


@pytest.fixture(scope="module")
def planted():
    """Six parents of five children, half of each child's neurons its own."""
    return plant_hierarchy(1200, 240, 6, 5, core_share=0.3)


def fitted(planted, **settings):
    given = {"n_components": (30, 6), "sparsity": 12 / 240, **settings}
    return HierarchicalSemiNMF(**given).fit(planted.X)


def parents_found(planted, levels):
    """The strongest parent of every planted atom, by way of the atom it was matched to."""
    matching = match_atoms(planted.atoms, torch.from_numpy(levels.components_))
    return levels.weights_[0][matching.partner].argmax(axis=1)


def same_pairs(groups):
    return np.equal.outer(groups, groups)[np.triu_indices(len(groups), k=1)]


def agreement(planted, levels):
    """F1 over pairs of atoms: together in the truth, together in what was found."""
    true, found = same_pairs(planted.parent.numpy()), same_pairs(parents_found(planted, levels))
    return 2 * (true & found).sum() / (true.sum() + found.sum())


def test_a_planted_hierarchy_is_recovered():
    found, by_chance = [], []
    for seed in range(4):
        planted = plant_hierarchy(1200, 240, 6, 5, core_share=0.3, seed=seed)
        levels = fitted(planted)
        found.append(agreement(planted, levels))
        shuffled = np.random.default_rng(seed).permutation(planted.parent.numpy())
        by_chance.append(agreement(replace(planted, parent=torch.from_numpy(shuffled)), levels))
    assert np.mean(found) > 0.85
    assert np.mean(by_chance) < 0.3


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("core_share", [0.5, 0.7])
def test_parents_of_known_atoms_are_recovered(direction, core_share):
    planted = plant_hierarchy(1200, 240, 6, 5, core_share=core_share)
    if direction == "split":
        levels = fitted(planted, direction=direction)
        assert agreement(planted, levels) > 0.5  # its first level is its own
        return
    levels = fitted(planted, direction=direction, first_level=planted.atoms, tune="above")
    assert np.allclose(levels.components_, planted.atoms.numpy(), atol=1e-6)
    assert agreement(planted, levels) == 1.0


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("tune", ["all", "above", "none"])
def test_every_promise_is_kept(planted, direction, tune):
    levels = fitted(planted, n_components=[20, 8, 3], direction=direction, tune=tune)
    codes = levels.transform(planted.X)
    assert (codes >= 0).all()
    assert all((weights >= 0).all() for weights in levels.weights_)
    assert [weights.shape for weights in levels.weights_] == [(20, 8), (8, 3)]
    for atoms, size in zip(levels.level_components_, (20, 8, 3), strict=True):
        kept = kept_entries(min(1.0, 12 / 240 * 20 / size), 240)
        assert atoms.shape == (size, 240)
        assert ((atoms != 0).sum(axis=1) <= kept).all()
        norms = np.linalg.norm(atoms, axis=1)
        assert np.allclose(norms[norms > 0], 1, atol=1e-5)
    assert (np.diff(levels.objective_) <= 1e-6 * levels.objective_[:-1]).all()
    assert (levels.n_iter_ == 0) == (tune == "none")
    if direction == "cluster":
        assert ((levels.weights_[0] > 0).sum(axis=1) <= 1).all()


@pytest.mark.parametrize("tune", ["all", "above", "none"])
def test_explained_variance_is_that_of_the_codes(planted, tune):
    levels = fitted(planted, n_components=(20, 8, 3), tune=tune)
    X = planted.X.double()
    variance = float((X - X.mean(dim=0)).square().sum())
    codes = levels.transform(planted.X)
    for level in range(3):
        left = float((X - levels.inverse_transform(codes, level)).square().sum())
        assert 1 - left / variance == pytest.approx(levels.explained_variance_[level], abs=1e-4)
    whole = torch.from_numpy(np.linalg.multi_dot(levels.weights_))
    assert torch.allclose(levels.level_codes(codes)[2], codes @ whole, atol=1e-5)


def test_tuning_explains_more_at_the_levels_above(planted):
    above = fitted(planted, n_components=(30, 12, 6), tune="above")
    assert above.explained_variance_[0] == pytest.approx(above.explained_variance_before_[0])
    assert (above.explained_variance_[1:] > above.explained_variance_before_[1:]).all()
    both = fitted(planted, n_components=(30, 12, 6), tune="all")
    assert both.explained_variance_[2] > both.explained_variance_before_[2]
    assert both.explained_variance_[0] > both.explained_variance_before_[0] - 0.02


def test_the_first_level_of_a_merge_is_semi_nmf(planted):
    levels = fitted(planted, tune="none")
    alone = SemiNMF(30, sparsity=12 / 240, code_penalty=0.03).fit(planted.X)
    assert np.allclose(levels.components_, alone.components_)
    assert np.allclose(levels.transform(planted.X), alone.transform(planted.X), atol=1e-5)


def test_the_same_seed_gives_the_same_levels(planted):
    first, second = fitted(planted, direction="split"), fitted(planted, direction="split")
    for a, b in zip(first.level_components_, second.level_components_, strict=True):
        assert np.array_equal(a, b)


def test_rows_in_chunks_give_the_same_levels(planted):
    whole = fitted(planted, n_components=(12, 4))
    chunks = [chunk.numpy() for chunk in planted.X.split(500)]
    parts = HierarchicalSemiNMF((12, 4), sparsity=12 / 240).fit(chunks)
    assert np.allclose(whole.explained_variance_, parts.explained_variance_, atol=2e-3)
    assert np.allclose(whole.transform(planted.X), whole.transform(chunks), atol=1e-4)


def test_activations_are_taken_as_they_are():
    data = builders.activations()
    levels = HierarchicalSemiNMF((3, 2), sparsity=0.25).fit(data)
    codes = levels.transform(data)
    assert isinstance(codes, torch.Tensor)
    assert codes.shape == (len(data), 3)


def test_the_callback_hears_of_every_pass(planted):
    heard = []
    levels = fitted(planted, callback=heard.append)
    assert heard == levels.history_
    assert clone(levels).callback is levels.callback


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": (50, 100)}, "must decrease"),
        ({"n_components": (50, 50)}, "must decrease"),
        ({"n_components": ()}, "whole numbers"),
        ({"n_components": "many"}, "whole numbers"),
        ({"n_components": (50, 2.5)}, "whole numbers"),
        ({"n_components": (5, 0)}, "at least one atom"),
        ({"n_components": (5000, 10)}, "more than the n_samples=1200 rows"),
        ({"sparsity": (0.1, 0.1, 0.1)}, "3 numbers for 2 levels"),
        ({"sparsity": 1.5}, "at most 1"),
        ({"level_weights": (1.0, 0.0)}, "above 0"),
        ({"direction": "sideways"}, "merge, split, cluster"),
        ({"tune": "most"}, "all, above, none"),
        ({"first_level": np.ones((3, 240))}, "shape (30, 240)"),
        ({"first_level": np.ones((30, 240)), "direction": "split"}, "first level last"),
        ({"code_penalty": -1.0}, "code_penalty"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(planted, settings, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        fitted(planted, **settings)


class TestContract:
    """scikit-learn's own checks."""

    @pytest.fixture(autouse=True)
    def _runtime_type_checks_off(self, monkeypatch):
        # The checks set parameters to nonsense and demand that the constructor takes it.
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

    @parametrize_with_checks(
        [
            HierarchicalSemiNMF((3, 2), sparsity=0.5, tune_iter=10),
            HierarchicalSemiNMF((3, 2), sparsity=0.5, direction="split", tune="above"),
        ]
    )
    def test_estimator_contract(self, estimator, check):
        check(estimator)
