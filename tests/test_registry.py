"""Contracts that every registered method keeps."""

import pytest
import torch

import builders
from cofire import registry
from cofire.errors import InputError
from cofire.registry import Method, MethodSettings, method_named, methods


@pytest.fixture(scope="module", params=builders.method_parameters())
def fitted(request):
    method = method_named(request.param)
    data = builders.activations(noise=0.05).where_split("train")
    estimator = method.estimator(settings_of(method))
    estimator.fit(data)
    return method, data, method.dictionary(estimator, data.site, {"method": method.name})


def settings_of(method: Method) -> MethodSettings:
    """Three features where the number is free, quick where training takes long."""
    size = {} if method.needs_labels else {"n_components": 3}
    shape = {"sparsity": 0.3} if "sparsity" in method.honours else {}
    brief = {"max_iter": 200} if method.encoder in ("relu", "topk") else {}
    return MethodSettings(**size, **shape, **brief)


def test_atoms_and_codes_have_the_promised_shapes(fitted):
    method, data, dictionary = fitted
    features = len(data.corpus.concepts) if method.needs_labels else 3
    assert dictionary.atoms.shape == (features, data.shape[1])
    codes = dictionary.encode(data.X)
    assert codes.shape == (len(data), features)
    assert torch.isfinite(codes).all()
    assert torch.isfinite(dictionary.atoms).all()


def test_encoding_is_deterministic_and_independent_of_batches(fitted):
    _, data, dictionary = fitted
    whole = dictionary.encode(data.X)
    assert torch.equal(whole, dictionary.encode(data.X))
    parts = torch.cat([dictionary.encode(data.X[:5]), dictionary.encode(data.X[5:])])
    assert torch.allclose(whole, parts, atol=1e-4)


def test_nonnegative_encoders_keep_their_promise(fitted):
    method, data, dictionary = fitted
    if method.encoder != "linear":
        assert (dictionary.encode(data.X) >= 0).all()


def test_reconstruction_beats_the_mean_row_and_that_of_a_control_beats_nothing(fitted):
    method, data, dictionary = fitted
    X = data.X
    error = (X - dictionary.decode(dictionary.encode(X))).square().sum()
    assert error < (X if method.control else X - X.mean(0)).square().sum()


def test_the_same_seed_gives_the_same_atoms(fitted):
    method, data, dictionary = fitted
    estimator = method.estimator(settings_of(method))
    estimator.fit(data)
    assert torch.equal(method.dictionary(estimator, data.site, {}).atoms, dictionary.atoms)


def test_every_method_says_what_it_is():
    for name, method in methods().items():
        assert name == method.name
        assert method.summary
        assert method.source


def test_a_setting_that_a_method_does_not_use_is_refused():
    with pytest.raises(InputError, match="'pca' has no setting 'sparsity'"):
        method_named("pca").estimator(MethodSettings(sparsity=0.2))


def test_a_method_of_labels_takes_no_number_of_features():
    with pytest.raises(InputError, match="one feature a concept of the labelled texts; leave n_co"):
        method_named("diffmeans").estimator(MethodSettings(n_components=7))


def test_a_plug_in_is_found_and_must_not_take_a_name(monkeypatch):
    class Ours:
        name = value = "ours"

        def load(self):
            return Method("ours", "one line", "us", lambda settings: None, "nnls")

    class Taken(Ours):
        def load(self):
            return Method("pca", "one line", "us", lambda settings: None, "nnls")

    registry.methods.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [Ours()])
    assert "ours" in registry.methods()
    registry.methods.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [Taken()])
    with pytest.raises(InputError, match="'pca', but that name is taken"):
        registry.methods()
    registry.methods.cache_clear()
