"""Planted problems are named with their figure and advice; what was not measured is not healthy."""

from dataclasses import replace

import numpy as np
import pytest

import builders
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.detection import detect
from cofire.evaluation.detection_records import detection_of
from cofire.evaluation.detection_sentences import known_sentences, labelled_sentences
from cofire.evaluation.diagnosis import diagnose
from cofire.evaluation.diagnosis_records import SteeringEffects
from cofire.interpret.reading import read_features


@pytest.fixture(scope="module")
def read():
    dictionary = Dictionary(builders.atoms(), builders.SITE)
    codes = dictionary.encode(builders.activations())
    codes[:, 3] = 0.5 * codes[:, 0]  # the copy fires as well: collapsed, not dead
    return read_features(dictionary, builders.activations(), codes=codes)


def indices(finding):
    return [feature.index for feature in finding.features]


def test_dead_and_collapsed_features_are_named_with_advice(read):
    found = diagnose(read, sparsity=0.1)
    dead = found.finding("dead")
    assert indices(dead) == [4]
    assert (dead.looked_at, dead.missing, dead.share) == (5, 0, 0.2)
    assert [change.setting for change in dead.changes] == ["k", "data", "sparsity"]
    assert "about 4" in dead.changes[0].words
    assert "0.2" in dead.changes[2].words
    collapsed = found.finding("collapsed")
    assert sorted(indices(collapsed)) == [0, 3]
    assert collapsed.looked_at == 4
    assert collapsed.features[0].value == pytest.approx(1.0)
    assert "about 3" in collapsed.changes[0].words
    assert found.affected == (0, 3, 4)


def test_without_steering_nothing_is_called_causal(read):
    found = diagnose(read).finding("non-causal")
    assert not found.measured
    assert found.share is None
    assert (found.missing, found.features) == (5, ())
    assert "steer the features" in found.note


def test_features_that_steer_no_better_than_null_directions_are_non_causal(read):
    null = tuple(np.linspace(0, 1, 21).tolist())
    effects = SteeringEffects("shift", "logits", (3.0, 0.5, None, float("nan"), 0.1), null)
    found = diagnose(read, steering=effects).finding("non-causal")
    assert found.limit == pytest.approx(0.95)
    assert (indices(found), found.looked_at, found.missing) == ([1], 2, 3)
    assert "0.5 logits" in found.features[0].words
    assert {change.setting for change in found.changes} == {"layer", "k"}
    assert "after 2" in found.changes[0].words
    nothing = diagnose(read, steering=SteeringEffects("shift", "logits", (None,) * 5))
    assert nothing.finding("non-causal").note
    without_null = SteeringEffects("shift", "logits", (3.0, 0.5, -0.1, 0.0, 0.1))
    assert indices(diagnose(read, steering=without_null).finding("non-causal")) == [2, 3]


def test_negative_detection_comes_from_detection_or_else_from_held_out_texts(read):
    has = np.zeros((4, 5), dtype=bool)
    has[:2] = True
    maxima = np.array([[0.9, 0.1, 0.4, -0.1, 0.5]] * 2 + [[0.3, 0.3, -0.1, 0.2, 0.4]] * 2)
    detection = detection_of("cosine", "extended", known_sentences(has, ~has), maxima)
    found = diagnose(read, detection=detection).finding("negative-detection")
    assert indices(found) == [3, 1]  # worst first; feature 4 is dead
    assert found.features[0].value == -np.inf
    assert "not above 0" in found.features[0].words
    assert "S_CD = -1.10" in found.features[1].words
    assert (found.figure, found.looked_at, found.missing) == ("S_CD by cosine", 4, 1)
    heldout = diagnose(read).finding("negative-detection")
    assert heldout.figure == "held-out AUROC of its concept"
    assert heldout.features == ()
    worse = replace(
        read,
        features=tuple(
            replace(f, concept=replace(f.concept, auroc=0.3)) if f.index == 1 else f for f in read
        ),
    )
    named = diagnose(worse).finding("negative-detection")
    assert indices(named) == [1]
    assert "'colour'" in named.features[0].words
    assert "AUROC = 0.30" in named.features[0].words


def test_real_detection_of_planted_features_finds_nothing_wrong(read):
    data = builders.activations()
    concepts = [f.concept.concept if f.concept else None for f in read]
    detection = detect(
        Dictionary(builders.atoms(), builders.SITE), data, labelled_sentences(data, concepts)
    )["codes"]
    found = diagnose(read, detection=detection).finding("negative-detection")
    assert 0 not in indices(found)
    assert 1 not in indices(found)


def test_results_of_other_features_are_refused(read):
    with pytest.raises(InputError, match="steering is of 2 features, but 5 were read"):
        diagnose(read, steering=SteeringEffects("shift", "logits", (1.0, 2.0)))
