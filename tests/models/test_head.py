"""The head apart from the trunk, and the coarse search for the highest logits."""

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from cofire.errors import ModelError
from cofire.models import Head, LanguageModel
from cofire.models.screening import Screen
from tiny_models import FAMILIES, tiny_model

Build = Callable[[str], LanguageModel]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_the_models_own(build: Build, name: str) -> None:
    model = build(name)
    ids = torch.tensor([[1, 5, 9], [1, 7, 8]])
    with torch.inference_mode():
        expected = model.model(ids, use_cache=False).logits[:, -1].float()
        stream = model.run(ids, torch.ones_like(ids))[0][:, -1]
    head = Head(model)
    assert head.plain == (name not in ("gemma2", "cohere"))
    torch.testing.assert_close(head.logits(stream), expected, rtol=1e-4, atol=1e-4)
    values, tokens = head.top(stream, 5)
    torch.testing.assert_close(values, expected.topk(5).values, rtol=1e-4, atol=1e-4)
    assert tokens.tolist() == expected.topk(5).indices.tolist()
    assert head.top(stream, None)[0].shape == expected.shape


def test_model_without_a_head(tokenizer: PreTrainedTokenizerBase) -> None:
    model = LanguageModel(tiny_model("llama").model, tokenizer)
    with pytest.raises(ModelError, match="no unembedding"):
        Head(model)


@pytest.mark.parametrize("n_tokens", [20_000, 20_011])
@pytest.mark.parametrize("shift", [0.0, 20.0, -20.0])
def test_screen_finds_the_highest(n_tokens: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n_tokens, 64, generator=generator)
    stream = torch.randn(9, 64, generator=generator)
    weight[:, 0], stream[:, 0] = 1.0, shift  # all logits high, or all below 0
    values, tokens = Screen(weight).top(stream, 30)
    exact = stream @ weight.T
    torch.testing.assert_close(values, exact.topk(30).values, rtol=1e-4, atol=1e-4)
    assert tokens.tolist() == exact.topk(30).indices.tolist()


def test_screen_when_logits_are_too_close_to_tell() -> None:
    """Differences far below what bfloat16 holds: every token could be the highest."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.ones(5000, 16) + 1e-5 * torch.randn(5000, 16, generator=generator)
    stream = torch.randn(3, 16, generator=generator)
    values, tokens = Screen(weight).top(stream, 10)
    torch.testing.assert_close(values, (stream @ weight.T).topk(10).values)
    assert tokens.shape == (3, 10)


def test_screen_when_the_stream_is_broken() -> None:
    values, _ = Screen(torch.randn(5000, 16)).top(torch.full((2, 16), torch.nan), 10)
    assert values.isnan().all()


@pytest.mark.model
def test_screen_on_the_real_model(gemma: LanguageModel) -> None:
    prompts = ["I think that the", "Once upon a time there", "The train leaves the station"]
    head = Head(gemma)
    screen = Screen(gemma.model.get_output_embeddings().weight.detach())
    for prompt in prompts:
        ids = gemma.tokenizer(prompt, return_tensors="pt")["input_ids"]
        stream = gemma.run(ids, torch.ones_like(ids))[0][0]
        exact = head.logits(stream).topk(30)
        values, tokens = screen.top(stream, 30)
        torch.testing.assert_close(values, exact.values, rtol=1e-4, atol=1e-3)
        assert [set(row) for row in tokens.tolist()] == [set(row) for row in exact.indices.tolist()]
