"""What heads do on texts as it is written down, against attention read text by text."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cofire.corpus import Corpus, Text
from cofire.models import attention_patterns
from cofire.models.tokens import tokenize
from cofire.models.weights import ov
from cofire.weights.attention import behaviour_on_texts
from cofire.weights.examination import Settings
from cofire.weights.head_record import HeadRecord
from cofire.weights.heads import read_head
from cofire.weights.on_texts import OnTexts
from cofire.weights.watching import texts_to_watch, watch_heads
from planted_heads import LAYER, Planted

WORDS = ("The train leaves at noon.", "leaves at noon the train", "noon", "At noon at noon at")


def corpus(split: str = "train") -> Corpus:
    return Corpus([Text("not this one"), *(Text(one, split=split) for one in WORDS)])


def watched(planted: Planted, texts: Corpus, **options: object) -> dict[tuple[int, int], OnTexts]:
    return watch_heads(
        planted.model, planted.reader, planted.statistics, texts, data="some texts", **options
    )


def test_heldout_texts_are_read_where_there_are_any() -> None:
    assert texts_to_watch(corpus("heldout")) == [1, 2, 3, 4]
    assert texts_to_watch(corpus()) == [0, 1, 2, 3, 4]
    assert texts_to_watch(corpus(), most=2) == [0, 3]


def test_scores_are_those_of_the_texts(planted: Planted) -> None:
    texts = corpus("heldout")
    found = watched(planted, texts)
    ids = tokenize(planted.model.tokenizer, texts, [1, 2, 3, 4]).ids
    expected = behaviour_on_texts(planted.model, planted.reader, planted.statistics, ids)
    assert set(found) == {(layer, head) for layer in range(3) for head in range(4)}
    for (layer, head), one in found.items():
        assert (one.texts, one.tokens) == (4, expected.n_tokens)
        assert one.data == "some texts"
        assert one.fingerprint == texts.fingerprint
        for name in ("previous", "first", "itself", "copying"):
            assert getattr(one, name) == pytest.approx(getattr(expected, name)[layer, head])


def test_examples_are_the_strongest_attention_beside_the_first_token(planted: Planted) -> None:
    texts = corpus("heldout")
    found = watched(planted, texts, layers=[LAYER])
    assert {layer for layer, _ in found} == {LAYER}
    tokenized = tokenize(planted.model.tokenizer, texts, [1, 2, 3, 4])
    for head in range(4):
        strongest = []
        for ids in tokenized.ids:
            pattern = attention_patterns(planted.model, torch.tensor([ids]), layers=[LAYER])
            own = pattern[LAYER][0, head].clone()
            own[:, 0] = 0
            own[0] = 0
            strongest.append(own)
        examples = found[LAYER, head].examples
        tops = sorted((float(own.max()) for own in strongest), reverse=True)
        np.testing.assert_allclose(
            [one.looks[0].attention for one in examples], tops[:4], rtol=1e-4
        )
        for example in examples:
            place = WORDS.index(example.text)
            assert "".join(example.tokens) == WORDS[place]
            for look in example.looks:
                expected = float(strongest[place][look.position, look.attended])
                assert look.attention == pytest.approx(expected, rel=1e-4)
                assert look.attended >= 1
            pair = example.pairs[0]
            assert pair[0] == example.tokens[example.looks[0].position]


def test_a_record_gives_it_back_and_older_ones_have_none(planted: Planted) -> None:
    on_texts = watched(planted, corpus(), layers=[LAYER])[LAYER, 0]
    settings = Settings(n_components=3, methods=("svd",), draws=2)
    record, _ = read_head(ov(planted.model, LAYER, 0), LAYER, 0, settings=settings)
    old = record.record()
    del old["on_texts"]
    assert HeadRecord.from_record(old).on_texts is None
    whole = replace(record, on_texts=on_texts)
    assert HeadRecord.from_record(whole.record()).on_texts == on_texts
