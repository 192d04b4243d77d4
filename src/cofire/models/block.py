"""What is inside one layer: MLP projection, attention projection, norms and scales."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cofire.errors import ModelError
from cofire.models.tracing import Call, replaced_output, run_again, zeroed_output
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
    attention = attention_modules(block.module)
    in_attention = [call for call in inside if is_linear(call.module) and call.module in attention]
    missing: dict[SiteKind, str] = {}
    attention_projection = _last_of_width(in_attention, d_model)
    if attention_projection is None:
        missing["attn"] = "it has no attention that ends in a linear map of the residual width"
    projection = _mlp_projection(block, inside, attention, d_model)
    if isinstance(projection, str):
        missing["mlp"] = missing["mlp_out"] = projection
        return Block(
            module=block.module,
            attention_projection=_module_of(attention_projection),
            missing=missing,
        )
    norm = norm_after(projection, inside)
    scale = added_scale(block, norm or projection)
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


def attention_modules(block: nn.Module) -> set[nn.Module]:
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
    block: Call, inside: list[Call], attention: set[nn.Module], d_model: int
) -> Call | str:
    """The call of the MLP's output projection, or why there is none.

    The MLP is the last child of the block that is one, else the last linear maps of the block
    outside its attention, wherever they lie.
    """
    outside = [call for call in inside if is_linear(call.module) and call.module not in attention]
    found: list[Call] = []
    reasons: list[str] = []
    for name, child in block.module.named_children():
        if is_linear(child):
            continue
        maps = [call for call in outside if call.name.startswith(f"{block.name}.{name}.")]
        reason = _why_no_mlp(child, maps, inside, attention, d_model)
        if reason is None:
            found.append(maps[-1])
        elif reason:
            reasons.append(f"its {name} ({type(child).__name__}) {reason}")
    if found:
        return max(found, key=lambda call: call.order)
    if reasons:
        return "; ".join(reasons)
    projection = _last_of_width(outside, d_model) if len(outside) > 1 else None
    return projection or "it has no two linear maps beside its attention that lead to its width"


def _why_no_mlp(
    child: nn.Module, maps: list[Call], inside: list[Call], attention: set[nn.Module], d_model: int
) -> str | None:
    """Why a child of a block is no dense MLP; empty when it is not even like one, None if it is."""
    modules = [module for module in child.modules() if module not in attention]
    stacked = any(
        weight.ndim > 2
        for module in modules
        if not isinstance(module, nn.Conv1d)
        for weight in module.parameters(recurse=False)
    )
    ran = [call.module for call in maps]
    if stacked or any(ran.count(module) != 1 for module in modules if is_linear(module)):
        return (
            "is not dense: some of its linear maps do not run once a token (a mixture of experts?)"
        )
    if len(maps) < 2 or _last_of_width(maps, d_model) is None:
        return ""
    call = next((call for call in inside if call.module is child), None)
    if call is not None and _mixes_positions(call):
        return "mixes positions"
    return None


def _mixes_positions(call: Call) -> bool:
    """Whether a module's output at one position depends on its input at another."""
    if call.input is None or call.input.ndim != 3:
        return False
    disturbed = call.input.clone()
    disturbed[:, 0] = disturbed[:, 0].flip(-1) + 1

    def exchange(value: Any) -> Any:
        return disturbed if value is call.input else value

    plain = run_again(call)
    other = run_again(
        replace(
            call,
            args=tuple(map(exchange, call.args)),
            kwargs={name: exchange(value) for name, value in call.kwargs.items()},
        )
    )
    return not torch.allclose(plain[:, 1:], other[:, 1:], rtol=1e-3, atol=1e-3)


def norm_after(projection: Call, inside: list[Call]) -> Call | None:
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


def added_scale(block: Call, source: Call, silent: nn.Module | None = None) -> float | None:
    """The factor c for which the block adds c times the source's output to the stream.

    The block is run with noise in place of the source's output, and with nothing in its place:
    the difference must be c times the noise, to rounding. The noise is far larger than the stream,
    so that c can be read off in half precision, and larger in some rows than in others, so that a
    norm after the sum shows. None when there is no such c.

    Args:
        block: the call of the block.
        source: the call whose output is added.
        silent: a module that reads what the source wrote and is made to return zeros meanwhile, as
            the MLP must be when the source is the attention.
    """
    if source.output is None:
        return None
    with nullcontext() if silent is None else zeroed_output(silent):
        return _scale_of_noise(block, source.module, source.output)


def _scale_of_noise(block: Call, source: nn.Module, output: Tensor) -> float | None:
    """See ``added_scale``."""
    limit = torch.finfo(output.dtype)
    plain = run_again(block).cpu().double()
    size = min(100 * max(1.0, plain.abs().max().item()), limit.max / 1000)
    noise = size * torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    noise[..., ::2, :] /= 4
    noise = noise.to(output)
    with replaced_output(source, noise):
        changed = run_again(block).cpu().double()
    with replaced_output(source, torch.zeros_like(noise)):
        without = run_again(block).cpu().double()
    added, given = (changed - without).flatten(), noise.cpu().double().flatten()
    summed = changed.abs() + without.abs() + plain.abs() + plain.abs().mean()
    weight = summed.flatten().square().reciprocal()
    scale = ((added * given * weight).sum() / (given.square() * weight).sum()).item()
    tolerance = _SCALE_TOLERANCE * limit.eps * (summed.flatten() + (scale * given).abs())
    if not ((added - scale * given).abs() <= tolerance).all():
        return None
    return 1.0 if abs(scale - 1) <= 8 * limit.eps else scale
