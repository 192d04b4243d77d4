"""A tiny model with heads whose task is known, and what reads its tokens."""

from dataclasses import dataclass

import torch

from cofire.models import LanguageModel
from cofire.weights.tokens import TokenReader, TokenStatistics
from tiny_models import tiny_model, train_tokenizer

LAYER = 1
COPIES, SUPPRESSES, TRANSFORMS = 0, 1, 2
"""Heads of layer 1 by what they were made to do."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A model with planted heads."""

    model: LanguageModel
    reader: TokenReader
    statistics: TokenStatistics


def planted_heads() -> Planted:
    """Llama whose unembedding is its embedding; head 0 of layer 1 copies, head 1 suppresses."""
    model = tiny_model("llama", num_key_value_heads=4)
    generator = torch.Generator().manual_seed(3)
    frame = torch.linalg.qr(torch.randn(32, 8, generator=generator))[0]
    attention = model.model.layers[LAYER].self_attn
    with torch.no_grad():
        model.lm_head.weight.copy_(model.model.embed_tokens.weight)
        for head, sign in ((COPIES, 1.0), (SUPPRESSES, -1.0)):
            attention.v_proj.weight[8 * head : 8 * head + 8] = frame.T
            attention.o_proj.weight[:, 8 * head : 8 * head + 8] = sign * frame
    wrapped = LanguageModel(model, train_tokenizer(["The train leaves at noon."]), name="planted")
    reader = TokenReader(wrapped)
    return Planted(wrapped, reader, reader.statistics())
