"""Embedding and unembedding as the residual stream sees them, some tokens at a time."""

from dataclasses import dataclass

import torch
from torch import nn

from cofire.errors import ModelError
from cofire.models.adapter import LanguageModel
from cofire.models.block import linear_weight
from cofire.models.norms import NormMap, measure_norm
from cofire.models.readout import through
from cofire.models.tracing import trace
from cofire.types import Float, Int, Tensor

VOCABULARY_BLOCK = 32_768
"""Tokens that are held in float32 at once; 84 MB for a stream of 640."""

_PROBE_TOKENS = 8


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a token puts into the stream: ``factor · (M(e) − M(0))``, positions left out.

    Attributes:
        weight: e, one a token, as the model holds it.
        modules: M, modules between embedding and first block that change it (Bloom's norm).
        factor: measured; √d_model in Gemma.
    """

    weight: Float[Tensor, "vocab channels"]
    modules: tuple[nn.Module, ...]
    factor: float

    @property
    def n_tokens(self) -> int:
        """Number of tokens with an embedding."""
        return len(self.weight)

    def rows(self) -> Float[Tensor, "vocab d_model"]:
        """Embeddings of all tokens, float32; use ``take`` where there are many."""
        return self.take(torch.arange(self.n_tokens))

    def take(self, tokens: Int[Tensor, "vocab"]) -> Float[Tensor, "vocab d_model"]:
        """Embeddings of these tokens, float32."""
        rows = self.weight.detach()[tokens.to(self.weight.device)].float()
        return self.factor * through(self.modules, rows)


@dataclass(frozen=True, eq=False)
class Unembedding:
    """The map from the stream to logits, ``x / rms · W`` with the final norm folded in.

    Attributes:
        weight: one row a token, as the model holds it.
        norm: what is folded in; None where there is no final norm or it was not asked for.
    """

    weight: Float[Tensor, "vocab d_model"]
    norm: NormMap | None

    @property
    def n_tokens(self) -> int:
        """Number of tokens with a logit."""
        return len(self.weight)

    def rows(self) -> Float[Tensor, "vocab d_model"]:
        """Directions that raise the logits of all tokens, float32; see ``take``."""
        return self.take(torch.arange(self.n_tokens))

    def take(self, tokens: Int[Tensor, "vocab"]) -> Float[Tensor, "vocab d_model"]:
        """Directions that raise the logits of these tokens, float32."""
        rows = self.weight.detach()[tokens.to(self.weight.device)].float()
        return rows if self.norm is None else self.norm.fold(rows.T).T


def embedding(model: LanguageModel) -> Embedding:
    """The embedding of a model, with whatever is done to it before the first block.

    Costs one forward pass over eight single tokens.

    Raises:
        ModelError: when what the first block reads of a token is not understood.
    """
    weight = model.model.get_input_embeddings().weight
    ids = (
        torch.arange(1, _PROBE_TOKENS + 1, device=model.device) * (len(weight) // 10) % len(weight)
    )
    calls = trace(model.trunk, ids[:, None])
    first = model.structure.blocks[0].module
    block = next(call for call in calls if call.module is first)
    if block.input is None:
        raise ModelError(f"The first block of {model.name} reads no tensor.")
    seen = block.input.reshape(_PROBE_TOKENS, -1).detach().float()
    seen = seen - seen.mean(dim=0)  # what positions add is the same for all
    inside = {id(module) for module in first.modules()}
    between = [
        call.module
        for call in calls
        if call.order < block.order
        and id(call.module) not in inside
        and call.input is not None
        and call.output is not None
        and call.input.is_floating_point()
        and next(call.module.children(), None) is None
        and call.input.data_ptr() != call.output.data_ptr()
        and call.input.shape[:-1] == call.output.shape[:-1]
    ]
    own = weight[ids].detach().float()
    tolerance = max(1e-4, 16 * torch.finfo(weight.dtype).eps)
    for modules in ((), tuple(between)):
        try:
            rows = through(modules, own)
        except RuntimeError:
            continue
        rows = rows - rows.mean(dim=0)
        if rows.shape != seen.shape:
            continue
        factor = ((rows * seen).sum() / rows.square().sum()).item()
        if (seen - factor * rows).norm() <= tolerance * seen.norm():
            factor = 1.0 if abs(factor - 1) < tolerance else factor
            return Embedding(weight, modules, factor)
    raise ModelError(
        f"What the first block of {model.name} reads of a token is not a multiple of its "
        "embedding, so tokens cannot be read through it."
    )


def unembedding(model: LanguageModel, *, fold_norm: bool = True) -> Unembedding:
    """The unembedding of a model, without its bias.

    Args:
        model: the model.
        fold_norm: fold the final norm's gain and centring in.

    Raises:
        ModelError: when the model has no unembedding, or more than one norm lies before it.
    """
    structure = model.structure
    if structure.unembedding is None:
        raise ModelError(f"{model.name} has no unembedding; load it with its language head.")
    weight = linear_weight(structure.unembedding)
    if not fold_norm or not structure.readout:
        return Unembedding(weight, None)
    if len(structure.readout) > 1:
        raise ModelError(
            f"{len(structure.readout)} modules lie between the last block of {model.name} and its "
            "unembedding; only one norm can be folded. From Python, fold_norm=False gives it as it "
            "is."
        )
    return Unembedding(weight, measure_norm(structure.readout[0], model.d_model))
