"""Which concept a feature selects: what counts as evidence, and what is left out."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import builders
from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.evaluation.detection import cosines
from cofire.interpret.concepts import ConceptMatch, concept_profile
from cofire.interpret.contexts import strong_firings


def codes_and_data():
    data = builders.activations()
    return Dictionary(builders.atoms(), builders.SITE, penalty=0.1).encode(data.X), data


def test_a_missing_p_value_is_no_evidence():
    known = ConceptMatch("law", 0.9, 0.95, (0.8, 1.0), 1e-4, 7, 90, 0.9)
    assert known.sure
    assert not replace(known, p_value=None).sure
    assert not replace(known, p_value=0.01).sure
    assert not replace(known, auroc=0.8).sure


def test_unlabelled_texts_are_neither_positives_nor_negatives():
    codes, data = codes_and_data()
    before = concept_profile(codes, data.tokens.text_id, data.corpus)
    texts = list(data.corpus)
    # An animal sentence whose label got lost must not count against the feature of animals.
    extra = [Text("the cat sat down", split=split) for split in ("train", "heldout")]
    more = Corpus(texts + extra)
    cat = 10 * codes[data.tokens.text_id == 0]
    text_id = np.concatenate(
        [data.tokens.text_id, *(np.full(len(cat), len(texts) + i) for i in range(2))]
    ).astype(np.int32)
    after = concept_profile(torch.cat([codes, cat, cat]), text_id, more)
    assert after.best == before.best
    neutral = Corpus(texts + [replace(text, label="neutral") for text in extra])
    judged = concept_profile(torch.cat([codes, cat, cat]), text_id, neutral).best[0]
    assert judged.auroc < 1.0
    assert judged.n_negative == before.best[0].n_negative + 1


def test_concepts_of_too_few_training_texts_are_not_tried():
    codes, data = codes_and_data()
    names = iter(range(1000))
    corpus = Corpus(
        replace(text, label=f"rare {next(names)}") if text.label == "neutral" else text
        for text in data.corpus
    )
    profile = concept_profile(codes, data.tokens.text_id, corpus)
    assert profile.concepts == ("animal", "colour")
    assert profile.train.shape == profile.heldout.shape == (5, 2)
    assert profile.best[1].concept == "colour"
    assert profile.best[1].n_negative == 8


def test_precision_is_the_share_of_strong_firings_in_texts_of_the_concept():
    codes, data = codes_and_data()
    profile = concept_profile(codes, data.tokens.text_id, data.corpus)
    rows = np.array([data.corpus[int(i)].split == "train" for i in data.tokens.text_id])
    labels = np.array([data.corpus[int(i)].label for i in data.tokens.text_id])[rows]
    strong = strong_firings(codes[torch.from_numpy(rows)]).numpy()
    for feature, found in enumerate(profile.best):
        fires = strong[:, feature]
        if found is None:
            assert not fires.any()
            continue
        assert found.precision == pytest.approx((labels[fires] == found.concept).mean())


def test_a_feature_that_scores_all_training_texts_alike_has_no_concept():
    codes, data = codes_and_data()
    heldout = np.array([data.corpus[int(i)].split == "heldout" for i in data.tokens.text_id])
    codes[:, 0] = 0.0
    codes[:, 1] *= torch.from_numpy(heldout)
    best = concept_profile(codes, data.tokens.text_id, data.corpus).best
    assert best[0] is None
    assert best[1] is None  # alive on held-out texts only: nothing chose its concept
    assert best[2] is not None


def test_a_row_of_zeros_takes_no_text_from_the_choice_by_cosine():
    _, data = codes_and_data()
    found = cosines(data.X, builders.atoms())
    one_a_text = data.tokens.position == 1  # no concept is told by the first word
    first = torch.from_numpy(one_a_text & (data.tokens.text_id % 3 == 1))
    assert not found[first, :4].isnan().any()
    before = concept_profile(found, data.tokens.text_id, data.corpus)
    found[first] = float("nan")
    after = concept_profile(found, data.tokens.text_id, data.corpus)
    for one in (before.best[1], after.best[1]):
        assert (one.concept, one.auroc, one.n_positive, one.n_negative) == ("colour", 1.0, 4, 8)
    assert after.best[4] is None  # an atom of zeros has no cosine


def test_without_a_strong_firing_precision_is_missing():
    codes, data = codes_and_data()
    signed = codes - codes.max() - 1  # as those of PCA may be: they tell texts, and never fire
    best = concept_profile(signed, data.tokens.text_id, data.corpus).best
    assert best[1].sure
    assert best[1].precision is None
    assert not best[1].names_feature


def test_stored_features_are_read_without_a_model_library():
    code = (
        "import sys, cofire.store, cofire.interpret.reading, cofire.cli.feature_page\n"
        "sys.exit(any(name in sys.modules for name in ('transformers', 'sklearn', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
