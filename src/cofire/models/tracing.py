"""One tiny forward pass, written down: which module ran when, on which tensors."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cofire.errors import ModelError

PROBE_TEXTS, PROBE_POSITIONS = 2, 5
"""Shape of the probe batch; two different lengths, so that swapped axes cannot go unnoticed."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one module.

    Attributes:
        module: the module that ran.
        name: its dotted name below the traced model.
        order: place in the sequence of finished calls.
        args: positional arguments.
        kwargs: keyword arguments.
        input: the first tensor argument, None when there is none.
        output: the result, or its first element when the result is a tuple.
    """

    module: nn.Module
    name: str
    order: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    input: Tensor | None
    output: Tensor | None


def first_tensor(value: object) -> Tensor | None:
    """A tensor, or the first element of a tuple when that is a tensor; else None."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def probe_ids(vocabulary: int, device: torch.device) -> Tensor:
    """Token ids [batch position] of the probe, spread over the vocabulary; the same every time."""
    count = PROBE_TEXTS * PROBE_POSITIONS
    ids = torch.arange(1, count + 1, device=device) * max(vocabulary // (count + 1), 1)
    return (ids % vocabulary).view(PROBE_TEXTS, PROBE_POSITIONS)


def accepts(module: nn.Module, argument: str) -> bool:
    """Whether the module's forward takes a keyword argument of this name explicitly."""
    return argument in inspect.signature(module.forward).parameters


def trace(model: nn.Module, input_ids: Tensor) -> list[Call]:
    """Run the model once and list every call of every submodule in the order they finished.

    Tensors are kept as they are, not copied, so that two calls that share a tensor can be told
    from two that merely agree; a model that writes in place changes what was noted.

    Args:
        model: the trunk of a language model.
        input_ids: tokens [batch position].
    """
    calls: list[Call] = []

    def note(name: str) -> Any:
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
        ) -> None:
            given = [*args, *kwargs.values()]
            first = next((value for value in given if isinstance(value, Tensor)), None)
            calls.append(Call(module, name, len(calls), args, kwargs, first, first_tensor(out)))

        return hook

    hooks = [
        module.register_forward_hook(note(name), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        run_trunk(model, input_ids, torch.ones_like(input_ids))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def run_trunk(
    trunk: nn.Module, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor | None = None
) -> Any:
    """Call a trunk without a cache; position ids go only to models that take them.

    Args:
        trunk: the model without its head.
        input_ids: tokens [batch position].
        attention_mask: 1 for tokens, 0 for padding, [batch position].
        position_ids: places counted from 0 [batch position]; None leaves them to the model.
    """
    inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
    if accepts(trunk, "use_cache"):
        inputs["use_cache"] = False
    if position_ids is not None and accepts(trunk, "position_ids"):
        inputs["position_ids"] = position_ids
    with torch.inference_mode():
        return trunk(**inputs)


@contextmanager
def replaced_output(module: nn.Module, value: Tensor) -> Iterator[None]:
    """While open, the module's output is a copy of ``value`` in place of what it computed."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        fresh = value.clone()  # some blocks add to it in place
        return (fresh, *output[1:]) if isinstance(output, tuple) else fresh

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def zeroed_output(module: nn.Module) -> Iterator[None]:
    """While open, the module's output is zeros of the shape of what it computed."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            return output
        nothing = torch.zeros_like(tensor)
        return (nothing, *output[1:]) if isinstance(output, tuple) else nothing

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def run_again(call: Call) -> Tensor:
    """Output of a module on the arguments of its traced call.

    Raises:
        ModelError: when the module returns no tensor.
    """

    def fresh(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    with torch.inference_mode():
        args = [fresh(value) for value in call.args]
        kwargs = {name: fresh(value) for name, value in call.kwargs.items()}
        output = first_tensor(call.module(*args, **kwargs))
    if output is None:
        raise ModelError(f"{type(call.module).__name__} returned no tensor.")
    return output
