"""Weights of heads and MLPs in one orientation, rows in and columns out, whatever the layout.

A row vector x in the residual stream goes through a head as ``x W_V W_O``. Matrices are float32
copies on the model's device. With ``fold_norm`` they lead from the stream to the stream:

- the norm before the part is folded into the maps that read, so that these act on
  x / rms(x), or (x − mean x) / rms(x − mean x) for a LayerNorm: ``C diag(g) W``,
  bias ``b W + b_W``;
- a norm after the part (Gemma 2 and 3, OLMo 2, GLM 4) is folded into the maps that write: ``W C
  diag(g)``. Its division by the length of what all heads write together, one positive number a
  token, stays out, and so does its own bias;
- the factor of a part (Granite) is multiplied to the maps that write;
- norms on queries and keys (Qwen 3, Gemma 3, OLMo 2) give their gains to W_Q and W_K; their
  divisions stay out.

Without it they are the model's own numbers.
"""

from dataclasses import dataclass

import torch
from torch import nn

from cofire.errors import InputError, ModelError
from cofire.low_rank import LowRankMatrix
from cofire.models.adapter import LanguageModel
from cofire.models.attention_parts import AttentionParts, Surroundings
from cofire.models.attention_scores import ScoreLayout
from cofire.models.block import linear_weight
from cofire.types import Float, Int, Tensor


@dataclass(frozen=True)
class AttentionShape:
    """Size and kind of one layer's attention.

    Attributes:
        n_heads: query heads.
        n_kv_heads: heads that keys and values are made for.
        d_head: width of a head.
        kv_heads: for each query head the number of the key and value head it uses.
        scale: factor between q·k and the score; None where scores are not understood.
        rotary: whether queries and keys are turned by their position; None likewise. W_QK then
            holds for a token that attends to itself, relative position 0.
        normed_scores: whether queries and keys pass through norms; None likewise.
        value_limit: values beyond it are clipped; None where nothing is.
        post_norm: whether a norm lies between the heads and the stream; None where not understood.
    """

    n_heads: int
    n_kv_heads: int
    d_head: int
    kv_heads: tuple[int, ...]
    scale: float | None
    rotary: bool | None
    normed_scores: bool | None
    value_limit: float | None
    post_norm: bool | None


@dataclass(frozen=True, eq=False)
class HeadMatrices:
    """The maps of one head. For a query head of a group, W_K, W_V are those of its group.

    Attributes:
        W_Q, W_K, W_V: what is read; a row vector x goes to x W.
        W_O: what is written.
        query_bias, key_bias, value_bias: biases, zeros where the model has none.
        output_bias: bias of the whole layer's output map, shared by its heads.
    """

    W_Q: Float[Tensor, "d_model d_head"]
    W_K: Float[Tensor, "d_model d_head"]
    W_V: Float[Tensor, "d_model d_head"]
    W_O: Float[Tensor, "d_head d_model"]
    query_bias: Float[Tensor, "d_head"]
    key_bias: Float[Tensor, "d_head"]
    value_bias: Float[Tensor, "d_head"]
    output_bias: Float[Tensor, "d_model"]


@dataclass(frozen=True, eq=False)
class ValueMatrices:
    """What a head moves: ``HeadMatrices`` without queries and keys."""

    W_V: Float[Tensor, "d_model d_head"]
    W_O: Float[Tensor, "d_head d_model"]
    value_bias: Float[Tensor, "d_head"]
    output_bias: Float[Tensor, "d_model"]


@dataclass(frozen=True, eq=False)
class MlpMatrices:
    """The maps of one MLP: ``act(x W_in) W_out``, or ``(act(x W_gate) · x W_in) W_out``.

    Attributes:
        W_in: [d_model channels], one column a neuron.
        W_gate: the same for the side that passes the nonlinearity; None without gates.
        W_out: [channels d_model].
        in_bias, gate_bias, out_bias: biases, zeros where the model has none.
    """

    W_in: Float[Tensor, "d_model channels"]
    W_gate: Float[Tensor, "d_model channels"] | None
    W_out: Float[Tensor, "channels d_model"]
    in_bias: Float[Tensor, "channels"]
    gate_bias: Float[Tensor, "channels"] | None
    out_bias: Float[Tensor, "d_model"]


def attention_shape(model: LanguageModel, layer: int) -> AttentionShape:
    """Size and kind of a layer's attention.

    Raises:
        InputError: when the layer does not exist.
        ModelError: when it has no attention that cofire understands.
    """
    parts = _attention(model, layer)
    values = parts.layout.values
    groups = list(dict.fromkeys(map(tuple, values.tolist())))
    scores = parts.layout.scores if isinstance(parts.layout.scores, ScoreLayout) else None
    around = parts.surroundings if isinstance(parts.surroundings, Surroundings) else None
    return AttentionShape(
        n_heads=parts.wiring.n_heads,
        n_kv_heads=len(groups),
        d_head=parts.wiring.d_head,
        kv_heads=tuple(groups.index(tuple(row)) for row in values.tolist()),
        scale=None if scores is None else scores.scale,
        rotary=None if scores is None else scores.rotary,
        normed_scores=None if scores is None else scores.query_gain is not None,
        value_limit=parts.layout.clip,
        post_norm=None if around is None else around.after is not None,
    )


def value_matrices(
    model: LanguageModel, layer: int, head: int, *, fold_norm: bool = True
) -> ValueMatrices:
    """W_V, W_O and their biases of one head.

    Args:
        model: the model.
        layer: counted from 0.
        head: query head, counted from 0.
        fold_norm: see the module.

    Raises:
        InputError: when the layer or head does not exist.
        ModelError: when the layer has no attention that cofire understands, or ``fold_norm`` is
            asked for where the norms around it are not understood.
    """
    parts = _attention(model, layer, head)
    W_V, b_V = _read(model, layer, parts, parts.layout.values[head], fold_norm)
    width = parts.wiring.d_head
    output = linear_weight(parts.wiring.output).detach().float().T
    W_O = output[head * width : (head + 1) * width]
    b_O = _bias(parts.wiring.output, output.shape[1], output)
    if fold_norm:
        around = _surroundings(model, layer, parts.surroundings)
        W_O, b_O = _written(W_O, around), _written(b_O[None], around)[0]
    return ValueMatrices(W_V, W_O.clone(), b_V, b_O.clone())


def head_matrices(
    model: LanguageModel, layer: int, head: int, *, fold_norm: bool = True
) -> HeadMatrices:
    """All maps of one head.

    Args:
        model, layer, head, fold_norm: see ``value_matrices``.

    Raises:
        InputError, ModelError: see ``value_matrices``; also when its queries and keys are not
            understood.
    """
    values = value_matrices(model, layer, head, fold_norm=fold_norm)
    parts = _attention(model, layer, head)
    scores = parts.layout.scores
    if isinstance(scores, str):
        raise ModelError(
            f"Queries and keys of layer {layer} of {model.name} cannot be read off: {scores}. "
            "W_OV can: use ov or value_matrices."
        )
    W_Q, b_Q = _read(model, layer, parts, scores.queries[head], fold_norm)
    W_K, b_K = _read(model, layer, parts, scores.keys[head], fold_norm)
    if fold_norm and scores.query_gain is not None and scores.key_gain is not None:
        query_gain, key_gain = scores.query_gain[head].to(W_Q), scores.key_gain[head].to(W_K)
        W_Q, b_Q, W_K, b_K = W_Q * query_gain, b_Q * query_gain, W_K * key_gain, b_K * key_gain
    return HeadMatrices(
        W_Q, W_K, values.W_V, values.W_O, b_Q, b_K, values.value_bias, values.output_bias
    )


def ov(model: LanguageModel, layer: int, head: int, *, fold_norm: bool = True) -> LowRankMatrix:
    """W_OV = W_V W_O [d_model d_model] of one head: what an attended token adds.

    Args:
        model, layer, head, fold_norm: see ``value_matrices``.
    """
    found = value_matrices(model, layer, head, fold_norm=fold_norm)
    return LowRankMatrix(found.W_V, found.W_O)


def qk(model: LanguageModel, layer: int, head: int, *, fold_norm: bool = True) -> LowRankMatrix:
    """W_QK = W_Q W_Kᵀ [d_model d_model] of one head, query side in, key side out.

    A score is ``scale · x W_QK y`` (``attention_shape``), up to biases; in rotary models for a
    token that attends to itself; with normed queries and keys up to their lengths.

    Args:
        model, layer, head, fold_norm: see ``head_matrices``.
    """
    found = head_matrices(model, layer, head, fold_norm=fold_norm)
    return LowRankMatrix(found.W_Q, found.W_K.T)


def mlp_weights(model: LanguageModel, layer: int, *, fold_norm: bool = True) -> MlpMatrices:
    """The maps of a layer's MLP.

    Args:
        model: the model.
        layer: counted from 0.
        fold_norm: see the module.

    Raises:
        InputError: when the layer does not exist.
        ModelError: when its MLP, or with ``fold_norm`` the norms around it, are not understood.
    """
    _check_layer(model, layer)
    parts = model.mlp_parts[layer]
    if isinstance(parts, str):
        _check_finite(model, layer)
        raise ModelError(
            f"The weights of the MLP of layer {layer} of {model.name} cannot be read off: {parts}."
        )
    maps = torch.cat([linear_weight(module).detach().float() for module in parts.projections])
    biases = torch.cat([_bias(m, linear_weight(m).shape[0], maps) for m in parts.projections])
    W_out = linear_weight(parts.output).detach().float().T.clone()
    b_out = _bias(parts.output, W_out.shape[1], W_out)
    around = _surroundings(model, layer, parts.surroundings) if fold_norm else None

    def side(channels: Int[Tensor, "channels"]) -> tuple[Tensor, Tensor]:
        channels = channels.to(maps.device)
        W, b = maps[channels].T.clone(), biases[channels]
        return (W, b) if around is None else _folded(W, b, around)

    W_in, b_in = side(parts.into)
    W_gate, b_gate = (None, None) if parts.gate is None else side(parts.gate)
    if around is not None:
        W_out, b_out = _written(W_out, around), _written(b_out[None], around)[0]
    return MlpMatrices(W_in, W_gate, W_out, b_in, b_gate, b_out)


def _check_layer(model: LanguageModel, layer: int) -> None:
    if not 0 <= layer < model.n_layers:
        raise InputError(
            f"Layer {layer} does not exist: {model.name} has {model.n_layers} layers, "
            f"0 to {model.n_layers - 1}."
        )


def _check_finite(model: LanguageModel, layer: int) -> None:
    """Why nothing fits that was compared with the model: NaN in a layer spoils all later ones."""
    for number, block in enumerate(model.structure.blocks[: layer + 1]):
        for name, values in block.module.named_parameters():
            if not bool(values.isfinite().all()):
                raise ModelError(
                    f"The weights of {model.name} hold NaN or infinite numbers ({name} of layer "
                    f"{number}); load a sound copy of it."
                )


def _attention(model: LanguageModel, layer: int, head: int = 0) -> AttentionParts:
    _check_layer(model, layer)
    parts = model.attention_parts[layer]
    if isinstance(parts, str):
        _check_finite(model, layer)
        raise ModelError(
            f"The attention of layer {layer} of {model.name} cannot be read off its weights: "
            f"{parts}. Choose another layer or model."
        )
    if not 0 <= head < parts.wiring.n_heads:
        raise InputError(
            f"Head {head} does not exist: layer {layer} of {model.name} has "
            f"{parts.wiring.n_heads} heads, 0 to {parts.wiring.n_heads - 1}."
        )
    return parts


def _surroundings(
    model: LanguageModel, layer: int, surroundings: Surroundings | str
) -> Surroundings:
    if isinstance(surroundings, str):
        _check_finite(model, layer)
        raise ModelError(
            f"The norms of layer {layer} of {model.name} cannot be folded into its weights: "
            f"{surroundings}. From Python, fold_norm=False gives the weights as they are."
        )
    return surroundings


def _bias(module: nn.Module, width: int, like: Tensor) -> Tensor:
    bias = getattr(module, "bias", None)
    return like.new_zeros(width) if bias is None else bias.detach().to(like)


def _read(
    model: LanguageModel,
    layer: int,
    parts: AttentionParts,
    channels: Int[Tensor, "d_head"],
    fold_norm: bool,
) -> tuple[Float[Tensor, "d_model d_head"], Float[Tensor, "d_head"]]:
    """Columns of the input projections, and their biases."""
    columns: list[Tensor] = []
    biases: list[Tensor] = []
    start = 0
    for module, width in zip(parts.wiring.projections, parts.wiring.widths, strict=True):
        own = channels[(channels >= start) & (channels < start + width)] - start
        weight = linear_weight(module).detach()
        own = own.to(weight.device)
        columns.append(weight[own].float())
        biases.append(_bias(module, width, columns[0])[own])
        start += width
    W, b = torch.cat(columns).T.clone(), torch.cat(biases)
    if not fold_norm:
        return W, b
    return _folded(W, b, _surroundings(model, layer, parts.surroundings))


def _folded(W: Tensor, b: Tensor, around: Surroundings) -> tuple[Tensor, Tensor]:
    """The map behind the norm as a map of the normalised stream."""
    if around.before is None:
        return W, b
    return around.before.fold(W), b + around.before.bias @ W


def _written(W: Tensor, around: Surroundings) -> Tensor:
    """The map that writes, past the norm after it and the factor of the part."""
    folded = W if around.after is None else around.after.fold_after(W)
    return around.factor * folded
