"""The parts of a decoder, found by what they do in one traced forward pass, never by their names.

The one name that counts is that attention modules say so (``attn`` or ``attention``, in the class
or the attribute): no other mark is shared by every architecture.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cofire.errors import ModelError
from cofire.models.block import Block, understand_block
from cofire.models.tracing import Call, probe_ids, trace


@dataclass(frozen=True, eq=False)
class Structure:
    """The parts of a decoder.

    Attributes:
        trunk: the model without its head.
        blocks: the layers in the order in which they run.
        readout: what runs between the last block and the unembedding, usually the final norm.
        unembedding: the linear map from the residual stream to the vocabulary, None without one.
        d_model: width of the residual stream.
    """

    trunk: nn.Module
    blocks: tuple[Block, ...]
    readout: tuple[nn.Module, ...]
    unembedding: nn.Module | None
    d_model: int


def find_structure(model: Any) -> Structure:
    """Find trunk, blocks, projections, norms and unembedding of a causal language model.

    Costs a forward pass over ten tokens and three more of every block.

    Args:
        model: a transformers causal language model, in evaluation mode.

    Raises:
        ModelError: when no stack of blocks, or no MLP in any of them, can be found.
    """
    trunk = model.base_model
    config = model.config.get_text_config()
    device = next(trunk.parameters()).device
    try:
        calls = trace(trunk, probe_ids(config.vocab_size, device))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ModelError(
            f"{type(model).__name__} does not run on token ids alone ({error}); "
            "load a causal language model."
        ) from error
    stack = _find_stack(model, trunk, calls, getattr(config, "num_hidden_layers", None))
    d_model = _width(stack[0])
    blocks = tuple(understand_block(call, calls, d_model) for call in stack)
    if all(block.mlp_projection is None for block in blocks):
        children = ", ".join(
            f"{name} ({type(child).__name__})" for name, child in stack[0].module.named_children()
        )
        raise ModelError(
            f"{type(model).__name__} has {len(blocks)} blocks of "
            f"{type(stack[0].module).__name__} with {children or 'no parts'}, but no MLP could be "
            f"found in any of them: {blocks[0].missing['mlp']}. cofire decomposes MLP "
            "activations; load a model whose blocks hold a dense MLP."
        )
    head = model.get_output_embeddings()
    return Structure(
        trunk=trunk,
        blocks=blocks,
        readout=_find_readout(stack[-1], calls, d_model),
        unembedding=head if isinstance(head, nn.Linear | Conv1D) else None,
        d_model=d_model,
    )


def _width(call: Call) -> int:
    """Last axis of what a module read; 0 when it read no tensor."""
    return call.input.shape[-1] if isinstance(call.input, Tensor) else 0


def _find_stack(
    model: nn.Module, trunk: nn.Module, calls: list[Call], n_layers: int | None
) -> list[Call]:
    """Calls of the blocks: a list of modules that each ran once, in order, on the stream."""
    by_module: dict[nn.Module, list[Call]] = {}
    for call in calls:
        by_module.setdefault(call.module, []).append(call)
    found: list[str] = []
    stacks: list[list[Call]] = []
    for name, module in trunk.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        members = [by_module.get(member, []) for member in module]
        found.append(
            f"{name} ({len(members)} × {type(module[0]).__name__}, {sum(map(bool, members))} ran)"
        )
        if any(len(member) != 1 for member in members):
            continue
        stack = [member[0] for member in members]
        if _is_residual_stack(stack) and len(stack) == (n_layers or len(stack)):
            stacks.append(stack)
    if not stacks:
        raise ModelError(
            f"No stack of blocks found in {type(model).__name__}: cofire looks for a list of "
            f"{n_layers or 'some'} modules that each run once, in order, from a residual stream "
            f"to one of the same width; found {', '.join(found) or 'no list of modules'}. "
            "Load a decoder-only transformer."
        )
    return max(stacks, key=len)


def _is_residual_stack(stack: list[Call]) -> bool:
    """Whether calls ran one after the other and each kept the shape of the same stream."""
    shapes = {
        None if tensor is None else tuple(tensor.shape)
        for call in stack
        for tensor in (call.input, call.output)
    }
    orders = [call.order for call in stack]
    return len(shapes) == 1 and None not in shapes and orders == sorted(orders)


def _find_readout(last: Call, calls: list[Call], d_model: int) -> tuple[nn.Module, ...]:
    """Modules without children that changed the stream after the last block."""
    modules: list[nn.Module] = []
    width = d_model
    for call in calls[last.order + 1 :]:
        leaf = next(call.module.children(), None) is None
        if not leaf or call.output is None or call.input is None or _width(call) != width:
            continue
        if call.output.data_ptr() != call.input.data_ptr():
            modules.append(call.module)
            width = call.output.shape[-1]
    return tuple(modules)
