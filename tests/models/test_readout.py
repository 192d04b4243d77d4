"""Directions among neurons, in the residual stream and over the vocabulary."""

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from cofire.errors import InputError, ModelError
from cofire.models import LanguageModel
from cofire.models.handle import SiteHandle
from cofire.site import Site
from tiny_models import FAMILIES, literal, tiny_model

Build = Callable[[str], LanguageModel]
LAYER = 1


def added_by_the_model(model: LanguageModel, neurons: torch.Tensor) -> torch.Tensor:
    """What the model itself adds to the stream when a layer's neurons have these values."""
    heard: list[torch.Tensor] = []
    ids = torch.ones(1, len(neurons), dtype=torch.long)
    hooks = [
        model.resolve(Site(LAYER, "mlp")).register(lambda seen: neurons.view_as(seen)),
        model.resolve(Site(LAYER, "mlp_out")).register(lambda seen: heard.append(seen.clone())),
    ]
    try:
        model.run(ids, torch.ones_like(ids))
    finally:
        for hook in hooks:
            hook.remove()
    return heard[0].reshape(len(neurons), -1)


@pytest.mark.parametrize("name", FAMILIES)
def test_output_direction_is_what_the_model_adds(name: str, build: Build) -> None:
    model = build(name)
    torch.manual_seed(1)
    neurons = torch.randn(4, model.d_mlp(LAYER))
    projection = literal(model.model, FAMILIES[name], LAYER, FAMILIES[name].mlp)
    bias = getattr(projection, "bias", None)
    if bias is not None:  # the bias is no part of a direction
        kept, zero = bias.data.clone(), torch.zeros_like(bias)
        bias.data.copy_(zero)
    expected = added_by_the_model(model, neurons)
    if bias is not None:
        bias.data.copy_(kept)
    torch.testing.assert_close(
        model.output_direction(neurons, LAYER), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_vocabulary_logits_follow_the_final_norm(name: str, build: Build) -> None:
    model, family = build(name), FAMILIES[name]
    torch.manual_seed(1)
    directions = torch.randn(5, 32)
    norm = model.model.get_submodule(family.norm)
    weight = model.model.get_output_embeddings().weight
    with torch.no_grad():
        expected = (norm(directions) - norm(torch.zeros(1, 32))) @ weight.T
    torch.testing.assert_close(model.vocabulary_logits(directions), expected, rtol=1e-4, atol=1e-4)


def test_vocabulary_logits_agree_with_the_model(build: Build) -> None:
    """Without biases and caps the logits of a stream are those of the model itself."""
    model = build("llama")
    ids = torch.tensor([[1, 40, 50]])
    with torch.no_grad():
        output = model.model(ids, output_hidden_states=True)
    heard: list[torch.Tensor] = []
    hook = model.resolve(Site(2, "resid_post")).register(heard.append)
    model.run(ids, torch.ones_like(ids))
    hook.remove()
    torch.testing.assert_close(
        model.vocabulary_logits(heard[0][0]), output.logits[0], rtol=1e-4, atol=1e-4
    )


def test_batches_of_features_make_up_the_whole(build: Build) -> None:
    directions = torch.randn(7, 32)
    blocks = list(build("gpt2").vocabulary_logit_batches(directions, batch_features=3))
    assert [len(block) for block in blocks] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(blocks), build("gpt2").vocabulary_logits(directions))


@pytest.mark.parametrize("name", ["gpt2", "gemma3_text", "opt"])
def test_half_precision_weights_give_float32_logits(
    name: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    exact = LanguageModel(tiny_model(name), tokenizer)
    rounded = LanguageModel(tiny_model(name).bfloat16(), tokenizer)
    neurons = torch.randn(3, 48 if name != "gemma3_text" else exact.d_mlp(LAYER))
    logits = rounded.vocabulary_logits(rounded.output_direction(neurons, LAYER))
    assert logits.dtype == torch.float32
    expected = exact.vocabulary_logits(exact.output_direction(neurons, LAYER))
    torch.testing.assert_close(logits, expected, rtol=0.1, atol=0.1)


def test_directions_of_the_wrong_width(build: Build) -> None:
    with pytest.raises(InputError, match="have 32 channels; this layer has 48"):
        build("llama").output_direction(torch.randn(2, 32), 0)
    with pytest.raises(InputError, match="have 48 channels; .* has 32"):
        build("llama").vocabulary_logits(torch.randn(2, 48))


def test_model_without_head(tokenizer: PreTrainedTokenizerBase) -> None:
    model = LanguageModel(tiny_model("llama").model, tokenizer)
    with pytest.raises(ModelError, match="load it with its language head"):
        model.vocabulary_logits(torch.randn(2, 32))


@pytest.mark.parametrize("name", ["llama", "granite", "opt", "bloom", "falcon"])
@pytest.mark.parametrize("kind", ["mlp", "mlp_out", "attn", "resid_pre", "resid_post"])
def test_replaced_activations_reach_the_output(name: str, kind: str, build: Build) -> None:
    """What a callback returns takes the place of the activations; its own value changes nothing."""
    model = build(name)
    handle: SiteHandle = model.resolve(Site(LAYER, kind))
    ids = torch.tensor([[1, 30, 40, 50]])

    def run() -> torch.Tensor:
        return model.run(ids, torch.ones_like(ids)).last_hidden_state

    plain = run()
    hook = handle.register(lambda seen: seen.clone())
    same = run()
    hook.remove()
    hook = handle.register(lambda seen: seen.flip(-1))
    changed = run()
    hook.remove()
    torch.testing.assert_close(same, plain)
    assert not torch.allclose(changed, plain, atol=1e-3)
