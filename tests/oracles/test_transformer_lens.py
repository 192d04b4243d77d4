"""Weights read by cofire against TransformerLens, where it is installed.

Its pins differ from cofire's now and then, so that it has an environment of its own:

    python -m venv oracle
    oracle/bin/pip install -e . pytest beartype transformer-lens
    oracle/bin/python -m pytest tests/oracles
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from cofire.models import (
    LanguageModel,
    attention_patterns,
    attention_shape,
    embedding,
    head_matrices,
    mlp_weights,
    ov,
    qk,
    unembedding,
)
from tiny_models import N_LAYERS, tiny_model, train_tokenizer

pytest.importorskip("transformer_lens", reason="needs an environment with TransformerLens")
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ["gpt2", "llama", "gemma", "gemma2", "qwen2", "qwen3", "gpt_neox", "phi", "phi3"]
IDS = torch.tensor([[1, 5, 9, 20, 33, 7, 5, 9, 41, 2]])


@pytest.fixture(scope="module", params=NAMES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LanguageModel, Any]:
    """The same tiny random model, read by cofire and wrapped by TransformerLens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge.sources.transformers import boot

    folder: Path = tmp_path_factory.mktemp(request.param)
    # TransformerLens would believe an entry that means nothing to this architecture.
    changes = {"num_key_value_heads": None} if request.param == "gpt_neox" else {}
    tiny_model(request.param, **changes).save_pretrained(folder)
    train_tokenizer(["one two three"]).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = LanguageModel(
        AutoModelForCausalLM.from_pretrained(folder).float(), tokenizer, name=request.param
    )
    hf_model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").float()
    return own, boot(str(folder), hf_model=hf_model, tokenizer=tokenizer, device="cpu")


def by_head(stacked: Tensor, layer: int, head: int, n_heads: int) -> Tensor:
    """One head of [layers heads ...], grouped heads repeated."""
    return stacked[layer, head * stacked.shape[1] // n_heads].detach().float()


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other.detach().float(), rtol=1e-4, atol=1e-4)


def test_raw_heads_mlps_and_embeddings(pair: tuple[LanguageModel, Any]) -> None:
    model, lens = pair
    for layer in range(N_LAYERS):
        n = attention_shape(model, layer).n_heads
        for head in range(n):
            own = head_matrices(model, layer, head, fold_norm=False)
            for name in ("W_Q", "W_K", "W_V", "W_O"):
                close(getattr(own, name), by_head(getattr(lens, name), layer, head, n))
            close(ov(model, layer, head, fold_norm=False).dense(), lens.OV[layer, head].AB)
            close(qk(model, layer, head, fold_norm=False).dense(), lens.QK[layer, head].AB)
        mlp = mlp_weights(model, layer, fold_norm=False)
        close(mlp.W_in, lens.W_in[layer])
        close(mlp.W_out, lens.W_out[layer])
        if mlp.W_gate is not None:
            close(mlp.W_gate, lens.W_gate[layer])
    raw = unembedding(model, fold_norm=False)
    close(raw.rows().T, lens.W_U)
    assert embedding(model).n_tokens == len(lens.W_E)


def test_patterns(pair: tuple[LanguageModel, Any]) -> None:
    model, lens = pair
    _, cache = lens.run_with_cache(IDS)
    for layer, pattern in attention_patterns(model, IDS).items():
        close(pattern, cache[f"blocks.{layer}.attn.hook_pattern"])


def test_folded_heads(pair: tuple[LanguageModel, Any]) -> None:
    """Last, because it changes what TransformerLens holds."""
    model, lens = pair
    lens.enable_compatibility_mode(
        disable_warnings=True,
        fold_ln=True,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    for layer in range(N_LAYERS):
        n = attention_shape(model, layer).n_heads
        for head in range(n):
            own = head_matrices(model, layer, head)
            # TransformerLens leaves norms on queries and keys where they are.
            normed = attention_shape(model, layer).normed_scores
            for name in ("W_V",) if normed else ("W_Q", "W_K", "W_V"):
                close(getattr(own, name), by_head(getattr(lens, name), layer, head, n))
        close(mlp_weights(model, layer).W_in, lens.W_in[layer])
    close(unembedding(model).rows().T, lens.W_U)
