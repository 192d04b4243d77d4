"""Four decompositions in one form: what they rebuild, how they are oriented, what they refuse."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import FastICA

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.matching import match_atoms
from cofire.site import Site
from cofire.weights.decompositions import METHODS, decompose
from cofire.weights.icasso import icasso
from cofire.weights.measures import relative_error
from cofire.weights.planted import plant_weights


def low_rank(rows: int = 40, channels: int = 120, rank: int = 12, seed: int = 0) -> LowRankMatrix:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=generator)
    return LowRankMatrix(left, torch.randn(rank, channels, generator=generator))


@pytest.mark.parametrize("samples", ["rows", "columns"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_k_components_of_unit_atoms_in_falling_order(method, samples):
    found = decompose(low_rank(), method, 5, samples=samples)
    assert found.mixing.shape == (40, 5)
    assert found.components.shape == (5, 120)
    assert torch.allclose(found.atoms.norm(dim=1), torch.ones(5), atol=1e-5)
    assert (found.sizes.diff() <= 1e-4).all()
    assert found.converged.shape == (5,)


@pytest.mark.parametrize("samples", ["rows", "columns"])
def test_svd_has_the_smallest_error_and_no_method_beats_it(samples):
    matrix = low_rank()
    best = relative_error(matrix, decompose(matrix, "svd", 5, samples=samples).reconstruction())
    sigma = torch.linalg.svdvals(matrix.dense())
    assert best == pytest.approx(float(sigma[5:].norm() / sigma.norm()), abs=1e-5)
    for method in ("ica", "snmf"):
        found = decompose(matrix, method, 5, samples=samples)
        assert relative_error(matrix, found.reconstruction()) >= best - 1e-5


def test_ica_of_all_components_rebuilds_the_matrix():
    matrix = low_rank()
    found = decompose(matrix, "ica", 12)
    assert relative_error(matrix, found.reconstruction()) < 1e-4


def test_parts_are_not_negative_and_are_those_of_the_magnitudes():
    matrix = low_rank()
    found = decompose(matrix, "nmf", 5)
    assert found.magnitudes
    assert (found.mixing >= 0).all()
    assert (found.components >= 0).all()
    assert relative_error(matrix.dense().abs(), found.reconstruction()) < 0.6
    signed = decompose(matrix, "snmf", 5, samples="rows")
    assert (signed.mixing >= 0).all()
    assert (signed.components < 0).any()


def test_ica_in_rank_space_finds_what_scikit_learn_finds_on_the_dense_matrix():
    matrix = plant_weights("independent", rows=80, channels=400, n_components=6, seed=3).matrix
    ours = decompose(matrix, "ica", 6)
    theirs = FastICA(6, whiten="unit-variance", max_iter=1000, tol=1e-6, random_state=0)
    sources = theirs.fit_transform(matrix.dense().T.numpy())
    centred = ours.codes - ours.codes.mean(dim=0)
    found = match_atoms(centred.T, torch.from_numpy(sources.T.copy()), either_sign=True)
    assert found.cosine.min() > 0.999


def test_the_encoder_of_a_dictionary_gives_the_codes_of_the_fit():
    matrix = low_rank()
    for method in ("svd", "ica"):
        found = decompose(matrix, method, 5, samples="rows")
        dictionary = found.dictionary(Site(3, "resid_post"))
        assert torch.allclose(dictionary.encode(matrix.dense()), found.codes, atol=1e-3)
        assert dictionary.provenance["method"] == method
    parts = decompose(matrix, "nmf", 5, samples="rows").dictionary(Site(3, "resid_post"))
    assert parts.encoder == "nnls"
    assert parts.provenance["matrix"] == "magnitudes"


def test_same_seed_same_components():
    first, second = (decompose(low_rank(), "ica", 5, seed=4) for _ in range(2))
    assert torch.equal(first.components, second.components)


@pytest.mark.parametrize("method", METHODS)
def test_more_components_than_the_rank_are_refused(method):
    with pytest.raises(InputError, match="rank 12"):
        decompose(low_rank(), method, 13)
    with pytest.raises(InputError, match="n_components is 0"):
        decompose(low_rank(), method, 0)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_are_not_finite_are_refused(method):
    matrix = low_rank()
    matrix.left[3, 2] = torch.nan
    for given in (matrix, torch.full((6, 5), torch.inf)):
        with pytest.raises(InputError, match="NaN or infinite"):
            decompose(given, method, 3)


def test_wrong_names_are_refused():
    with pytest.raises(InputError, match="Unknown method 'pca'"):
        decompose(low_rank(), "pca", 3)
    with pytest.raises(InputError, match="does not exist"):
        decompose(low_rank(), "svd", 3).component(3)


def test_what_did_not_converge_is_reported_for_each_component_and_never_stable():
    found = icasso(low_rank(), 8, restarts=4, max_iter=1)
    assert not found.decomposition.converged.any()
    assert found.n_stable == 0
    assert found.converged_share == 0.0


def test_planted_sources_are_stable_and_random_directions_are_not():
    planted = icasso(plant_weights("independent", seed=1).matrix, 8, restarts=10)
    assert planted.n_stable == 8
    assert planted.index.min() > 0.8
    nothing = icasso(plant_weights("none", seed=1).matrix, 8, restarts=10)
    assert nothing.n_stable == 0
    assert np.all((nothing.index <= 1) & (nothing.index >= -1))


def test_components_of_one_cluster_count_once():
    found = icasso(plant_weights("none", seed=2).matrix, 8, restarts=6, stable_index=-1.0)
    assert found.n_stable <= len(np.unique(found.cluster))


def test_picard_finds_the_same_sources():
    pytest.importorskip("picard")
    matrix = plant_weights("independent", seed=5).matrix
    fast = icasso(matrix, 8, restarts=4)
    quasi = icasso(matrix, 8, restarts=4, algorithm="picard")
    found = match_atoms(fast.decomposition.atoms, quasi.decomposition.atoms, either_sign=True)
    assert found.cosine.min() > 0.99


def test_stability_needs_two_runs():
    with pytest.raises(InputError, match="at least two runs"):
        icasso(low_rank(), 3, restarts=1)
