"""Weights read by cofire against TransformerLens 4, where it is installed.

Its pins differ from cofire's now and then, so that it has an environment of its own:

    python -m venv oracle
    oracle/bin/pip install -e . pytest beartype "transformer-lens>=4"
    oracle/bin/python -m pytest tests/oracles --junitxml figures.xml

``figures.xml`` holds the largest relative difference of every family, which docs/weights.md quotes.
"""

import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from cofire.errors import ModelError
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
from tiny_models import FAMILIES, N_LAYERS, tiny_model, train_tokenizer

if not find_spec("transformer_lens") or int(version("transformer-lens").split(".")[0]) < 4:
    pytest.skip("needs an environment with TransformerLens 4", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")

# What TransformerLens cannot split: the grouped queries of newer Falcon models.
NAMES = [name for name in FAMILIES if name not in ("falcon_new", "qwen3_5_text")]
GATED = ["qwen3_5_text"]  # heads that hand on no plain values, which cofire refuses to read
# TransformerLens would believe an entry that means nothing to these architectures.
UNGROUPED = ("gpt_neox", "gpt_neox_sequential", "opt")
# Left unfolded by TransformerLens: norms in places that it does not fold from.
UNFOLDED = ("olmo2", "glm4")
# It centres no unembedding after a final norm without gains, and folds a factor of the logits in.
OTHER_UNEMBEDDING = ("olmo", "cohere")
IDS = torch.tensor([[1, 5, 9, 20, 33, 7, 5, 9, 41, 2]])
TOLERANCE = 1e-5  # relative, of whole matrices

Figures = Callable[[str, object], None]


@pytest.fixture(scope="module", params=NAMES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LanguageModel, Any]:
    """The same tiny random model, read by cofire and wrapped by TransformerLens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge.sources.transformers import boot

    folder: Path = tmp_path_factory.mktemp(request.param)
    changes = {"num_key_value_heads": None} if request.param in UNGROUPED else {}
    tiny_model(request.param, **changes).save_pretrained(folder)
    train_tokenizer(["one two three"]).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = LanguageModel(
        # TransformerLens runs the eager attention, which of Falcon with ALiBi is another function.
        AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").float(),
        tokenizer,
        name=request.param,
    )
    hf_model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").float()
    return own, boot(str(folder), hf_model=hf_model, tokenizer=tokenizer, device="cpu")


def by_head(stacked: Tensor, layer: int, head: int, n_heads: int) -> Tensor:
    """One head of [layers heads ...], grouped heads repeated."""
    return stacked[layer, head * stacked.shape[1] // n_heads].detach().float()


def difference(one: Tensor, other: Tensor) -> float:
    """‖one − other‖ / ‖other‖, of zeros ‖one‖."""
    assert one.shape == other.shape
    expected = other.detach().double()
    size = float(expected.norm())
    return float((one.double() - expected).norm()) / (size or 1.0)


class Largest:
    """The largest difference of each kind of matrix."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}

    def compare(self, name: str, one: Tensor, other: Tensor) -> None:
        self.of[name] = max(self.of.get(name, 0.0), difference(one, other))

    def check(self, record: Figures) -> None:
        for name, value in self.of.items():
            record(name, value)
        assert self.of
        assert max(self.of.values()) <= TOLERANCE, self.of


def test_raw_heads_mlps_and_embeddings(
    pair: tuple[LanguageModel, Any], record_property: Figures
) -> None:
    model, lens = pair
    found = Largest()
    for layer in range(N_LAYERS):
        n = attention_shape(model, layer).n_heads
        for head in range(n):
            own = head_matrices(model, layer, head, fold_norm=False)
            for name in ("W_Q", "W_K", "W_V", "W_O"):
                found.compare(
                    name, getattr(own, name), by_head(getattr(lens, name), layer, head, n)
                )
            for name, bias in (
                ("b_Q", own.query_bias),
                ("b_K", own.key_bias),
                ("b_V", own.value_bias),
            ):
                if bias.any():
                    found.compare(name, bias, by_head(getattr(lens, name), layer, head, n))
                else:
                    with pytest.raises(AttributeError, match="no such param"):
                        getattr(lens, name)
            raw_ov = ov(model, layer, head, fold_norm=False).dense()
            found.compare("W_OV", raw_ov, lens.OV[layer, head].AB)
            raw_qk = qk(model, layer, head, fold_norm=False).dense()
            found.compare("W_QK", raw_qk, lens.QK[layer, head].AB)
        mlp = mlp_weights(model, layer, fold_norm=False)
        found.compare("W_in", mlp.W_in, lens.W_in[layer])
        found.compare("W_out", mlp.W_out, lens.W_out[layer])
        if mlp.W_gate is not None:
            found.compare("W_gate", mlp.W_gate, lens.W_gate[layer])
    found.compare("W_U", unembedding(model, fold_norm=False).rows().T, lens.W_U)
    assert embedding(model).n_tokens == len(lens.W_E)
    found.check(record_property)


def test_patterns(pair: tuple[LanguageModel, Any], record_property: Figures) -> None:
    model, lens = pair
    _, cache = lens.run_with_cache(IDS)
    found = Largest()
    for layer, pattern in attention_patterns(model, IDS).items():
        found.compare("pattern", pattern, cache[f"blocks.{layer}.attn.hook_pattern"])
    found.check(record_property)


def test_folded_heads(pair: tuple[LanguageModel, Any], record_property: Figures) -> None:
    """Last, because it changes what TransformerLens holds."""
    model, lens = pair
    if model.name in UNFOLDED:
        pytest.skip(f"TransformerLens folds no norm of {model.name}")
    lens.enable_compatibility_mode(
        disable_warnings=True,
        fold_ln=True,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    found = Largest()
    for layer in range(N_LAYERS):
        n = attention_shape(model, layer).n_heads
        for head in range(n):
            own = head_matrices(model, layer, head)
            # TransformerLens leaves norms on queries and keys where they are.
            normed = attention_shape(model, layer).normed_scores
            for name in ("W_V",) if normed else ("W_Q", "W_K", "W_V"):
                found.compare(
                    name, getattr(own, name), by_head(getattr(lens, name), layer, head, n)
                )
        found.compare("W_in", mlp_weights(model, layer).W_in, lens.W_in[layer])
    if model.name not in OTHER_UNEMBEDDING:
        found.compare("W_U", unembedding(model).rows().T, lens.W_U)
    found.check(record_property)


@pytest.mark.parametrize("name", GATED)
def test_heads_without_plain_values_are_refused(name: str) -> None:
    model = LanguageModel(tiny_model(name), train_tokenizer(["one two three"]), name=name)
    with pytest.raises(ModelError, match="cannot be read off its weights"):
        head_matrices(model, 0, 0)
