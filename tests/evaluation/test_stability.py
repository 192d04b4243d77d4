"""Features that are there are found again; what matching finds in noise is what the null says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import builders
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.stability import permuted_atoms, split_halves, stability
from cofire.factorization import SemiNMF
from cofire.factorization.planted import plant, recovery
from cofire.matching import match_atoms


def noisy(atoms, noise, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(atoms), generator=generator)
    return (atoms + noise * torch.randn(atoms.shape, generator=generator))[order]


@pytest.mark.filterwarnings("ignore::cofire.errors.ConvergenceWarning")
def test_planted_features_agree_between_seeds_far_above_the_null():
    planted = plant(600, 80, 8, sparsity=0.05, noise=0.1)
    solutions = [
        torch.from_numpy(SemiNMF(8, sparsity=0.05, random_state=seed).fit(planted.X).components_)
        for seed in range(3)
    ]
    found = stability(solutions)
    assert found.overall.value > 0.9
    assert found.overall.n == 24  # 8 features in each of 3 pairs
    assert found.overall.interval is None or found.overall.interval.units == 8
    assert found.null_draws.mean() < 0.5
    assert found.p_value == pytest.approx(1 / 21)
    assert (found.p_values < 0.05).sum() >= 7
    assert found.excess.value == pytest.approx(found.overall.value - found.null_draws.mean())
    expected = np.mean([recovery(b, a).mean() for a, b in [solutions[:2], solutions[1:]]])
    assert np.mean([found.pairs[0], found.pairs[2]]) == pytest.approx(expected, abs=1e-5)


def test_random_atoms_agree_as_much_as_the_null():
    solutions = [torch.randn(30, 20, generator=torch.Generator().manual_seed(s)) for s in range(2)]
    found = stability(solutions, draws=40)
    assert found.overall.value > 0.3  # matching finds much in noise: why there is a null
    assert abs(found.excess.value) < 0.05
    assert found.p_value > 0.02
    assert 0.2 < np.median(found.p_values) < 0.8


def test_the_interval_narrows_with_the_number_of_features():
    generator = torch.Generator().manual_seed(0)
    widths = []
    for k in (10, 40):
        atoms = torch.randn(k, 200, generator=generator)
        interval = stability([atoms, noisy(atoms, 0.7, 1)], draws=1).overall.interval
        widths.append(interval.high - interval.low)
        assert interval.units == k
    assert widths[1] < 0.8 * widths[0]


def test_random_pairs_have_next_to_nothing_in_common():
    atoms = torch.randn(30, 400, generator=torch.Generator().manual_seed(0))
    found = stability([atoms, noisy(atoms, 0.1, 1)], null="pairs")
    assert abs(found.null_draws.mean()) < 0.05
    assert found.excess.value > 0.9


def test_the_sign_counts_unless_codes_have_signs():
    atoms = torch.eye(3, 6)
    flipped = -atoms[[2, 0, 1]]
    assert stability([atoms, flipped]).overall.value == 0
    assert stability([atoms, flipped], either_sign=True).overall.value == 1
    linear = [
        Dictionary(D, builders.SITE, "linear", encoder_weight=D.T.contiguous())
        for D in (atoms, flipped)
    ]
    found = stability(linear)
    assert found.either_sign
    assert found.agreement.tolist() == [1, 1, 1]
    assert not stability([Dictionary(atoms, builders.SITE)] * 2).either_sign


def test_dead_atoms_are_missing_and_not_zero():
    atoms = torch.eye(3, 6)
    dead = atoms.clone()
    dead[1] = 0
    found = stability([dead, atoms])
    assert np.isnan(found.agreement).tolist() == [False, True, False]
    assert np.isnan(found.p_values).tolist() == [False, True, False]
    assert (found.overall.value, found.overall.n, found.overall.missing) == (1.0, 2, 1)
    partnerless = stability([atoms, atoms[:2]])
    assert (partnerless.overall.n, partnerless.overall.missing) == (2, 1)
    nothing = stability([torch.zeros(2, 4), torch.ones(2, 4)])
    assert nothing.overall.value is None
    assert nothing.p_value is None
    assert nothing.excess.value is None


def test_the_null_keeps_the_values_of_every_atom():
    atoms = torch.randn(5, 9)
    shuffled = permuted_atoms(atoms, seed=1)
    assert torch.equal(shuffled.sort(dim=1).values, atoms.sort(dim=1).values)
    assert not torch.equal(shuffled, atoms)
    assert torch.equal(shuffled, permuted_atoms(atoms, seed=1))
    order = shuffled.argsort(dim=1)
    assert not torch.equal(order[0], atoms.argsort(dim=1)[0])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="at least two solutions; got 1"):
        stability([torch.eye(3)])
    with pytest.raises(InputError, match="6 channels cannot be matched with atoms of 5"):
        stability([torch.eye(3, 6), torch.eye(3, 5)])
    with pytest.raises(InputError, match="at least one draw"):
        stability([torch.eye(3)] * 2, draws=0)


def test_halves_are_whole_training_texts_spread_over_the_labels():
    data = builders.activations()
    first, second = split_halves(data, seed=1)
    ids = [set(half.tokens.text_id.tolist()) for half in (first, second)]
    assert not ids[0] & ids[1]
    training = {i for i, text in enumerate(data.corpus) if text.split == "train"}
    assert ids[0] | ids[1] == training
    for label in ("animal", "colour", "neutral"):
        assert [sum(data.corpus[i].label == label for i in half) for half in ids] == [4, 4]
    assert set(split_halves(data, seed=1)[0].tokens.text_id.tolist()) == ids[0]
    held = Corpus(replace(text, split="heldout") for text in data.corpus)
    with pytest.raises(InputError, match="at least two training texts; there are 0"):
        split_halves(replace(data, corpus=held))


def test_matching_says_who_is_whose_partner():
    atoms = torch.eye(3, 4)
    found = match_atoms(atoms, -3 * atoms[[1, 0]], either_sign=True)
    assert found.partner.tolist() == [1, 0, -1]
    assert found.cosine.tolist()[:2] == [1.0, 1.0]
    assert np.isnan(found.cosine[2])
