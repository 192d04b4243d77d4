"""Tokens: which become rows, what their pieces are, and texts that give none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase

from cofire.activations import TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import DataError, InputError
from cofire.models.tokens import tokenize


def joined(table: TokenTable, text_id: int) -> str:
    """The pieces of one text, in order."""
    return "".join(table.surface(row) for row in np.flatnonzero(table.text_id == text_id))


def test_pieces_join_to_the_text(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> None:
    table = tokenize(tokenizer, corpus, range(len(corpus))).table
    assert [joined(table, i) for i in range(len(corpus))] == [text.text for text in corpus]


@settings(max_examples=100, deadline=None)
@given(text=st.text(min_size=1).filter(str.strip))
def test_pieces_of_any_text_join_to_it(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert joined(tokenize(tokenizer, Corpus([Text(text)]), [0]).table, 0) == text


def test_split_character_belongs_to_its_first_token(tokenizer: PreTrainedTokenizerBase) -> None:
    table = tokenize(tokenizer, Corpus([Text("a鬱b")]), [0]).table
    assert [table.surface(row) for row in range(len(table))] == ["a", "鬱", "", "", "b"]


def test_slow_tokenizer_falls_back_on_decoding() -> None:
    text = "naïve 東 x"
    table = tokenize(ByT5Tokenizer(), Corpus([Text(text)]), [0]).table
    assert joined(table, 0) == text
    assert len(table) == len(text.encode())
    assert table.surface(0) == "n"


def test_special_tokens_are_fed_but_are_no_rows(tokenizer: PreTrainedTokenizerBase) -> None:
    corpus = Corpus([Text("to be</s> or")])
    with_bos = tokenize(tokenizer, corpus, [0])
    assert with_bos.ids[0][0] == tokenizer.bos_token_id
    assert not {0, 1, 2} & set(with_bos.table.token_id.tolist())
    assert with_bos.table.position[0] == 1
    assert joined(with_bos.table, 0) == "to be</s> or"
    without = tokenize(tokenizer, corpus, [0], prepend_bos=False)
    assert without.ids[0] == with_bos.ids[0][1:]
    assert without.table.position[0] == 0


def test_long_texts_are_cut_and_named(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> None:
    cut = tokenize(tokenizer, corpus, range(len(corpus)), max_length=5)
    assert max(map(len, cut.ids)) == 5
    whole = tokenize(tokenizer, corpus, range(len(corpus)))
    assert cut.truncated == tuple(i for i, ids in enumerate(whole.ids) if len(ids) > 5)
    assert corpus[0].text.startswith(joined(cut.table, 0))
    with pytest.raises(InputError, match="give at least 2"):
        tokenize(tokenizer, corpus, [0], max_length=1)


@pytest.mark.parametrize("empty", ["", "  \n\t", "</s>"])
def test_text_without_tokens_is_named(tokenizer: PreTrainedTokenizerBase, empty: str) -> None:
    corpus = Corpus([Text("fine"), Text(empty, source="reviews.csv:7"), Text(empty)])
    with pytest.raises(DataError, match=r"reviews\.csv:7: .*skip_empty"):
        tokenize(tokenizer, corpus, range(3))
    with pytest.raises(DataError, match="text 2: "):
        tokenize(tokenizer, corpus, [0, 2])
    kept = tokenize(tokenizer, corpus, range(3), skip_empty=True)
    assert kept.skipped == (1, 2)
    assert set(kept.table.text_id.tolist()) == {0}


def test_text_number_out_of_range(tokenizer: PreTrainedTokenizerBase, corpus: Corpus) -> None:
    with pytest.raises(InputError, match="There is no text 7: the corpus has 7 texts"):
        tokenize(tokenizer, corpus, [7])
