"""Contexts show where a feature fires, each token type once before any comes twice."""

import numpy as np
import torch

import builders
from cofire.activations import TokenTable
from cofire.corpus import Corpus, Text
from cofire.interpret.contexts import ContextFinder, firing_types, row_types


def finder(texts: list[str], column: list[float], **options) -> ContextFinder:
    tokens = builders.token_table(texts)
    corpus = Corpus(Text(text, label=f"label {i}") for i, text in enumerate(texts))
    return ContextFinder(
        torch.tensor(column, dtype=torch.float32)[:, None], tokens, corpus, **options
    )


def focus(context) -> str:
    return context.tokens[context.focus]


def test_every_token_type_comes_once_before_any_comes_twice():
    texts = ["Monday", "on Monday", "by monday", "next Friday"]
    column = [9, 0, 8, 0, 7, 0, 1]
    two = finder(texts, column).top(0, 2)
    assert [focus(context) for context in two] == ["Monday", " Friday"]
    three = finder(texts, column).top(0, 3)
    assert [focus(context) for context in three] == ["Monday", " Monday", " Friday"]


def test_repeats_never_show_the_same_text_again():
    found = finder(["go go go", "stop"], [3, 2, 1, 0]).top(0, 5)
    assert [context.row for context in found] == [0]


def test_silent_rows_are_no_contexts():
    assert finder(["a b"], [0, 0]).top(0, 5) == []
    assert finder(["a b"], [0, 0]).at_quantiles(0) == []


def test_a_window_stays_inside_its_text_and_marks_the_firing_token():
    texts = ["a b c d e", "f g"]
    context = finder(texts, [0, 0, 5, 0, 0, 0, 0], window=1).top(0, 1)[0]
    assert context.tokens == (" b", " c", " d")
    assert context.focus == 1
    assert context.codes == (0, 5, 0)
    assert (context.text_id, context.label, context.quantile) == (0, "label 0", None)
    last = finder(texts, [0, 0, 0, 0, 0, 4, 0]).top(0, 1)[0]
    assert last.tokens == ("f", " g")


def test_quantile_contexts_descend_through_the_positive_codes():
    texts = [f"word{i}" for i in range(100)]
    found = finder(texts, [float(i) for i in range(100)]).at_quantiles(0, n=1)
    assert [context.quantile for context in found] == [0.99, 0.9, 0.75, 0.5]
    expected = np.quantile(np.arange(1.0, 100.0), [0.99, 0.9, 0.75, 0.5])
    assert np.allclose([context.code for context in found], expected, atol=1)


def test_firing_types_count_strong_rows_only_and_fold_case():
    tokens = builders.token_table(["Red red", "blue red"])
    codes = torch.tensor([[4.0], [3.0], [1.9], [2.0]])
    assert list(firing_types(codes, tokens)) == [[("red", 3)]]
    assert list(firing_types(torch.zeros(4, 1), tokens)) == [[]]


def test_quantile_contexts_repeat_no_row():
    texts = [f"word{i}" for i in range(40)]
    found = finder(texts, [float(i) for i in range(40)])
    top = found.top(0, 12)
    others = found.at_quantiles(0, without=top)
    rows = [context.row for context in (*top, *others)]
    assert len(set(rows)) == len(rows)
    assert [context.quantile for context in others] == [0.75, 0.75, 0.5, 0.5]
    few = finder(texts[:5], [5, 4, 3, 2, 1])
    assert few.at_quantiles(0, without=few.top(0, 5)) == []


def byte_tokens() -> tuple[TokenTable, Corpus]:
    """Two texts in a tokenizer of bytes: of 鬱 and 東 the first token has all, the others none."""
    pieces = ("a", "鬱", "", " b", "東")
    of_row = np.array([0, 1, 2, 2, 3, 2, 4, 2, 2], np.int32)
    text_id = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1], np.int32)
    table = TokenTable(text_id, np.arange(9, dtype=np.int32), of_row, of_row, pieces)
    return table, Corpus([Text("a鬱 b"), Text("東")])


def test_further_bytes_of_a_character_are_of_its_type():
    table, corpus = byte_tokens()
    numbers, names = row_types(table)
    assert [names[number] for number in numbers] == [
        "a", "鬱", "鬱", "鬱", "b", "", "東", "東", "東",
    ]  # fmt: skip
    codes = torch.tensor([0.0, 0, 0, 5, 0, 0, 0, 6, 4])[:, None]
    assert list(firing_types(codes, table)) == [[("東", 2), ("鬱", 1)]]
    assert [context.row for context in ContextFinder(codes, table, corpus).top(0, 2)] == [7, 3]
