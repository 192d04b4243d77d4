"""What is inside one layer: MLP projection, attention projection, norms and scales."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cofire.errors import ModelError
from cofire.models.tracing import Call, first_tensor, replaced_output
from cofire.site import SiteKind

_ATTENTION_MARKS = ("attn", "attention")
_SCALE_TOLERANCE = 32
"""Rounding errors, in units of the number type's epsilon, allowed when a scale is measured."""


@dataclass(frozen=True, eq=False)
class Block:
    """One layer of a decoder.

    Attributes:
        module: the block; it maps the residual stream to the residual stream.
        mlp_projection: the linear map from the MLP's hidden layer to the residual width.
        post_mlp_norm: the norm between that projection and the residual stream, where one exists.
        mlp_scale: factor between the (normed) MLP output and what is added to the stream.
        attention_projection: the linear map that reads the concatenated heads.
        missing: for every kind of site that the block lacks, why.
    """

    module: nn.Module
    mlp_projection: nn.Module | None = None
    post_mlp_norm: nn.Module | None = None
    mlp_scale: float = 1.0
    attention_projection: nn.Module | None = None
    missing: dict[SiteKind, str] = field(default_factory=dict)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map in one of the two layouts that transformers uses."""
    return isinstance(module, nn.Linear | Conv1D)


def linear_weight(module: nn.Module) -> Tensor:
    """Weight of a linear module in the layout [out in].

    Raises:
        ModelError: when the weight is packed (quantised) rather than a plain matrix.
    """
    weight = module.weight
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise ModelError(
            f"The weight of {type(module).__name__} is no plain matrix of numbers; "
            "load the model without quantisation."
        )
    return weight.T if isinstance(module, Conv1D) else weight


def understand_block(block: Call, calls: list[Call], d_model: int) -> Block:
    """Find the parts of one block from the traced calls inside it.

    Args:
        block: the call of the block.
        calls: all calls of the trace.
        d_model: width of the residual stream.
    """
    inside = [call for call in calls if call.name.startswith(f"{block.name}.")]
    linears = [call for call in inside if is_linear(call.module) and call.output is not None]
    attention = _attention_modules(block.module)
    in_attention = [call for call in linears if call.module in attention]
    missing: dict[SiteKind, str] = {}
    attention_projection = _last_of_width(in_attention, d_model)
    if attention_projection is None:
        missing["attn"] = "its attention has no output projection of the residual width"
    projection = _mlp_projection(block, linears, attention, d_model)
    if isinstance(projection, str):
        missing["mlp"] = missing["mlp_out"] = projection
        return Block(
            module=block.module,
            attention_projection=_module_of(attention_projection),
            missing=missing,
        )
    norm = _norm_after(projection, inside)
    scale = _added_scale(block, norm or projection)
    if scale is None:
        missing["mlp_out"] = "what its MLP adds passes through more than a norm and a factor"
    return Block(
        module=block.module,
        mlp_projection=projection.module,
        post_mlp_norm=_module_of(norm),
        mlp_scale=1.0 if scale is None else scale,
        attention_projection=_module_of(attention_projection),
        missing=missing,
    )


def _module_of(call: Call | None) -> nn.Module | None:
    return None if call is None else call.module


def _attention_modules(block: nn.Module) -> set[nn.Module]:
    """Every module that is, or lies within, an attention module of the block."""
    inside: set[nn.Module] = set()
    for name, module in block.named_modules():
        own_name = name.rpartition(".")[2].lower()
        kind = type(module).__name__.lower()
        if name and any(mark in own_name or mark in kind for mark in _ATTENTION_MARKS):
            inside.update(module.modules())
    return inside


def _last_of_width(calls: list[Call], width: int) -> Call | None:
    """The last call, if it maps to that width."""
    last = calls[-1] if calls else None
    return last if last and last.output is not None and last.output.shape[-1] == width else None


def _mlp_projection(
    block: Call, linears: list[Call], attention: set[nn.Module], d_model: int
) -> Call | str:
    """The call of the MLP's output projection, or why there is none.

    It is the last linear map of a child of the block that holds two or more of them, or of the
    block itself when its linear maps lie side by side.
    """
    outside = [call for call in linears if call.module not in attention]
    called = [call.module for call in outside]
    for module in block.module.modules():
        stacked = any(weight.ndim > 2 for weight in module.parameters(recurse=False))
        unused = is_linear(module) and called.count(module) != 1
        convolution = isinstance(module, nn.Conv1d)
        if module not in attention and (unused or (stacked and not convolution)):
            return "its MLP is a mixture of experts, which has no single hidden layer"
    groups: dict[str, list[Call]] = {}
    for call in outside:
        child, dot, _ = call.name.removeprefix(f"{block.name}.").partition(".")
        groups.setdefault(child if dot else "", []).append(call)
    children = [group for child, group in groups.items() if child and len(group) > 1]
    members = children[0] if len(children) == 1 else outside
    if len(members) < 2:
        return "it has no MLP beside its attention"
    projection = _last_of_width(members, d_model)
    return projection or "its last linear map does not lead back to the residual width"


def _norm_after(projection: Call, inside: list[Call]) -> Call | None:
    """The module that reads the very tensor which the projection wrote, and changes it."""
    written = projection.output
    for call in inside:
        later = call.order > projection.order
        leaf = next(call.module.children(), None) is None
        if not (later and leaf) or call.input is None or call.output is None or written is None:
            continue
        reads = call.input.data_ptr() == written.data_ptr()
        if reads and call.output.data_ptr() != written.data_ptr():
            return call
    return None


def _added_scale(block: Call, source: Call) -> float | None:
    """The factor c for which the block adds c times the source's output to the stream.

    The block is run once as it is and once with the source's output replaced by large noise; the
    difference must be c times the difference of the two, to rounding. None when it is not.
    """
    if source.output is None or block.input is None:
        return None
    shape, device, dtype = source.output.shape, source.output.device, source.output.dtype
    plain = _run_again(block)
    limit = torch.finfo(dtype)
    size = min(100 * max(1.0, plain.abs().max().item()), limit.max / 1000)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, dtype) * size
    with replaced_output(source.module, noise):
        changed = _run_again(block)
    with replaced_output(source.module, torch.zeros_like(noise)):
        without = _run_again(block)
    added = (changed.double() - without.double()).flatten()
    given = noise.double().flatten()
    rounding = changed.double().abs().flatten() + without.double().abs().flatten() + size
    weight = rounding.square().reciprocal()
    scale = ((added * given * weight).sum() / (given.square() * weight).sum()).item()
    tolerance = _SCALE_TOLERANCE * limit.eps * rounding
    if not ((added - scale * given).abs() <= tolerance).all():
        return None
    return 1.0 if abs(scale - 1) <= 8 * limit.eps else scale


def _run_again(block: Call) -> Tensor:
    """Output of the block on the arguments of its traced call."""

    def fresh(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    with torch.inference_mode():
        args = [fresh(value) for value in block.args]
        kwargs = {name: fresh(value) for name, value in block.kwargs.items()}
        output = first_tensor(block.module(*args, **kwargs))
    if output is None:
        raise ModelError(f"{type(block.module).__name__} returned no tensor.")
    return output
