"""Tiny random models of many architectures, and where their parts lie by name.

The names are written down by hand for each architecture: the tests compare what cofire finds by
structure with what stands at these names.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

N_LAYERS = 3
VOCABULARY = 320
CONTEXT = 64


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes:
        blocks: dotted name of the list of blocks.
        mlp: name, within a block, of the MLP's output projection.
        attn: name, within a block, of the attention's output projection.
        added: name, within a block, of the module whose output the MLP adds to the stream.
        norm: dotted name of the final norm.
        config: what differs from ``COMMON``; None removes an entry.
        factor: what the MLP's output is multiplied by before it is added.
        model_type: transformers' name, the family's own name by default.
    """

    blocks: str = "model.layers"
    mlp: str = "mlp.down_proj"
    attn: str = "self_attn.o_proj"
    added: str = "mlp"
    norm: str | None = "model.norm"
    config: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    model_type: str | None = None


COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEAD_DIM = {"head_dim": 8}
GPT2_LIKE = {
    "n_embd": 32,
    "n_layer": N_LAYERS,
    "n_head": 4,
    "n_positions": CONTEXT,
    "hidden_size": None,
    "intermediate_size": None,
    "num_hidden_layers": None,
    "num_attention_heads": None,
    "num_key_value_heads": None,
    "max_position_embeddings": None,
}
LATER_NORM = "post_feedforward_layernorm"

FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        "transformer.h",
        "mlp.c_proj",
        "attn.c_proj",
        norm="transformer.ln_f",
        config={**GPT2_LIKE, "n_inner": 48},
    ),
    "llama": Family(),
    "gemma": Family(config=HEAD_DIM),
    "gemma2": Family(added=LATER_NORM, config={**HEAD_DIM, "sliding_window": 8}),
    "gemma3_text": Family(added=LATER_NORM, config={**HEAD_DIM, "sliding_window": 8}),
    "qwen2": Family(),
    "qwen3": Family(config=HEAD_DIM),
    "gpt_neox": Family(
        "gpt_neox.layers", "mlp.dense_4h_to_h", "attention.dense", norm="gpt_neox.final_layer_norm"
    ),
    "gpt_neox_sequential": Family(
        "gpt_neox.layers",
        "mlp.dense_4h_to_h",
        "attention.dense",
        norm="gpt_neox.final_layer_norm",
        config={"use_parallel_residual": False},
        model_type="gpt_neox",
    ),
    "phi": Family(mlp="mlp.fc2", attn="self_attn.dense", norm="model.final_layernorm"),
    "phi3": Family(),
    "olmo": Family(),
    "olmo2": Family(added=LATER_NORM),
    "opt": Family(
        "model.decoder.layers",
        "fc2",
        "self_attn.out_proj",
        "fc2",
        "model.decoder.final_layer_norm",
        config={"ffn_dim": 48, "word_embed_proj_dim": 32},
    ),
    "mistral": Family(config={"sliding_window": 8}),
    "falcon": Family(
        "transformer.h",
        "mlp.dense_4h_to_h",
        "self_attention.dense",
        norm="transformer.ln_f",
    ),
    "falcon_alibi": Family(
        "transformer.h",
        "mlp.dense_4h_to_h",
        "self_attention.dense",
        norm="transformer.ln_f",
        config={"alibi": True, "parallel_attn": False},
        model_type="falcon",
    ),
    "falcon_new": Family(
        "transformer.h",
        "mlp.dense_4h_to_h",
        "self_attention.dense",
        norm="transformer.ln_f",
        config={"new_decoder_architecture": True},
        model_type="falcon",
    ),
    "bloom": Family(
        "transformer.h",
        "mlp.dense_4h_to_h",
        "self_attention.dense",
        "mlp.dense_4h_to_h",
        "transformer.ln_f",
        config={**GPT2_LIKE, "n_embd": None, "hidden_size": 32},
    ),
    "mpt": Family(
        "transformer.blocks",
        "ffn.down_proj",
        "attn.out_proj",
        "ffn.down_proj",
        "transformer.norm_f",
        config={
            **GPT2_LIKE,
            "d_model": 32,
            "n_heads": 4,
            "n_layers": N_LAYERS,
            "max_seq_len": CONTEXT,
        },
    ),
    "gptj": Family(
        "transformer.h",
        "mlp.fc_out",
        "attn.out_proj",
        norm="transformer.ln_f",
        config={**GPT2_LIKE, "rotary_dim": 4},
    ),
    "gpt_bigcode": Family(
        "transformer.h", "mlp.c_proj", "attn.c_proj", norm="transformer.ln_f", config=GPT2_LIKE
    ),
    "stablelm": Family(),
    "stablelm_parallel": Family(config={"use_parallel_residual": True}, model_type="stablelm"),
    "starcoder2": Family(mlp="mlp.c_proj"),
    "granite": Family(config={"residual_multiplier": 0.22}, factor=0.22),
    "smollm3": Family(),
    "cohere": Family(),
    "glm4": Family(added="post_mlp_layernorm", config=HEAD_DIM),
    "qwen3_5_text": Family(config=HEAD_DIM, attn=""),
}


def tiny_model(name: str, **changes: Any) -> PreTrainedModel:
    """A random model of a family; the same every time."""
    family = FAMILIES[name]
    entries = {**COMMON, **family.config, **changes}
    config = AutoConfig.for_model(
        family.model_type or name,
        **{key: value for key, value in entries.items() if value is not None},
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():  # larger than trained weights, so that a mistake shows
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def literal(model: PreTrainedModel, family: Family, layer: int, part: str) -> nn.Module:
    """The module that stands at a name within a block."""
    return model.get_submodule(
        f"{family.blocks}.{layer}.{part}" if part else f"{family.blocks}.{layer}"
    )


def train_tokenizer(sentences: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE with separate special tokens, trained on the spot."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def hooks(model: torch.nn.Module) -> dict[str, int]:
    """How many hooks every module has; transformers leaves some of its own where it was asked."""
    counts = {
        name: len(module._forward_hooks) + len(module._forward_pre_hooks)
        for name, module in model.named_modules()
    }
    return {name: count for name, count in counts.items() if count}
