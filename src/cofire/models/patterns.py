"""Where every head looks, read in one forward pass from any attention implementation.

Beside each text run rows with the same stream, in which the values of a head say where they stand:
1 in the channel of their own position, 0 elsewhere. What such a head hands on is its attention.
So no other implementation has to be switched on, and fused kernels can be read as well.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, TypeAlias

import torch
from torch import nn

from cofire.errors import InputError, ModelError
from cofire.models.adapter import LanguageModel
from cofire.models.attention_parts import AttentionParts
from cofire.site import Site
from cofire.types import Float, Int, Tensor

PatternReceiver: TypeAlias = Callable[
    [int, Float[Tensor, "batch heads position _"], Float[Tensor, "batch heads position d_head"]],
    None,
]
"""Gets the layer, its attention from each token (third axis) to each token (last axis), and what
each head hands on there, its mixture of values. All float32 on the model's device."""


def read_patterns(
    model: LanguageModel,
    input_ids: Int[Tensor, "batch position"],
    receive: PatternReceiver,
    *,
    attention_mask: Int[Tensor, "batch position"] | None = None,
    layers: Iterable[int] | None = None,
) -> None:
    """Hand the attention of every head of every layer to a function, layer by layer.

    Costs a forward pass of 1 + ⌈positions / d_head⌉ rows a text; only one layer is held at once.

    Args:
        model: the model.
        input_ids: tokens.
        receive: called once a layer; attention of real tokens sums to 1.
        attention_mask: 1 for tokens and 0 for padding, which must stand on the right.
        layers: which layers; None for all that have attention that cofire understands.

    Raises:
        InputError: when a layer does not exist.
        ModelError: when a wanted layer's attention, or that of all layers, is not understood.
    """
    wanted = _wanted(model, layers)
    n_texts, length = input_ids.shape
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    narrowest = min(parts.wiring.d_head for parts in wanted.values())
    copies = 1 + -(-length // narrowest)  # of each text: itself, and one for every d_head positions
    rows = n_texts * copies

    def share_stream(tensor: Tensor) -> Tensor:
        grid = tensor.view(n_texts, copies, length, -1)
        return grid[:, :1].expand_as(grid).reshape(tensor.shape)

    with ExitStack() as stack:
        for layer, parts in wanted.items():
            stream = model.resolve(Site(layer, "resid_pre"))
            stack.callback(stream.register(share_stream).remove)
            _hook(stack, layer, parts, (n_texts, copies, length), receive)
        model.run(
            input_ids.to(model.device).repeat_interleave(copies, dim=0).view(rows, length),
            mask.to(model.device).repeat_interleave(copies, dim=0).view(rows, length),
        )


def attention_patterns(
    model: LanguageModel,
    input_ids: Int[Tensor, "batch position"],
    *,
    attention_mask: Int[Tensor, "batch position"] | None = None,
    layers: Iterable[int] | None = None,
) -> dict[int, Float[Tensor, "batch heads position _"]]:
    """Attention of every head by layer, all held at once; see ``read_patterns``."""
    found: dict[int, Tensor] = {}

    def keep(layer: int, pattern: Tensor, _handed_on: Tensor) -> None:
        found[layer] = pattern

    read_patterns(model, input_ids, keep, attention_mask=attention_mask, layers=layers)
    return found


def _wanted(model: LanguageModel, layers: Iterable[int] | None) -> dict[int, AttentionParts]:
    wanted: dict[int, AttentionParts] = {}
    for layer in range(model.n_layers) if layers is None else layers:
        if not 0 <= layer < model.n_layers:
            raise InputError(
                f"Layer {layer} does not exist: {model.name} has {model.n_layers} layers, "
                f"0 to {model.n_layers - 1}."
            )
        parts = model.attention_parts[layer]
        if not isinstance(parts, str):
            wanted[layer] = parts
        elif layers is not None:
            raise ModelError(
                f"The attention of layer {layer} of {model.name} is not read: {parts}."
            )
    if not wanted:
        raise ModelError(
            f"{model.name} has no attention that can be read: {model.attention_parts[0]}. "
            "Choose another model."
        )
    return wanted


def _hook(
    stack: ExitStack,
    layer: int,
    parts: AttentionParts,
    shape: tuple[int, int, int],
    receive: PatternReceiver,
) -> None:
    """Write positions into the values of the copies, and read what the heads make of them."""
    n_texts, copies, length = shape
    wiring = parts.wiring
    start = 0
    for module, width in zip(wiring.projections, wiring.widths, strict=True):
        entries: list[tuple[int, int]] = []  # channel of this projection, its place in a value
        for row in parts.layout.values.tolist():
            entries += [(c - start, i) for i, c in enumerate(row) if start <= c < start + width]
        if entries:
            channels, places = map(torch.tensor, zip(*sorted(set(entries)), strict=True))
            hook = _write(channels, places, wiring.d_head, shape)
            stack.callback(module.register_forward_hook(hook).remove)
        start += width

    def read(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        heads = args[0].detach().view(n_texts, copies, length, wiring.n_heads, wiring.d_head)
        by_head = heads.transpose(2, 3).float()
        pattern = by_head[:, 1:].permute(0, 2, 3, 1, 4).flatten(3)[..., :length]
        receive(layer, pattern, by_head[:, 0])

    stack.callback(wiring.output.register_forward_pre_hook(read).remove)


def _write(channels: Tensor, places: Tensor, d_head: int, shape: tuple[int, int, int]) -> Any:
    n_texts, copies, length = shape
    positions = torch.arange(length)

    def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        changed = output.reshape(n_texts, copies, length, -1).clone()
        for copy in range(copies - 1):
            says = positions[:, None] == copy * d_head + places[None, :]
            changed[:, copy + 1, :, channels] = says.to(changed)
        return changed.view_as(output)

    return hook
