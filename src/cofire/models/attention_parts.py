"""The parts of every layer's attention: the maps in and out, the norms before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cofire.errors import ModelError
from cofire.models.attention_layout import AttentionLayout, find_layouts
from cofire.models.attention_probe import Wiring
from cofire.models.block import (
    Block,
    added_scale,
    attention_modules,
    is_linear,
    linear_weight,
    norm_after,
)
from cofire.models.norms import NormMap, measure_norm
from cofire.models.structure import Structure
from cofire.models.tracing import Call, probe_ids, trace
from cofire.types import Tensor


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What lies between a part of a block and the residual stream.

    Attributes:
        before: the norm on what the part reads, None where it reads the stream itself.
        after: the norm on what it writes, None where there is none.
        factor: what is then multiplied to it before it is added to the stream.
    """

    before: NormMap | None
    after: NormMap | None
    factor: float


@dataclass(frozen=True, eq=False)
class AttentionParts:
    """One layer's attention.

    Attributes:
        wiring: its linear maps.
        layout: whose channels are whose.
        surroundings: norms before and after it, or why they are not known.
    """

    wiring: Wiring
    layout: AttentionLayout
    surroundings: Surroundings | str


def find_attention(model: Any, structure: Structure) -> tuple[AttentionParts | str, ...]:
    """The attention of every layer, or why it cannot be read off.

    Costs a traced forward pass over ten tokens, three passes over two tokens in some hundred rows,
    and three more passes of every block.

    Args:
        model: the transformers model.
        structure: its parts.
    """
    config = model.config.get_text_config()
    n_heads = getattr(config, "num_attention_heads", None)
    device = next(structure.trunk.parameters()).device
    calls = trace(structure.trunk, probe_ids(config.vocab_size, device))
    by_module = {call.module: call for call in calls}
    found: list[Wiring | str] = []
    for block in structure.blocks:
        call = by_module[block.module]
        inside = [one for one in calls if one.name.startswith(f"{call.name}.")]
        found.append(_find_wiring(block, inside, n_heads))
    wirings = [wiring for wiring in found if isinstance(wiring, Wiring)]
    layouts = iter(find_layouts(structure.trunk, wirings, device) if wirings else ())
    parts: list[AttentionParts | str] = []
    for block, wiring in zip(structure.blocks, found, strict=True):
        layout = wiring if isinstance(wiring, str) else next(layouts)
        if isinstance(wiring, str) or isinstance(layout, str):
            parts.append(str(layout))
            continue
        surroundings = _surroundings(block, wiring, by_module[block.module], calls)
        parts.append(AttentionParts(wiring, layout, surroundings))
    return tuple(parts)


def _find_wiring(block: Block, inside: Sequence[Call], n_heads: int | None) -> Wiring | str:
    """The linear maps of a block's attention, or why they are not such as cofire can read."""
    output = block.attention_projection
    if output is None:
        return block.missing.get("attn", "it has no attention")
    own = attention_modules(block.module)
    linear = [call for call in inside if is_linear(call.module) and call.module in own]
    place = next(i for i, call in enumerate(linear) if call.module is output)
    before = linear[:place]
    if not before:
        return "no linear map leads to its heads"
    if len({_address(call.input) for call in before}) != 1:
        return "its queries, keys and values are made in more than one step"
    if len({call.module for call in before}) != len(before):
        return "one of its maps runs more than once a token"
    try:
        width = linear_weight(output).shape[1]
        widths = tuple(linear_weight(call.module).shape[0] for call in before)
    except ModelError as error:
        return str(error).rstrip(".")
    if n_heads is None or width % n_heads:
        return f"{width} channels of its heads do not divide among {n_heads} heads"
    norms: list[tuple[int, NormMap]] = []
    for number, call in enumerate(before):
        start = sum(widths[:number])
        for other in inside:
            norm = _norm_of_scores(call, other)
            if norm is not None:
                norms.append((start + norm[0], norm[1]))
    return Wiring(
        block=block.module,
        projections=tuple(call.module for call in before),
        widths=widths,
        output=output,
        width=width,
        n_heads=n_heads,
        norms=tuple(norms),
    )


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _norm_of_scores(projection: Call, other: Call) -> tuple[int, NormMap] | None:
    """First channel and norm, when a module reads what the projection wrote and norms it."""
    if other.order <= projection.order or not list(other.module.parameters(recurse=False)):
        return None
    if other.input is None or projection.output is None or is_linear(other.module):
        return None
    offset = other.input.data_ptr() - projection.output.data_ptr()
    start = offset // projection.output.element_size()
    if not 0 <= start < projection.output.shape[-1]:
        return None
    try:
        return start, measure_norm(other.module, other.input.shape[-1])
    except ModelError:
        return None


def _surroundings(
    block: Block, wiring: Wiring, call: Call, calls: Sequence[Call]
) -> Surroundings | str:
    """Norms before and after the attention, or why its weights cannot be folded into them."""
    inside = [one for one in calls if one.name.startswith(f"{call.name}.")]
    first = next(one for one in inside if one.module is wiring.projections[0])
    output = next(one for one in inside if one.module is wiring.output)
    silent = block.post_mlp_norm or block.mlp_projection
    return surroundings_of(first, output, call, inside, (call.input,), silent)


def surroundings_of(
    first: Call,
    last: Call,
    block: Call,
    inside: Sequence[Call],
    streams: Sequence[Tensor | None],
    silent: nn.Module | None,
) -> Surroundings | str:
    """What lies between a part of a block and the stream, or why that is more than norms.

    Args:
        first: call of a map that reads the part's input.
        last: call of the map that writes its output.
        block: call of the block.
        inside: calls within the block.
        streams: tensors that are the residual stream; the part must read one of them.
        silent: see ``added_scale``.
    """
    reader = next(
        (
            one
            for one in inside
            if one.order < first.order
            and _address(one.output) == _address(first.input)
            and _address(one.input) != _address(one.output)
            and next(one.module.children(), None) is None
        ),
        None,
    )
    source = first.input if reader is None else reader.input
    if not any(_same(source, stream) for stream in streams):
        return "what it reads is not the residual stream or a norm of it"
    writer = norm_after(last, list(inside))
    factor = added_scale(block, writer or last, silent)
    if factor is None:
        return "what it writes passes through more than a norm and a factor"
    try:
        width = int(source.shape[-1]) if source is not None else 0
        before = None if reader is None else measure_norm(reader.module, width)
        after = None if writer is None else measure_norm(writer.module, width)
    except ModelError as error:
        return str(error).rstrip(".")
    return Surroundings(before, after, factor)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors hold the same numbers, to rounding."""
    if one is None or other is None or one.numel() != other.numel():
        return False
    a, b = one.flatten().float(), other.flatten().float()
    return bool((a - b).norm() <= max(1e-4, 16 * torch.finfo(one.dtype).eps) * b.norm())
