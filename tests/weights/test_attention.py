"""Scores of what heads do, against sums over attention and logits written out in full."""

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.models import LanguageModel, attention_patterns, read_patterns
from cofire.models.weights import value_matrices
from cofire.weights.attention import behaviour_on_repeats, behaviour_on_texts
from cofire.weights.tokens import TokenReader
from planted_heads import COPIES, LAYER, SUPPRESSES, Planted
from tiny_models import N_LAYERS, tiny_model, train_tokenizer

TEXTS = [[1, 40, 80, 90, 41, 200, 17], [1, 33, 77, 150], [1, 5], [9]]


def test_scores_on_texts_are_means_over_tokens(planted: Planted) -> None:
    found = behaviour_on_texts(planted.model, planted.reader, planted.statistics, TEXTS)
    previous, first, itself, n = 0.0, 0.0, 0.0, 0
    for text in TEXTS[:3]:
        pattern = attention_patterns(planted.model, torch.tensor([text]), layers=[LAYER])[LAYER][0]
        for position in range(1, len(text)):
            previous += pattern[:, position, position - 1].numpy()
            first += pattern[:, position, 0].numpy()
            itself += pattern[:, position, position].numpy()
            n += 1
    assert found.n_tokens == n == 10
    np.testing.assert_allclose(found.previous[LAYER], previous / n, rtol=1e-4)
    np.testing.assert_allclose(found.first[LAYER], first / n, rtol=1e-4)
    np.testing.assert_allclose(found.itself[LAYER], itself / n, rtol=1e-4)
    assert found.previous.shape == (N_LAYERS, 4)
    assert np.isnan(found.induction).all()
    assert np.isnan(found.duplicate).all()


def test_copying_is_the_standardised_logit_of_what_is_attended_to(planted: Planted) -> None:
    text = TEXTS[0]
    model, reader = planted.model, planted.reader
    found = behaviour_on_texts(model, reader, planted.statistics, [text])
    seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    read_patterns(
        model, torch.tensor([text]), lambda layer, a, z: seen.update({layer: (a[0], z[0])})
    )
    pattern, handed_on = seen[LAYER]
    vocabulary = reader.write_rows(reader.tokens)
    for head in (COPIES, SUPPRESSES, 3):
        written = handed_on[head] @ value_matrices(model, LAYER, head).W_O
        logits = written @ vocabulary.T
        total, weight = 0.0, 0.0
        for position in range(1, len(text)):
            mean, sd = logits[position].mean(), logits[position].std(unbiased=False)
            for source in range(1, position + 1):
                own = reader.write_rows(torch.tensor([text[source]]))[0] @ written[position]
                attention = float(pattern[head, position, source])
                total += attention * float((own - mean) / sd)
                weight += attention
        assert found.copying[LAYER, head] == pytest.approx(total / weight, rel=1e-3)
    assert found.copying[LAYER, COPIES] > 0.5 > -0.5 > found.copying[LAYER, SUPPRESSES]


def test_induction_and_duplicates_on_tokens_that_come_twice(planted: Planted) -> None:
    model = planted.model
    found = behaviour_on_repeats(
        model, planted.reader, planted.statistics, n_texts=3, length=12, seed=5
    )
    generator = torch.Generator().manual_seed(5)
    tokens = planted.reader.tokens
    ids = tokens[torch.randint(len(tokens), (3, 12), generator=generator)].repeat(1, 2)
    ids = torch.cat([torch.ones(3, 1, dtype=torch.long), ids], dim=1)
    pattern = attention_patterns(model, ids, layers=[2])[2]
    after = [pattern[:, :, p, p - 11] for p in range(13, 25)]
    same = [pattern[:, :, p, p - 12] for p in range(13, 25)]
    np.testing.assert_allclose(found.induction[2], torch.stack(after).mean(dim=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(found.duplicate[2], torch.stack(same).mean(dim=(0, 1)), rtol=1e-4)
    assert found.n_tokens == 36
    again = behaviour_on_repeats(
        model, planted.reader, planted.statistics, n_texts=3, length=12, seed=5
    )
    np.testing.assert_array_equal(found.induction, again.induction)


def test_layers_without_plain_attention_are_missing() -> None:
    name = "qwen3_5_text"  # three layers without, the fourth gated
    model = LanguageModel(tiny_model("gemma2"), train_tokenizer(["a"]), name=name)
    reader = TokenReader(model)
    parts = list(model.attention_parts)
    parts[1] = "it was taken for something else"
    model.__dict__["attention_parts"] = tuple(parts)
    found = behaviour_on_repeats(model, reader, reader.statistics(), n_texts=1, length=6)
    assert np.isnan(found.first[1]).all()
    assert np.isfinite(found.first[[0, 2]]).all()


def test_bad_input(planted: Planted) -> None:
    rest = (planted.model, planted.reader, planted.statistics)
    with pytest.raises(InputError, match="No text has two tokens"):
        behaviour_on_texts(*rest, [[4], []])
    with pytest.raises(InputError, match="at least 1 of 2"):
        behaviour_on_repeats(*rest, length=1)
    with pytest.raises(InputError, match=r"longer than the 64 that planted takes"):
        behaviour_on_repeats(*rest, length=40)
