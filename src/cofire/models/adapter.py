"""One interface over every causal language model of transformers."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cofire.errors import InputError, ModelError
from cofire.models import readout
from cofire.models.attention_parts import AttentionParts, find_attention
from cofire.models.block import linear_weight
from cofire.models.fingerprint import model_fingerprint
from cofire.models.handle import SiteHandle
from cofire.models.mlp_parts import MlpParts, find_mlps
from cofire.models.packing import PackedLinears
from cofire.models.structure import Structure, find_structure
from cofire.models.tracing import run_trunk
from cofire.site import Site
from cofire.types import Float

if TYPE_CHECKING:
    from cofire.models.head import Head


class LanguageModel:
    """A causal language model with its tokenizer, whose sites can be read and changed.

    The model is put in evaluation mode. Its parts are found by one tiny forward pass, see
    ``cofire.models.structure``.

    Attributes:
        model: the wrapped transformers model.
        tokenizer: its tokenizer.
        name: how the model was called when it was loaded.
        licence: the licence of its weights, None when it is not known.
        trunk: the model without its head.

    Raises:
        ModelError: when the model's parts cannot be found.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        licence: str | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name or model.config.name_or_path or type(model).__name__
        self.licence = licence
        self._structure = find_structure(model)
        self.trunk = self._structure.trunk

    @property
    def structure(self) -> Structure:
        """The parts that were found in the model."""
        return self._structure

    @cached_property
    def attention_parts(self) -> tuple[AttentionParts | str, ...]:
        """The attention of every layer, or why its weights cannot be read; found when asked for."""
        return find_attention(self.model, self._structure)

    @cached_property
    def mlp_parts(self) -> tuple[MlpParts | str, ...]:
        """The MLP of every layer, or why its weights cannot be read; found when asked for."""
        return find_mlps(self.model, self._structure)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self._structure.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self._structure.d_model

    def d_mlp(self, layer: int) -> int:
        """Number of MLP neurons of a layer."""
        return self.site_width(Site(layer, "mlp"))

    def site_width(self, site: Site) -> int:
        """Number of channels at a site."""
        return self.resolve(site).width

    @property
    def architecture(self) -> str:
        """Class of the wrapped model, e.g. ``Gemma3ForCausalLM``."""
        return type(self.model).__name__

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        return next(self.trunk.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return next(self.trunk.parameters()).dtype

    @property
    def n_embeddings(self) -> int:
        """Number of tokens the model has an embedding for."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def context_length(self) -> int | None:
        """Longest input the model was built for, special tokens included; None when unlimited."""
        config = self.model.config.get_text_config()
        for name in ("max_position_embeddings", "max_seq_len", "seq_length"):
            length = getattr(config, name, None)
            if isinstance(length, int) and length > 0:
                return length
        return None

    @cached_property
    def head(self) -> "Head":
        """The language head apart from the trunk, made ready once.

        Raises:
            ModelError: when there is none, or it cannot be applied by itself.
        """
        from cofire.models.head import Head  # it imports this module

        return Head(self)

    @cached_property
    def packed_trunk(self) -> PackedLinears | None:
        """The trunk's linear maps with packed weights where that is faster, made ready once."""
        return PackedLinears.where_faster(self.trunk)

    @cached_property
    def fingerprint(self) -> str:
        """Hash that tells this model's weights from others, see ``model_fingerprint``."""
        return model_fingerprint(self.model)

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps of the model, as plain JSON values."""
        widths = [
            None if block.mlp_projection is None else self.d_mlp(layer)
            for layer, block in enumerate(self._structure.blocks)
        ]
        return {
            "name": self.name,
            "architecture": self.architecture,
            "fingerprint": self.fingerprint,
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "d_mlp": widths[0] if len(set(widths)) == 1 else widths,
            "n_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "vocabulary": self.model.config.get_text_config().vocab_size,
            "tokenizer": type(self.tokenizer).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "licence": self.licence,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        }

    def resolve(self, site: Site) -> SiteHandle:
        """Find a site in this model.

        Raises:
            InputError: when the layer does not exist.
            ModelError: when the layer has no site of this kind.
        """
        if site.layer >= self.n_layers:
            raise InputError(
                f"Layer {site.layer} does not exist: the model has {self.n_layers} layers, "
                f"0 to {self.n_layers - 1}."
            )
        block = self._structure.blocks[site.layer]
        if site.kind in block.missing:
            raise ModelError(
                f"Layer {site.layer} of {self.name} has no {site.kind} site: "
                f"{block.missing[site.kind]}. Choose another layer or kind of site."
            )
        match site.kind:
            case "resid_pre":
                return SiteHandle(site, block.module, "input", self.d_model)
            case "resid_post":
                return SiteHandle(site, block.module, "output", self.d_model)
            case "mlp_out":
                source = _present(block.post_mlp_norm or block.mlp_projection)
                return SiteHandle(site, source, "output", self.d_model, block.mlp_scale)
            case "mlp":
                projection = _present(block.mlp_projection)
            case "attn":
                projection = _present(block.attention_projection)
        return SiteHandle(site, projection, "input", linear_weight(projection).shape[1])

    def run(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor | None = None
    ) -> Any:
        """Run the trunk, without the head and without a cache; hooks on sites fire.

        Args:
            input_ids: tokens, an integer tensor [batch position] on the model's device.
            attention_mask: 1 for tokens and 0 for padding, same shape.
            position_ids: places counted from 0, same shape; for models that take them.
        """
        return run_trunk(self.trunk, input_ids, attention_mask, position_ids)

    def output_direction(
        self, directions: Float[Tensor, "features channels"], layer: int
    ) -> Float[Tensor, "features d_model"]:
        """Image in the residual stream of directions among a layer's MLP neurons.

        ``c · W_out z`` without the bias; in models with a norm N between the MLP and the stream
        (Gemma 2 and 3, OLMo 2) ``c · (N(W_out z) − N(0))``, which does not depend on the length
        of z. c is 1 save in models that scale what a block adds (Granite).

        Args:
            directions: z, one a row.
            layer: the layer whose neurons z is about.

        Returns:
            float32 on the model's device.

        Raises:
            InputError: when the layer does not exist or is of another width.
            ModelError: when the layer has no MLP projection.
        """
        self.resolve(Site(layer, "mlp"))
        block = self._structure.blocks[layer]
        projection = _present(block.mlp_projection)
        return readout.project(directions, projection, block.post_mlp_norm, block.mlp_scale)

    def vocabulary_logits(
        self, directions: Float[Tensor, "features d_model"]
    ) -> Float[Tensor, "features vocab"]:
        """What directions v in the residual stream promote: ``W_U (N(v) − N(0))``.

        N is the final norm, so that the bias of a LayerNorm drops out, as does the unembedding's.
        Monotone maps of the logits (soft caps, temperatures) are left out too.

        Returns:
            float32 on the model's device; a row takes 1 MB for a vocabulary of 262 144. For many
            directions use ``vocabulary_logit_batches``.

        Raises:
            InputError: when the directions are not of the model's width.
            ModelError: when the model has no unembedding.
        """
        return torch.cat(list(self.vocabulary_logit_batches(directions)))

    def vocabulary_logit_batches(
        self, directions: Float[Tensor, "features d_model"], *, batch_features: int = 64
    ) -> Iterator[Float[Tensor, "features vocab"]]:
        """``vocabulary_logits`` of at most ``batch_features`` directions at a time, in order."""
        unembedding = self._structure.unembedding
        if unembedding is None:
            raise ModelError(f"{self.name} has no unembedding; load it with its language head.")
        if directions.shape[1] != self.d_model:
            raise InputError(
                f"Directions have {directions.shape[1]} channels; the residual stream of "
                f"{self.name} has {self.d_model}. Use output_direction for MLP directions."
            )
        return readout.vocabulary_logits(
            directions, self._structure.readout, unembedding, batch_features
        )

    def __repr__(self) -> str:
        return f"LanguageModel({self.name}, {self.n_layers} layers, d_model {self.d_model})"


def _present(module: nn.Module | None) -> nn.Module:
    """A part that the block's list of missing sites says is there."""
    if module is None:
        raise ModelError("The block lacks this part.")
    return module
