"""Held-out texts are chosen by seed, label and text alone."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofire.corpus import Corpus, Text
from cofire.data import hold_out, load_corpus
from cofire.errors import DataError


def _corpus(sizes: dict[str | None, int]) -> Corpus:
    return Corpus(
        Text(f"{label} {number}", label=label)
        for label, size in sizes.items()
        for number in range(size)
    )


def _held(corpus: Corpus) -> set[str]:
    return {text.text for text in corpus if text.split == "heldout"}


def test_so_many_texts_of_every_label_are_held_out() -> None:
    corpus = hold_out(_corpus({"a": 20, "b": 6, None: 9}), 5)
    counts = Counter(text.label for text in corpus if text.split == "heldout")
    assert counts == {"a": 5, "b": 5, None: 5}


@pytest.mark.parametrize(("size", "expected"), [(10, 2), (2, 1), (1, 0), (12, 2), (13, 3)])
def test_a_fraction_is_taken_of_every_label(size: int, expected: int) -> None:
    corpus = hold_out(_corpus({"a": size, "b": 100}), 0.2)
    counts = Counter(text.label for text in corpus if text.split == "heldout")
    assert (counts["a"], counts["b"]) == (expected, 20)


def test_a_large_fraction_leaves_a_text_to_train_on() -> None:
    assert len(_held(hold_out(_corpus({"a": 3}), 0.99))) == 2


def test_the_seed_decides_and_the_order_does_not() -> None:
    corpus = _corpus({"a": 40, "b": 40})
    chosen = _held(hold_out(corpus, 10))
    assert _held(hold_out(corpus, 10, seed=0)) == chosen
    assert _held(hold_out(Corpus(reversed(corpus)), 10)) == chosen
    assert _held(hold_out(corpus, 10, seed=1)) != chosen
    assert [text.text for text in hold_out(corpus, 10)] == [text.text for text in corpus]


@given(
    labels=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1),
    amount=st.floats(0.01, 0.99),
    seed=st.integers(),
)
def test_copies_of_a_text_stay_on_one_side(
    labels: list[tuple[str, str]], amount: float, seed: int
) -> None:
    corpus = Corpus(Text(text, label=label) for text, label in labels)
    marked = hold_out(corpus, amount, seed=seed)
    train = {text.text for text in marked if text.split == "train"}
    assert not train & _held(marked)


def test_too_few_texts_are_named() -> None:
    with pytest.raises(DataError, match="Cannot hold out 5 texts of label 'b': it has 5 distinct"):
        hold_out(_corpus({"a": 20, "b": 5}), 5)
    with pytest.raises(DataError, match="of the unlabelled texts: it has 3 distinct"):
        hold_out(_corpus({None: 3}), 3)


def test_texts_that_are_divided_already_are_refused() -> None:
    with pytest.raises(DataError, match="divided into train and heldout already"):
        hold_out(Corpus([Text("a"), Text("b", split="heldout")]), 0.5)


def test_loading_marks_and_filters(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"line {number}\n" for number in range(50)) + "\n")
    whole = load_corpus(path, heldout=10, seed=3)
    assert len(whole) == 50
    assert len(_held(whole)) == 10
    train = load_corpus(path, heldout=10, seed=3, split="train")
    heldout = load_corpus(path, heldout=10, seed=3, split="heldout")
    assert {text.text for text in heldout} == _held(whole)
    assert len(train) == 40
    assert len(load_corpus(path, heldout=2, limit=5)) == 5


def test_loading_keeps_what_was_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{}\n{"text": "b"}\n')
    corpus = load_corpus(path, heldout=1, split="heldout", on_error="skip")
    assert (len(corpus), len(corpus.skipped)) == (1, 1)


def test_holding_out_nothing_of_a_single_text_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("alone\n")
    with pytest.raises(DataError, match="has no heldout texts"):
        load_corpus(path, heldout=0.5, split="heldout")
