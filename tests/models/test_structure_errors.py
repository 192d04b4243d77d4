"""Models that cofire cannot use say what was found, what is missing and what to do."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from cofire.corpus import Corpus
from cofire.errors import ModelError
from cofire.models import LanguageModel, capture_activations
from cofire.site import Site
from tiny_models import COMMON, tiny_model


class NoMLP(nn.Module):
    """Stands where an MLP was."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(hidden)


def test_attention_only_model(tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny_model("gpt2")
    for block in model.transformer.h:
        block.mlp = NoMLP()
    with pytest.raises(
        ModelError,
        match=r"GPT2LMHeadModel has 3 blocks of GPT2Block with .*attn \(GPT2Attention\).*"
        r"no MLP.*load a model whose blocks hold a dense MLP",
    ):
        LanguageModel(model, tokenizer)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_mixture_of_experts(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    experts = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
    config = AutoConfig.for_model(name, **COMMON, **experts)
    with pytest.raises(ModelError, match="mixture of experts"):
        LanguageModel(AutoModelForCausalLM.from_config(config), tokenizer)


def test_only_the_dense_layers_of_a_mixture_have_an_mlp_site(
    tokenizer: PreTrainedTokenizerBase, corpus: Corpus
) -> None:
    config = AutoConfig.for_model(
        "qwen3_moe", **COMMON, num_experts=4, num_experts_per_tok=2, mlp_only_layers=[0]
    )
    model = LanguageModel(AutoModelForCausalLM.from_config(config).eval(), tokenizer)
    assert capture_activations(model, corpus, [Site(0, "mlp")])[Site(0, "mlp")].shape[1] == 48
    assert model.site_width(Site(1, "resid_post")) == 32
    assert model.describe()["d_mlp"] == [48, None, None]
    with pytest.raises(ModelError, match=r"Layer 1 .* has no mlp site: .*Choose another layer"):
        model.resolve(Site(1, "mlp"))


def test_state_space_model(tokenizer: PreTrainedTokenizerBase) -> None:
    config = AutoConfig.for_model(
        "mamba", vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=4
    )
    with pytest.raises(ModelError, match="MambaForCausalLM has 2 blocks.*no MLP"):
        LanguageModel(AutoModelForCausalLM.from_config(config), tokenizer)


def test_model_without_a_stack_of_blocks(tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny_model("llama")
    model.model.layers = nn.ModuleList(model.model.layers[:1])
    with pytest.raises(
        ModelError, match=r"No stack of blocks.*3 modules.*layers \(1 × LlamaDecoderLayer, 1 ran\)"
    ):
        LanguageModel(model, tokenizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_post_norm_residual_has_no_mlp_out(
    tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype
) -> None:
    model = LanguageModel(tiny_model("opt", do_layer_norm_before=False).to(dtype), tokenizer)
    assert model.d_mlp(0) == 48
    with pytest.raises(ModelError, match="has no mlp_out site: what its MLP adds passes through"):
        model.resolve(Site(0, "mlp_out"))
