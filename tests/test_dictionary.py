"""Dictionaries encode by their stated rule and come back from their parts."""

from dataclasses import replace

import pytest
import torch
from sklearn.decomposition import PCA, FactorAnalysis, FastICA

import builders
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.nnls import kkt_residual
from cofire.site import Site

SITE = Site(1, "mlp")


@pytest.fixture
def X():
    # Heavy tails: independent component analysis needs data that are not Gaussian.
    return torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) ** 3


@pytest.fixture
def atoms():
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


def test_nnls_codes_are_optimal(X, atoms):
    codes = Dictionary(atoms, SITE).encode(X)
    assert kkt_residual(X, atoms, codes).max() < 1e-4


def test_linear_relu_and_topk_follow_their_formulas(X, atoms):
    weight, bias, offset = atoms.T.contiguous(), torch.tensor([0.1, -0.2, 0.3, 0.0]), X[0]
    plain = (X - offset) @ weight + bias
    parts = {"encoder_weight": weight, "encoder_bias": bias, "offset": offset}
    linear = Dictionary(atoms, SITE, encoder="linear", **parts)
    relu = Dictionary(atoms, SITE, encoder="relu", **parts)
    topk = Dictionary(atoms, SITE, encoder="topk", top_k=2, **parts)
    assert torch.allclose(linear.encode(X), plain, atol=1e-5)
    assert torch.allclose(relu.encode(X), plain.clamp_min(0), atol=1e-5)
    kept = topk.encode(X)
    assert ((kept > 0).sum(1) <= 2).all()
    assert torch.allclose(kept.amax(1), plain.clamp_min(0).amax(1), atol=1e-5)
    threshold = torch.tensor([0.0, 0.5, 1.0, -1.0])
    jumprelu = Dictionary(atoms, SITE, encoder="jumprelu", threshold=threshold, **parts)
    expected = torch.where(plain > threshold, plain.clamp_min(0), 0.0)
    assert torch.allclose(jumprelu.encode(X), expected, atol=1e-5)
    assert torch.allclose(linear.decode(plain), plain @ atoms + offset, atol=1e-5)


def test_parts_put_together_again_encode_the_same(X, atoms):
    names = ("a", "b", "c", "d")
    dictionary = Dictionary(atoms, SITE, penalty=0.2, feature_names=names, provenance={"seed": 1})
    again = Dictionary.from_parts(dictionary.tensors(), dictionary.settings())
    assert torch.equal(again.encode(X), dictionary.encode(X))
    assert again.settings() == dictionary.settings()


@pytest.mark.parametrize("kind", [PCA, FastICA])
def test_an_estimator_reconstructs_through_its_dictionary_as_by_itself(X, kind):
    estimator = kind(3, random_state=0, tol=1e-2).fit(X.numpy())
    dictionary = Dictionary.from_estimator(estimator, SITE)
    expected = estimator.inverse_transform(estimator.transform(X.numpy()))
    found = dictionary.decode(dictionary.encode(X))
    assert torch.allclose(found, torch.as_tensor(expected, dtype=torch.float32), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "linear"}, "needs an encoder_weight"),
        ({"encoder_weight": torch.zeros(6, 4)}, "takes no encoder_weight"),
        ({"top_k": 2, "encoder": "relu", "encoder_weight": torch.zeros(6, 4)}, "top_k goes"),
        ({"encoder": "jumprelu", "encoder_weight": torch.zeros(6, 4)}, "needs a threshold"),
        ({"threshold": torch.zeros(4)}, "no other takes one"),
        ({"feature_names": ("one",)}, "1 names for 4 features"),
    ],
)
def test_parts_that_do_not_fit_are_refused(atoms, settings, message):
    with pytest.raises(InputError, match=message):
        Dictionary(atoms, SITE, **settings)


def test_rows_of_another_width_are_refused(atoms):
    with pytest.raises(InputError, match="6 channels .*got 5"):
        Dictionary(atoms, SITE).encode(torch.zeros(2, 5))


def test_an_unfitted_estimator_is_refused():
    with pytest.raises(InputError, match="fit it first"):
        Dictionary.from_estimator(PCA(2), SITE)


def test_a_whitening_estimator_is_encoded_as_it_encodes_itself(X):
    fitted = PCA(3, whiten=True).fit(X.double().numpy())
    dictionary = Dictionary.from_estimator(fitted, SITE)
    expected = torch.as_tensor(fitted.transform(X.double().numpy()), dtype=torch.float32)
    assert torch.allclose(dictionary.encode(X), expected, atol=1e-3)


def test_an_estimator_that_cannot_decode_is_refused(X):
    with pytest.raises(InputError, match="no inverse_transform"):
        Dictionary.from_estimator(FactorAnalysis(3).fit(X.numpy()), SITE)


def test_an_estimator_that_is_not_linear_is_not_taken_for_one(X):
    from cofire.factorization import SemiNMF

    snmf = SemiNMF(3, sparsity=0.5).fit(X)
    with pytest.raises(InputError, match="does not encode linearly"):
        Dictionary.from_estimator(snmf, SITE, encoder="linear")


def test_a_rectifying_dictionary_ignores_negative_activations(X, atoms):
    dictionary = Dictionary(atoms, SITE, rectify=True)
    assert torch.equal(dictionary.encode(X), dictionary.encode(X.clamp_min(0)))


def test_shards_encode_as_one_matrix():
    data = builders.activations()
    dictionary = Dictionary(builders.atoms(), data.site)
    halves = replace(data, shards=(data.X[:50], data.X[50:]))
    assert torch.allclose(dictionary.encode(halves), dictionary.encode(data.X), atol=1e-5)
