"""Concept detection on planted features, against the formula written out, with every outcome."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import builders
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.best_features import feature_table
from cofire.evaluation.detection import detect
from cofire.evaluation.detection_measures import (
    concept_detection,
    detected_share,
    detection_auroc,
    detection_precision,
    sentence_intervals,
)
from cofire.evaluation.detection_records import detection_of
from cofire.evaluation.detection_sentences import (
    known_sentences,
    labelled_sentences,
    written_corpus,
    written_sentences,
)
from cofire.evaluation.detection_windows import context_windows
from cofire.site import Site

CONCEPTS = ["animal", "colour", "animal", None, "colour"]


@dataclass(frozen=True)
class Sentences:
    """As a language model wrote them."""

    label: str
    activating: tuple[str, ...]
    neutral: tuple[str, ...]
    missing: int = 0


def planted():
    return Dictionary(builders.atoms(), builders.SITE, penalty=0.01), builders.activations()


def by_hand(maxima, up, down):
    """Sentences with given maxima, the first of them activating."""
    maxima = np.asarray(maxima, dtype=float)
    n, features = maxima.shape
    mask = np.zeros((n, features), dtype=bool)
    mask[:up] = True
    other = np.zeros_like(mask)
    other[up : up + down] = True
    sentences = known_sentences(mask, other)
    return detection_of("cosine", "extended", sentences, maxima)


def test_planted_features_are_detected_and_the_formula_is_the_published_one():
    dictionary, data = planted()
    sentences = labelled_sentences(data, CONCEPTS)
    found = detect(dictionary, data, sentences)
    assert set(found) == {"cosine", "codes"}
    cosine = found["cosine"]
    assert cosine.outcomes[0] == "scored"
    assert cosine.outcomes[3] == "no concept"
    assert cosine.outcomes[4] == "no atom"
    X = data.X
    unit = builders.atoms()[0]
    means = {True: [], False: []}
    for text_id, text in enumerate(data.corpus):
        if text.split != "heldout":
            continue
        rows = X[torch.from_numpy(data.tokens.text_id == text_id)]
        means[text.label == "animal"].append(float((rows @ unit / rows.norm(dim=1)).max()))
    expected = math.log(np.mean(means[True]) / np.mean(means[False]))
    assert cosine.log_ratio[0] == pytest.approx(expected, abs=1e-4)
    assert (cosine.n_activating[0], cosine.n_neutral[0]) == (len(means[True]), len(means[False]))
    truth = [True] * len(means[True]) + [False] * len(means[False])
    scores = means[True] + means[False]
    assert cosine.auroc[0] == pytest.approx(roc_auc_score(truth, scores))
    assert cosine.average_precision[0] == pytest.approx(average_precision_score(truth, scores))


def test_codes_of_exactly_zero_on_neutral_sentences_are_the_best_outcome_not_a_dropped_one():
    dictionary, data = planted()
    codes = dictionary.encode(data)
    codes[:, 0] = 0
    codes[torch.from_numpy(data.X[:, 0].numpy() > 1), 0] = 2.0
    found = detect(dictionary, data, labelled_sentences(data, CONCEPTS), codes=codes)["codes"]
    assert found.outcomes[0] == "only activating positive"
    assert np.isnan(found.log_ratio[0])
    assert found.order[0] == np.inf
    assert found.auroc[0] == 1.0


def test_codes_that_are_known_and_codes_that_are_computed_give_the_same():
    dictionary, data = planted()
    sentences = labelled_sentences(data, CONCEPTS)
    known = detect(dictionary, data, sentences, codes=dictionary.encode(data))["codes"]
    fresh = detect(dictionary, data, sentences)["codes"]
    np.testing.assert_allclose(known.maxima, fresh.maxima, atol=1e-5)


def test_the_published_protocol_takes_five_sentences_and_the_cosine_only():
    dictionary, data = planted()
    texts = [replace(text, split="heldout") for text in data.corpus]
    data = replace(data, corpus=Corpus(texts))
    sentences = labelled_sentences(data, CONCEPTS)
    found = detect(dictionary, data, sentences, protocol="published", seed=3)
    assert set(found) == {"cosine"}
    assert found["cosine"].n_activating.tolist() == [5, 5, 5, 0, 0]
    assert found["cosine"].n_neutral.tolist() == [5, 5, 5, 0, 0]
    again = detect(dictionary, data, sentences, protocol="published", seed=3)["cosine"]
    assert again.order[:3].tolist() == found["cosine"].order[:3].tolist()
    used = found["cosine"].sentences
    assert (used.activating[:, 0] == used.activating[:, 2]).all()


def test_every_sign_of_the_means_has_its_outcome():
    found = by_hand(
        [[0.6, 0.2, -0.1, -0.1], [0.6, 0.2, -0.1, -0.1], [0.3, -0.1, 0.2, -0.2], [0.3, 0, 0.2, 0]],
        up=2,
        down=2,
    )
    assert found.outcomes == (
        "scored",
        "only activating positive",
        "only neutral positive",
        "neither positive",
    )
    assert found.log_ratio[0] == pytest.approx(math.log(2))
    assert np.isnan(found.log_ratio[1:]).all()
    assert found.order[1:3].tolist() == [np.inf, -np.inf]
    assert np.isnan(found.order[3])
    share = detected_share(found)
    assert (share.value, share.n, share.missing) == (pytest.approx(2 / 3), 3, 1)
    median = concept_detection(found)
    assert (median.value, median.n, median.missing) == (pytest.approx(math.log(2)), 3, 1)
    # AUROC does not need a sign: negative scores that are in order are told apart.
    assert found.auroc.tolist() == [1.0, 1.0, 0.0, 0.5]


def test_a_concept_with_one_sentence_is_missing_and_says_so():
    found = by_hand([[0.9], [0.1], [0.2]], up=1, down=2)
    assert found.outcomes == ("too few sentences",)
    assert np.isnan(found.auroc).all()
    assert np.isnan(found.average_precision).all()
    assert concept_detection(found).value is None
    assert detection_auroc(found).missing == 1


def test_texts_without_tokens_are_counted_as_missing():
    _, data = planted()
    held = [i for i, text in enumerate(data.corpus) if text.split == "heldout"]
    lost = data.take(data.tokens.text_id != held[0])
    assert data.corpus[held[0]].label == "animal"
    whole, less = labelled_sentences(data, CONCEPTS), labelled_sentences(lost, CONCEPTS)
    assert whole.missing.sum() == 0
    assert less.missing.tolist() == [1, 1, 1, 0, 1]
    assert len(less) == len(whole) - 1


def test_unlabelled_texts_are_neither_activating_nor_neutral():
    _, data = planted()
    before = labelled_sentences(data, CONCEPTS)
    texts = list(data.corpus)
    held = next(i for i, text in enumerate(texts) if text.split == "heldout")
    texts[held] = replace(texts[held], label=None)
    after = labelled_sentences(replace(data, corpus=Corpus(texts)), CONCEPTS)
    assert len(after) == len(before) - 1
    nameless = Corpus(replace(text, label=None) for text in data.corpus)
    with pytest.raises(InputError, match="No heldout text has a label"):
        labelled_sentences(replace(data, corpus=nameless), CONCEPTS)


def test_written_sentences_are_captured_as_texts_and_found_again():
    texts = [text.text for text in builders.labelled_corpus()]
    written = [
        Sentences("animals", tuple(texts[0:6:3]), tuple(texts[1:7:3])),
        None,
        Sentences("colours", tuple(texts[1:7:3]), tuple(texts[0:3:3]), missing=1),
    ]
    corpus = written_corpus(written)
    assert len(corpus) == 7
    data = builders.activations()
    rows = np.concatenate(
        [np.flatnonzero(data.tokens.text_id == texts.index(text.text)) for text in corpus]
    )
    taken = data.take(rows)
    text_id = np.repeat(
        np.arange(7), [(data.tokens.text_id == texts.index(text.text)).sum() for text in corpus]
    ).astype(np.int32)
    captured = replace(taken, tokens=replace(taken.tokens, text_id=text_id), corpus=corpus)
    sentences = written_sentences(captured, written)
    assert sentences.concepts == ("animals", None, "colours")
    assert sentences.missing.tolist() == [0, 0, 1]
    dictionary = Dictionary(builders.atoms()[:3], builders.SITE)
    found = detect(dictionary, captured, sentences, protocol="published")["cosine"]
    assert found.outcomes[0] == "scored"
    assert found.order[0] > 1
    assert found.outcomes[1:] == ("no concept", "too few sentences")
    with pytest.raises(InputError, match="not of the 7 written ones"):
        written_sentences(data, written)


def test_windows_are_judged_by_cosine_and_not_by_the_codes_that_chose_them():
    dictionary, data = planted()
    codes = dictionary.encode(data)
    sentences = context_windows(data, codes, n=3, window=1, seed=1)
    assert (sentences.activating & sentences.neutral).sum() == 0
    held = np.array([text.split == "heldout" for text in data.corpus])
    assert held[data.tokens.text_id[sentences.start]].all()
    assert held[data.tokens.text_id[sentences.stop - 1]].all()
    for feature in range(5):
        own = sentences.activating[:, feature]
        other = sentences.neutral[:, feature]
        for i in np.flatnonzero(own):
            assert (
                (sentences.stop[other] <= sentences.start[i])
                | (sentences.start[other] >= sentences.stop[i])
            ).all()
    found = detect(dictionary, data, sentences)
    assert found["cosine"].outcomes[0] == "scored"
    assert found["cosine"].auroc[0] > 0.5
    assert set(found["codes"].outcomes) == {"chosen by these codes"}
    assert detection_auroc(found["codes"]).missing == 5
    assert sentences.missing[4] >= 3  # an atom of zeros has no context
    again = context_windows(data, codes, n=3, window=1, seed=1)
    assert (again.start == sentences.start).all()


def test_rows_out_of_order_are_refused():
    dictionary, data = planted()
    mixed = data.take(np.random.default_rng(0).permutation(len(data)))
    with pytest.raises(InputError, match="do not stand together"):
        labelled_sentences(mixed, CONCEPTS)
    sentences = labelled_sentences(data, CONCEPTS)
    with pytest.raises(InputError, match="capture the dictionary's own site"):
        detect(replace(dictionary, site=Site(3, "mlp")), data, sentences)
    with pytest.raises(InputError, match="for 5 features; the dictionary has 4"):
        detect(Dictionary(builders.atoms()[:4], builders.SITE), data, sentences)


def random_detection(seed, features=12, effect=0.4):
    rng = np.random.default_rng(seed)
    maxima = rng.lognormal(0.0, 0.5, size=(60, features))
    maxima[:20] *= np.exp(effect)
    return by_hand(maxima, up=20, down=40)


def test_drawing_sentences_again_agrees_with_computing_again():
    found = random_detection(0)
    drawn = found.resampled(resamples=3, seed=5)
    rng = np.random.default_rng(5)
    groups = {g: np.flatnonzero(found.sentences.group == g) for g in (0, 1)}
    weights = {
        g: rng.multinomial(len(m), np.full(len(m), 1 / len(m)), size=3)
        for g, m in sorted(groups.items())
    }
    up = np.repeat(found.maxima[groups[1], 0], weights[1][2])
    down = np.repeat(found.maxima[groups[0], 0], weights[0][2])
    assert drawn["order"][2, 0] == pytest.approx(math.log(up.mean() / down.mean()))
    truth = [1] * len(up) + [0] * len(down)
    assert drawn["auroc"][2, 0] == pytest.approx(roc_auc_score(truth, [*up, *down]))


@pytest.mark.parametrize("measure", [concept_detection, detection_auroc, detected_share])
@pytest.mark.parametrize("over", ["features", "sentences"])
def test_intervals_hold_the_value(measure, over):
    found = measure(random_detection(1), over=over, resamples=300, seed=0)
    assert found.interval.low <= found.value <= found.interval.high
    assert found.seed == (None if found.interval.method == "wilson" else 0)


def test_sentence_intervals_hold_the_truth():
    held = []
    for seed in range(20):
        found = sentence_intervals(random_detection(seed), resamples=300, seed=seed)
        held += [one.low <= 0.4 <= one.high for one in found]
    assert 0.87 <= np.mean(held) <= 0.98


def test_a_sentence_interval_reaches_infinity_where_a_mean_may_vanish():
    found = by_hand([[0.5], [0.6], [-0.3], [0.31], [0.0]], up=2, down=3)
    assert found.outcomes == ("scored",)
    (interval,) = sentence_intervals(found)
    assert interval.high == np.inf
    assert concept_detection(found, over="sentences").interval is None


def test_average_precision_knows_its_chance_level():
    found = random_detection(0)
    assert found.prevalence == pytest.approx(1 / 3)
    precision = detection_precision(found)
    assert 1 / 3 < precision.value < 1
    assert precision.n == 12


def test_features_of_one_concept_are_drawn_together():
    dictionary, data = planted()
    found = detect(dictionary, data, labelled_sentences(data, CONCEPTS))["codes"]
    assert found.feature_groups.tolist() == [0, 1, 0, 2, 1]


def test_dead_features_are_not_tested_for_any_concept():
    dictionary, data = planted()
    table, figures = feature_table(dictionary, data, torch.zeros(len(data), 5))
    assert table["concept"].null_count == 5
    assert all(math.isnan(value) for value in table["codes_auroc"].to_pylist())
    found = [one for one in figures["estimates"] if one["measure"] == "detection-auroc"]
    assert [(one["value"], one["n"]) for one in found] == [(None, 0)] * 2
