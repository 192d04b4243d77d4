"""What the bundled corpus promises to experiments that rely on it."""

from collections import Counter

import pytest

from cofire.corpus import NEUTRAL, Corpus
from cofire.data import bundled_concepts, load_corpus

WEEKDAYS = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
MONTHS = {
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return bundled_concepts()


def test_it_has_many_concepts_with_enough_sentences_on_both_sides(corpus: Corpus) -> None:
    assert len(corpus.concepts) >= 24
    train = Counter(text.label for text in corpus if text.split == "train")
    heldout = Counter(text.label for text in corpus if text.split == "heldout")
    for concept in corpus.concepts:
        assert train[concept] + heldout[concept] >= 20, concept
        assert heldout[concept] >= 5, concept
        assert train[concept] >= 5, concept


def test_it_has_neutral_sentences_on_both_sides(corpus: Corpus) -> None:
    neutral = [text for text in corpus if text.label == NEUTRAL]
    assert len(neutral) >= 100
    assert {text.split for text in neutral} == {"train", "heldout"}


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize(("label", "details"), [("weekday", WEEKDAYS), ("month", MONTHS)])
def test_every_day_and_month_is_in_both_splits(split: str, label: str, details: set[str]) -> None:
    texts = [text for text in bundled_concepts(split=split) if text.label == label]
    assert {text.detail for text in texts} == details
    for text in texts:
        assert text.detail is not None
        assert text.detail in text.text, text


def test_no_text_stands_twice_and_every_text_is_labelled(corpus: Corpus) -> None:
    seen = Counter(" ".join(text.text.casefold().split()) for text in corpus)
    assert [text for text, count in seen.items() if count > 1] == []
    assert all(text.label for text in corpus)
    assert corpus.skipped == ()


def test_a_concept_belongs_to_one_group(corpus: Corpus) -> None:
    pairs = {(text.label, text.group) for text in corpus if text.label != NEUTRAL}
    assert len(pairs) == len(corpus.concepts)
    assert all(group for _, group in pairs)


def test_the_name_and_the_helper_give_the_same(corpus: Corpus) -> None:
    assert load_corpus("concepts").fingerprint == corpus.fingerprint
    assert corpus[0].source == "concepts.jsonl:1"
    sides = [bundled_concepts(split="train"), bundled_concepts(split="heldout")]
    assert sum(map(len, sides)) == len(corpus)
