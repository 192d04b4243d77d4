"""Features of planted data read as what was planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import builders
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.interpret.concepts import concept_profile, text_scores
from cofire.interpret.reading import read_features
from cofire.site import Site


@pytest.fixture(scope="module")
def features():
    # A penalty keeps the code of the duplicate pair on one of the two, as exact ties would not.
    dictionary = Dictionary(builders.atoms(), builders.SITE, penalty=0.1)
    return read_features(dictionary, builders.activations())


def test_planted_concepts_are_named_with_held_out_evidence(features):
    colour = features[1]
    assert colour.concept.concept == "colour"
    assert colour.concept.auroc == 1.0
    assert colour.concept.n_positive == 4
    assert colour.concept.interval[0] < 1.0
    assert colour.concept.sure
    assert colour.label.startswith("colour: ")
    assert "red" in colour.label or "blue" in colour.label


def test_contexts_and_types_come_from_training_texts_only(features):
    shown = {context.tokens[context.focus].strip() for context in features[1].contexts}
    assert shown <= set("red blue green pink grey brown white black".split())
    assert len(shown) == 8


def test_a_context_names_its_row_of_the_activations(features):
    data = builders.activations()
    for context in features[1].contexts:
        assert data.tokens.surface(context.row) == context.tokens[context.focus]
        assert data.tokens.text_id[context.row] == context.text_id


def test_a_feature_of_one_token_is_flagged(features):
    assert features[2].one_token
    assert features[2].firing_types[0][0] == "the"
    assert not features[1].one_token


def test_two_firings_are_no_one_token_feature():
    data = builders.activations()
    codes = torch.zeros(len(data), 1)
    codes[:2] = 1.0  # on the same token of one text twice
    tokens = replace(data.tokens, piece=np.zeros_like(data.tokens.piece))
    dictionary = Dictionary(builders.atoms()[:1], builders.SITE)
    read = read_features(dictionary, replace(data, tokens=tokens), codes=codes)
    assert read[0].firing_types[0][1] == 2
    assert not read[0].one_token
    codes[2] = 1.0
    assert read_features(dictionary, replace(data, tokens=tokens), codes=codes)[0].one_token


def test_features_selecting_a_concept_are_not_ordered_by_held_out_texts(features):
    lucky = replace(features[1], index=8, concept=replace(features[1].concept, auroc_train=0.7))
    honest = replace(features[1], index=9, concept=replace(features[1].concept, auroc=0.8))
    both = replace(features, features=(lucky, honest))
    assert [feature.index for feature in both.selecting("colour")] == [9, 8]


def test_shards_are_read_as_one_matrix(features):
    data = builders.activations()
    dictionary = Dictionary(builders.atoms(), builders.SITE, penalty=0.1)
    again = read_features(dictionary, replace(data, shards=tuple(data.X.split(7))))
    assert [feature.label for feature in again] == [feature.label for feature in features]
    assert again.fit.relative_loss == pytest.approx(features.fit.relative_loss)
    assert again.heldout.relative_loss == pytest.approx(features.heldout.relative_loss)


def test_duplicates_and_dead_features_are_flagged(features):
    assert features[0].duplicate
    assert features[3].duplicate
    assert features[0].nearest == 3
    assert features[4].dead
    assert features[4].label == "never fires"
    assert features[4].contexts == ()
    assert "dead" in features[4].flags


def test_neurons_are_the_group_largest_first(features):
    channels = [channel for channel, _ in features[0].neurons]
    assert channels[0] == 0
    assert set(channels) == {0, 1, 2}
    assert features[4].neurons == ()


def test_figures_of_the_whole_tell_fitted_from_held_out_rows(features):
    held = sum(text.split == "heldout" for text in builders.labelled_corpus())
    assert features.heldout.rows > held
    assert features.fit.explained_variance > 0.9
    assert features.heldout.explained_variance > 0.9


def test_search_and_selecting_find_features(features):
    assert features[1] in features.search("COLOUR")
    assert features[1] in features.search("pink")
    assert features.selecting("colour")[0].index == 1
    assert features.search("no such thing") == []


def test_without_a_model_there_are_no_promoted_tokens(features):
    assert features[0].vocabulary is None


def test_any_fitted_estimator_can_be_read():
    data = builders.activations()
    found = read_features(PCA(3).fit(data.X.numpy()), data)
    assert len(found) == 3


def test_rows_of_another_site_are_refused():
    dictionary = Dictionary(builders.atoms(), Site(7, "mlp"))
    with pytest.raises(InputError, match=r"blocks\.7\.mlp\.hook_post"):
        read_features(dictionary, builders.activations())


def test_a_corpus_without_training_texts_is_refused():
    data = builders.activations()
    held = Corpus(replace(text, split="heldout") for text in data.corpus)
    with pytest.raises(InputError, match="All texts are held out"):
        read_features(Dictionary(builders.atoms(), builders.SITE), replace(data, corpus=held))


def test_unlabelled_texts_leave_concepts_missing():
    data = builders.activations()
    plain = Corpus(replace(text, label=None) for text in data.corpus)
    found = read_features(Dictionary(builders.atoms(), builders.SITE), replace(data, corpus=plain))
    assert found[1].concept is None
    assert found[1].concept_scores == ()
    assert found[1].label != ""


def test_a_concept_without_held_out_texts_is_not_confirmed():
    data = builders.activations()
    corpus = Corpus(replace(text, split="train") for text in data.corpus)
    found = read_features(Dictionary(builders.atoms(), builders.SITE), replace(data, corpus=corpus))
    assert found[1].concept.auroc is None
    assert not found[1].concept.sure
    assert not found[1].label.startswith("colour: ")
    assert found.heldout is None


def test_the_concept_is_chosen_without_looking_at_held_out_texts():
    data = builders.activations()
    codes = Dictionary(builders.atoms(), builders.SITE).encode(data.X)
    swapped = {"animal": "colour", "colour": "animal"}
    corpus = Corpus(
        replace(text, label=swapped.get(text.label, text.label))
        if text.split == "heldout"
        else text
        for text in data.corpus
    )
    profile = concept_profile(codes, data.tokens.text_id, corpus)
    assert profile.best[1].concept == "colour"
    assert profile.best[1].auroc < 0.6


def test_a_text_scores_its_strongest_token():
    codes = torch.tensor([[1.0], [5.0], [2.0]])
    scores = text_scores(codes, builders.token_table(["a b", "c"]).text_id, 3)
    assert scores[:2, 0].tolist() == [5.0, 2.0]
    assert torch.isnan(scores[2, 0])


def test_a_text_with_a_row_of_zeros_still_scores_by_its_other_tokens():
    codes = torch.tensor([[float("nan"), 1.0], [-3.0, 4.0], [float("nan"), 2.0]])
    scores = text_scores(codes, builders.token_table(["a b", "c"]).text_id, 2)
    assert scores[0].tolist() == [-3.0, 4.0]
    assert torch.isnan(scores[1, 0])
    assert scores[1, 1] == 2.0
