"""The maps into a layer's MLP and which of them gates, found by what they do to the neurons."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cofire.errors import ModelError
from cofire.models.attention_parts import Surroundings, surroundings_of
from cofire.models.block import Block, attention_modules, is_linear, linear_weight
from cofire.models.structure import Structure
from cofire.models.tracing import Call, probe_ids, run_again, trace
from cofire.types import Int, Tensor


@dataclass(frozen=True, eq=False)
class MlpParts:
    """One layer's MLP.

    Attributes:
        projections: the maps that read the MLP's input; their outputs, one after the other, are
            the channels spoken of below.
        output: the map that reads the neurons.
        into: channel that each neuron is proportional to, or reads where nothing gates.
        gate: channel that gates each neuron, None without gates.
        surroundings: norms before and after it, or why they are not known.
    """

    projections: tuple[nn.Module, ...]
    output: nn.Module
    into: Int[Tensor, "channels"]
    gate: Int[Tensor, "channels"] | None
    surroundings: Surroundings | str


def find_mlps(model: Any, structure: Structure) -> tuple[MlpParts | str, ...]:
    """The MLP of every layer, or why it cannot be read off.

    Args:
        model: the transformers model.
        structure: its parts.
    """
    vocabulary = model.config.get_text_config().vocab_size
    device = next(structure.trunk.parameters()).device
    calls = trace(structure.trunk, probe_ids(vocabulary, device))
    by_module = {call.module: call for call in calls}
    return tuple(_find_mlp(block, by_module[block.module], calls) for block in structure.blocks)


def _find_mlp(block: Block, call: Call, calls: Sequence[Call]) -> MlpParts | str:
    if block.mlp_projection is None:
        return block.missing.get("mlp", "it has no MLP")
    inside = [one for one in calls if one.name.startswith(f"{call.name}.")]
    own = attention_modules(block.module)
    linear = [one for one in inside if is_linear(one.module) and one.module not in own]
    place = next(i for i, one in enumerate(linear) if one.module is block.mlp_projection)
    output = linear[place]
    address = None if place == 0 else _address(linear[place - 1])
    before = [one for one in linear[:place] if _address(one) == address]
    if not before:
        return "no linear map leads to its neurons"
    projections = tuple(one.module for one in before)
    try:
        widths = [linear_weight(module).shape[0] for module in projections]
        neurons = linear_weight(output.module).shape[1]
    except ModelError as error:
        return str(error).rstrip(".")
    sides = _find_sides(call, projections, widths, output.module, neurons)
    if isinstance(sides, str):
        return sides
    written = block.post_mlp_norm
    added = by_output(inside, written) or output
    streams = [call.input]
    if call.output is not None and added.output is not None:
        streams.append(call.output - block.mlp_scale * added.output.view_as(call.output))
    surroundings = surroundings_of(before[0], output, call, inside, streams, None)
    return MlpParts(projections, output.module, *sides, surroundings)


def by_output(calls: Sequence[Call], module: nn.Module | None) -> Call | None:
    """The call of a module among calls."""
    return next((call for call in calls if call.module is module), None)


def _address(call: Call) -> int:
    return 0 if call.input is None else call.input.data_ptr()


def _find_sides(
    block: Call,
    projections: Sequence[nn.Module],
    widths: Sequence[int],
    output: nn.Module,
    neurons: int,
) -> tuple[Tensor, Tensor | None] | str:
    """Channels that each neuron reads: (into, gate)."""
    total = sum(widths)
    everything = torch.arange(total)
    if total == neurons:
        return (everything, None)
    if total != 2 * neurons:
        return f"{total} channels lead to its {neurons} neurons"
    halves = everything.view(2, neurons), everything.view(neurons, 2).T
    generator = torch.Generator().manual_seed(0)
    base = 0.5 + torch.rand(total, generator=generator)
    turned = torch.rand(neurons, generator=generator) < 0.5
    plain = _neurons(block, projections, widths, output, base)
    for one, other in halves:
        for into, gate in ((other, one), (one, other)):
            changed = base.clone()
            changed[into[turned]] *= -1
            signs = torch.where(turned, -1.0, 1.0)
            if torch.allclose(
                _neurons(block, projections, widths, output, changed),
                signs * plain,
                rtol=1e-2,
                atol=1e-2 * plain.abs().mean().item(),
            ):
                return (into, gate)
    return "its neurons are no products of a gate and a linear map"


def _neurons(
    block: Call,
    projections: Sequence[nn.Module],
    widths: Sequence[int],
    output: nn.Module,
    given: Tensor,
) -> Tensor:
    """What the output map reads when the maps before it write the given numbers."""
    seen: list[Tensor] = []

    def write(part: Tensor) -> Any:
        def hook(_module: nn.Module, _args: Any, result: Tensor) -> Tensor:
            return part.to(result).expand_as(result).clone()

        return hook

    def read(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0].detach().float().cpu().reshape(-1, args[0].shape[-1])[0])

    with ExitStack() as stack:
        for module, part in zip(projections, given.split(list(widths)), strict=True):
            stack.callback(module.register_forward_hook(write(part)).remove)
        stack.callback(output.register_forward_pre_hook(read).remove)
        run_again(block)
    return seen[0]
