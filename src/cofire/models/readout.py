"""From directions among neurons to the residual stream, and on to the vocabulary.

All is computed in float32 whatever the weights' type, a block of features at a time.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cofire.errors import InputError
from cofire.models.block import linear_weight
from cofire.types import Float

_VOCABULARY_BLOCK = 32_768
"""Rows of the unembedding that are turned into float32 at once."""


def project(
    directions: Float[Tensor, "features channels"],
    projection: nn.Module,
    norm: nn.Module | None,
    scale: float,
) -> Float[Tensor, "features d_model"]:
    """``scale · (N(W z) − N(0))``, with N the identity when there is no norm.

    Args:
        directions: z, one a row.
        projection: the linear map whose weight is W; its bias is left out.
        norm: N.
        scale: factor between the result and the residual stream.
    """
    weight = linear_weight(projection)
    if directions.shape[1] != weight.shape[1]:
        raise InputError(
            f"Directions have {directions.shape[1]} channels; this layer has {weight.shape[1]}."
        )
    image = directions.to(weight.device, torch.float32) @ weight.detach().float().T
    return scale * through((norm,) if norm is not None else (), image)


def through(
    modules: tuple[nn.Module, ...], vectors: Float[Tensor, "features channels"]
) -> Float[Tensor, "features d_model"]:
    """Vectors sent through modules in float32, minus what the modules make of zero."""
    if not modules:
        return vectors
    exact = nn.Sequential(*(copy.deepcopy(module).float() for module in modules))
    with torch.inference_mode():
        image: Tensor = exact(torch.cat([vectors, torch.zeros_like(vectors[:1])]))
    return image[:-1] - image[-1]


def vocabulary_logits(
    directions: Float[Tensor, "features channels"],
    modules: tuple[nn.Module, ...],
    unembedding: nn.Module,
    batch_features: int,
) -> Iterator[Float[Tensor, "features vocab"]]:
    """``W_U (N(v) − N(0))`` for consecutive blocks of at most ``batch_features`` directions.

    Args:
        directions: v, one a row, in the residual stream.
        modules: N, what runs between the last block and the unembedding.
        unembedding: the linear map whose weight is W_U; its bias is left out.
        batch_features: number of directions a block.
    """
    weight = linear_weight(unembedding).detach()
    for block in directions.split(batch_features):
        vectors = through(modules, block.to(weight.device, torch.float32))
        logits = torch.empty(len(vectors), weight.shape[0], device=weight.device)
        for start in range(0, weight.shape[0], _VOCABULARY_BLOCK):
            stop = start + _VOCABULARY_BLOCK
            torch.matmul(vectors, weight[start:stop].float().T, out=logits[:, start:stop])
        yield logits
