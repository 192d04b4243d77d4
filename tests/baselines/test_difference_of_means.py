"""Differences of means: from labels of training texts, one feature a concept."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import builders
from cofire.baselines import DifferenceOfMeans
from cofire.corpus import Corpus
from cofire.errors import InputError
from cofire.registry import method_named


def relabelled(data, change):
    texts = [change(number, text) for number, text in enumerate(data.corpus)]
    return replace(data, corpus=Corpus(texts))


def test_atoms_are_the_differences_and_bear_the_concepts_names():
    data = builders.activations()
    fitted = DifferenceOfMeans().fit(data)
    assert fitted.feature_names_ == ("animal", "colour")
    train = np.array([text.split == "train" for text in data.corpus])[data.tokens.text_id]
    label = np.array([text.label for text in data.corpus])[data.tokens.text_id]
    X = data.X.double().numpy()
    for atom, name in zip(fitted.components_, fitted.feature_names_, strict=True):
        inside, outside = X[train & (label == name)], X[train & (label != name)]
        expected = inside.mean(axis=0) - outside.mean(axis=0)
        assert np.allclose(atom, expected / np.linalg.norm(expected), atol=1e-5)
    assert np.allclose(fitted.offset_, X[train].mean(axis=0), atol=1e-6)


def test_held_out_texts_and_texts_without_a_label_take_no_part():
    data = builders.activations()
    fitted = DifferenceOfMeans().fit(data)
    halves = replace(data, shards=(data.X[:50], data.X[50:]))
    assert np.allclose(DifferenceOfMeans().fit(halves).components_, fitted.components_, atol=1e-6)
    train = DifferenceOfMeans().fit(data.where_split("train"))
    assert np.array_equal(train.components_, fitted.components_)
    without = relabelled(data, lambda i, text: replace(text, label=None) if i == 3 else text)
    kept = np.array([i != 3 for i in range(len(data.corpus))])[data.tokens.text_id]
    rest = DifferenceOfMeans().fit(data.take(kept))
    assert np.allclose(DifferenceOfMeans().fit(without).components_, rest.components_, atol=1e-6)


def test_a_concept_of_one_text_is_left_out_and_said(caplog):
    data = relabelled(
        builders.activations(),
        lambda i, text: replace(text, label="lone") if i == 3 else text,
    )
    with caplog.at_level(logging.WARNING, "cofire"):
        fitted = DifferenceOfMeans().fit(data)
    assert fitted.feature_names_ == ("animal", "colour")
    assert "No feature for lone: one training text each" in caplog.text
    dictionary = method_named("diffmeans").dictionary(fitted, data.site, {"n_components": 100})
    assert dictionary.provenance == {"n_components": 2, "left_out": ["lone"]}
    assert dictionary.feature_names == ("animal", "colour")


@pytest.mark.parametrize(
    ("label", "message"),
    [(None, "need labelled training texts"), ("same", "nothing to tell it from")],
)
def test_labels_that_tell_nothing_are_refused(label, message):
    data = relabelled(builders.activations(), lambda i, text: replace(text, label=label))
    with pytest.raises(InputError, match=message):
        DifferenceOfMeans().fit(data)


def test_plain_rows_and_missing_rows_are_refused():
    with pytest.raises(InputError, match="give Activations, not ndarray"):
        DifferenceOfMeans().fit(np.zeros((3, 2)))
    data = builders.activations()
    no_animals = np.array([text.label != "animal" for text in data.corpus])[data.tokens.text_id]
    with pytest.raises(InputError, match="hold no row of animal"):
        DifferenceOfMeans().fit(data.take(no_animals))
