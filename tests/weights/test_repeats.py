"""Induction and gain on passages that come twice, against attention and logits written out."""

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.models import attention_patterns
from cofire.weights.attention import behaviour_on_repeats
from cofire.weights.repeats import (
    RepeatedText,
    induction_on_repeats,
    log_probabilities,
    other_heads,
    repeated_texts,
)
from planted_heads import Planted

PASSAGES = [[40, 80, 90, 41], [33, 77, 150], [5, 6, 7, 8, 9]]


def test_passages_come_twice_with_others_between() -> None:
    first, *_ = repeated_texts(PASSAGES, bos=1)
    assert first == RepeatedText((1, 40, 80, 90, 41, 40, 80, 90, 41), 1, 5, 4)
    *_, last = repeated_texts(PASSAGES, between=2)
    assert last.ids == (5, 6, 7, 8, 9, 40, 80, 90, 41, 33, 77, 150, 5, 6, 7, 8, 9)
    assert (last.first, last.second, last.length) == (0, 12, 5)
    assert last.distance == 12
    for bad in (([[4]], 0), (PASSAGES, 3)):
        with pytest.raises(InputError, match="passages need two"):
            repeated_texts(bad[0], between=bad[1])


def test_induction_is_the_attention_to_the_token_after_the_first_time(planted: Planted) -> None:
    texts = repeated_texts(PASSAGES, between=1, bos=1)
    found = induction_on_repeats(planted.model, texts)
    assert found.shape == (3, 3, 4)
    for text, scores in zip(texts, found, strict=True):
        pattern = attention_patterns(planted.model, torch.tensor([text.ids]))
        for layer in range(3):
            places = range(text.second, text.second + text.length)
            after = [pattern[layer][0, :, p, p - text.distance + 1] for p in places]
            np.testing.assert_allclose(scores[layer], torch.stack(after).mean(dim=0), rtol=1e-4)


def test_random_tokens_have_the_same_score_as_before(planted: Planted) -> None:
    expected = behaviour_on_repeats(
        planted.model, planted.reader, planted.statistics, n_texts=3, length=12, seed=5
    )
    generator = torch.Generator().manual_seed(5)
    tokens = planted.reader.tokens
    chosen = tokens[torch.randint(len(tokens), (3, 12), generator=generator)].tolist()
    bos = planted.model.tokenizer.bos_token_id
    found = induction_on_repeats(planted.model, repeated_texts(chosen, bos=bos))
    np.testing.assert_allclose(found.mean(axis=0), expected.induction, rtol=1e-4)


def test_log_probabilities_are_those_of_the_model(planted: Planted) -> None:
    texts = repeated_texts(PASSAGES, bos=1)
    found = log_probabilities(planted.model, texts)
    assert found.shape == (3, 1, 2)
    for text, ((first, second),) in zip(texts, found, strict=True):
        ids = torch.tensor([text.ids])
        with torch.inference_mode():
            logits = torch.log_softmax(planted.model.model(ids).logits[0].float(), dim=1)
        for start, value in ((text.first, first), (text.second, second)):
            places = range(start, start + text.length - 1)
            own = [float(logits[place, text.ids[place + 1]]) for place in places]
            assert value == pytest.approx(np.mean(own), rel=1e-4)


def test_heads_are_held_at_zero_or_their_mean(planted: Planted) -> None:
    """Zero is what the model does without the head's rows of its output projection."""
    texts = repeated_texts(PASSAGES, bos=1)
    held = [(), ((0, 1), (2, 3)), ((2, 0),)]
    plain = log_probabilities(planted.model, texts)
    found = log_probabilities(planted.model, texts, held)
    np.testing.assert_allclose(found[:, 0], plain[:, 0], rtol=1e-5)
    layers = planted.model.model.model.layers
    saved = [layers[layer].self_attn.o_proj.weight.clone() for layer in (0, 2)]
    with torch.no_grad():
        layers[0].self_attn.o_proj.weight[:, 8:16] = 0
        layers[2].self_attn.o_proj.weight[:, 24:32] = 0
    without = log_probabilities(planted.model, texts)
    with torch.no_grad():
        for layer, weight in zip((0, 2), saved, strict=True):
            layers[layer].self_attn.o_proj.weight.copy_(weight)
    np.testing.assert_allclose(found[:, 1], without[:, 0], rtol=1e-4)
    assert not np.allclose(found[:, 1], found[:, 2])

    mean = torch.linspace(-1, 1, 32)

    def put(_module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (torch.cat([mean[:8].expand_as(args[0][..., :8]), args[0][..., 8:]], dim=-1),)

    hook = layers[2].self_attn.o_proj.register_forward_pre_hook(put)
    expected = log_probabilities(planted.model, texts)
    hook.remove()
    to_mean = log_probabilities(planted.model, texts, held, {2: mean})
    np.testing.assert_allclose(to_mean[:, 2], expected[:, 0], rtol=1e-4)
    assert not np.allclose(to_mean[:, 2], found[:, 2])
    with pytest.raises(InputError, match="no head 9"):
        log_probabilities(planted.model, texts, [((1, 9),)])


def test_other_heads_are_of_the_same_layers(planted: Planted) -> None:
    heads = ((0, 1), (2, 3), (2, 0))
    found = other_heads(planted.model, heads, draws=50, seed=1)
    assert len(found) == len(set(found)) == 3  # three others in layer 0, one pair in layer 2
    for one in found:
        assert sorted(layer for layer, _ in one) == [0, 2, 2]
        assert not set(one) & set(heads)
    assert other_heads(planted.model, heads, draws=2, seed=1) == found[:2]
    (only,) = other_heads(planted.model, ((0, 1),), draws=9, never=((0, 0), (0, 2)))
    assert only == ((0, 3),)
    with pytest.raises(InputError, match="Layer 1 has 1 other heads"):
        other_heads(planted.model, ((1, 0), (1, 1), (1, 2)), draws=1)
