"""Controls have the shape of what they control for, and find nothing."""

import numpy as np
import pytest
import torch

from cofire.baselines import KMeansAtoms, PermutedNeurons, RandomDirections, RawNeurons
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.factorization import SemiNMF
from cofire.factorization.planted import plant, recovery
from cofire.site import Site


@pytest.fixture(scope="module")
def planted():
    return plant(1500, 60, 8, sparsity=0.1, code_density=0.15, noise=0.05)


def test_the_most_active_sides_of_neurons_are_taken():
    X = np.zeros((4, 3))
    X[:, 0] = [3, -2, 0, 0]  # 9 on the one side, 4 on the other
    X[:, 1] = [0, 0, -1, -1]  # 2
    X[:, 2] = [1, 0, 0, 0]
    atoms = RawNeurons(3).fit(X).components_
    assert atoms.tolist() == [[1, 0, 0], [-1, 0, 0], [0, -1, 0]]
    with pytest.raises(InputError, match="3 neurons have 6 sides; n_components is 7"):
        RawNeurons(7).fit(X)


def test_no_other_unit_vectors_explain_more_than_the_chosen_neurons(planted):
    X = planted.X
    chosen = torch.from_numpy(RawNeurons(5).fit(X.numpy()).components_)
    worse = torch.eye(60)[torch.randperm(60, generator=torch.Generator().manual_seed(0))[:5]]
    errors = [
        (X - d.decode(d.encode(X))).square().sum()
        for d in (Dictionary(chosen, Site(0)), Dictionary(worse, Site(0)))
    ]
    assert errors[0] < errors[1]


def test_random_directions_have_unit_norm_and_the_entries_asked_for():
    X = np.ones((2, 50))
    dense = RandomDirections(20, random_state=1).fit(X).components_
    sparse = RandomDirections(20, kept=lambda channels: channels // 10).fit(X).components_
    for atoms in (dense, sparse):
        assert np.allclose(np.linalg.norm(atoms, axis=1), 1, atol=1e-6)
    assert (dense != 0).all()
    assert ((sparse != 0).sum(axis=1) == 5).all()
    assert len({tuple(np.flatnonzero(atom)) for atom in sparse}) > 15
    assert not np.array_equal(dense, RandomDirections(20, random_state=2).fit(X).components_)


def test_permuted_atoms_keep_their_values_and_lose_their_neurons(planted):
    settings = {"sparsity": 0.1, "random_state": 0, "max_active": 3}
    whole = SemiNMF(8, **settings).fit(planted.X.numpy())
    null = PermutedNeurons(SemiNMF(8, **settings), random_state=0).fit(planted.X.numpy())
    assert np.array_equal(np.sort(null.components_, axis=1), np.sort(whole.components_, axis=1))
    assert not np.array_equal(null.components_, whole.components_)
    assert len({tuple(order) for order in null.permutations_}) == 8
    assert null.code_penalty_ == whole.code_penalty_
    assert Dictionary.from_estimator(null, Site(0), encoder="nnls").top_k == 3


def test_controls_do_not_recover_what_is_planted_and_snmf_does(planted):
    snmf = SemiNMF(8, sparsity=0.1, random_state=0)
    found = recovery(torch.from_numpy(snmf.fit(planted.X.numpy()).components_), planted.atoms)
    assert found.mean() > 0.95
    for control in (
        RandomDirections(8),
        RandomDirections(8, kept=lambda channels: 6),
        PermutedNeurons(snmf),
        RawNeurons(8),
    ):
        atoms = torch.from_numpy(control.fit(planted.X.numpy()).components_)
        assert recovery(atoms, planted.atoms).mean() < 0.6, control


def test_kmeans_finds_separate_clusters_as_directions_from_the_mean():
    rng = np.random.default_rng(0)
    centres = 5 * np.eye(4, 10) + 1
    X = np.repeat(centres, 100, axis=0) + 0.1 * rng.standard_normal((400, 10))
    kmeans = KMeansAtoms(4).fit(X)
    atoms = torch.from_numpy(kmeans.components_)
    truth = torch.from_numpy(centres - centres.mean(axis=0))
    assert recovery(atoms, truth).min() > 0.99
    codes = Dictionary.from_estimator(kmeans, Site(0), encoder="nnls").encode(torch.from_numpy(X))
    assert (codes.argmax(dim=1).reshape(4, 100).mode(dim=1).values.unique()).numel() == 4
    assert torch.equal(codes.argmax(dim=1).reshape(4, 100).amin(1), codes.argmax(1)[::100])
