"""A stored dictionary in scikit-learn's hands."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from cofire import DictionaryTransformer
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.site import Site
from sample_run import make_run

SITE = Site(1, "mlp")


@pytest.fixture
def transformer(run) -> DictionaryTransformer:
    return DictionaryTransformer.of_run(run)


def test_it_gives_the_stored_codes(transformer, run, acts):
    check_is_fitted(transformer)
    codes = transformer.transform(acts.activations(SITE).X)
    torch.testing.assert_close(torch.from_numpy(codes), run.codes(SITE), rtol=1e-5, atol=1e-6)
    rows = transformer.inverse_transform(codes)
    expected = run.dictionary(SITE).decode(run.codes(SITE))
    torch.testing.assert_close(torch.from_numpy(rows), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(transformer.components_, run.dictionary(SITE).atoms.numpy())


def test_pickled_and_cloned_it_gives_the_same_codes(transformer, acts):
    X = np.asarray(acts.activations(SITE))[:50]
    codes = transformer.transform(X)
    assert np.array_equal(pickle.loads(pickle.dumps(transformer)).transform(X), codes)
    copy = clone(transformer)
    assert copy.dictionary is not transformer.dictionary
    assert np.array_equal(copy.fit(X).transform(X), codes)


def test_a_pipeline_that_clones_it_learns_only_what_follows(transformer, acts):
    rows = acts.activations(SITE)
    lengths = np.array([len(piece) for piece in rows.tokens.pieces])[rows.tokens.piece]
    pipeline = make_pipeline(transformer, LogisticRegression(max_iter=2000))
    scores = cross_val_score(pipeline, np.asarray(rows), lengths > 2, cv=3)
    assert scores.mean() > max((lengths > 2).mean(), (lengths <= 2).mean())


def test_columns_are_called_by_number_and_label(transformer, run):
    names = transformer.get_feature_names_out()
    assert names[3] == f"3 {run.features(SITE)[3].label}"
    table = transformer.set_output(transform="pandas").transform(np.ones((2, 48), np.float32))
    assert list(table.columns) == list(names)
    plain = DictionaryTransformer(Dictionary(torch.eye(2), SITE))
    assert plain.get_feature_names_out().tolist() == ["feature0", "feature1"]


def test_a_run_of_several_layers_wants_one_named(tmp_path):
    run = make_run(tmp_path / "run", n_features=4)
    with pytest.raises(InputError, match="layers 2, 9"):
        DictionaryTransformer.of_run(run)
    assert DictionaryTransformer.of_run(run, 9).dictionary.site == Site(9)


def test_what_does_not_fit_is_refused(transformer):
    with pytest.raises(InputError, match="48 channels .*got 3"):
        transformer.transform(np.ones((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        transformer.transform(np.full((2, 48), np.nan))
    with pytest.raises(InputError, match="with 8 features"):
        transformer.inverse_transform(np.ones((2, 3)))
    with pytest.raises(InputError, match="1 names for 2 features"):
        DictionaryTransformer(Dictionary(torch.eye(2), SITE), ("one",)).get_feature_names_out()
