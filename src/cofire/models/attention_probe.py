"""Runs a model with chosen queries, keys and values, and hears what its heads make of them."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from cofire.errors import ModelError
from cofire.models.norms import NormMap
from cofire.models.tracing import run_trunk
from cofire.types import Tensor


@dataclass(frozen=True, eq=False)
class Wiring:
    """The linear maps of one attention module.

    Attributes:
        block: the layer it lies in.
        projections: the maps that read the attention's input; their outputs, one after the other,
            are the channels that a layout speaks of.
        widths: number of output channels of each.
        output: the map that reads the concatenated heads.
        width: number of channels it reads.
        n_heads: number of query heads.
        norms: norms that queries or keys pass through, each with the first channel it reads.
    """

    block: nn.Module
    projections: tuple[nn.Module, ...]
    widths: tuple[int, ...]
    output: nn.Module
    width: int
    n_heads: int
    norms: tuple[tuple[int, NormMap], ...] = ()

    @property
    def total(self) -> int:
        """Number of channels of all projections."""
        return sum(self.widths)

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.width // self.n_heads


class AttentionProbe:
    """Runs layers with chosen outputs of their projections; gives what the heads hand on.

    In half precision each layer runs by itself, as a float32 copy: scores are then read as
    exactly as in float32.
    """

    def __init__(self, trunk: nn.Module, wirings: Sequence[Wiring], device: torch.device) -> None:
        self.wirings = list(wirings)
        self._trunk = trunk
        self._device = device
        self._exact = next(trunk.parameters()).dtype in (torch.float32, torch.float64)

    def __call__(self, given: Sequence[Tensor], *, in_one_place: bool = False) -> list[Tensor]:
        """One pass.

        Args:
            given: for each layer the outputs of its projections [batch 2 channels].
            in_one_place: give both tokens position 0, so that nothing is turned by position.

        Returns:
            For each layer what its output projection reads [batch 2 width], float32 on the CPU.
        """
        seen: dict[int, Tensor] = {}
        inputs: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

        def keep(place: int) -> Any:
            def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                inputs[place] = (args, kwargs)

            return hook

        with ExitStack() as stack:
            for place, (wiring, rows) in enumerate(zip(self.wirings, given, strict=True)):
                if self._exact:
                    _listen(stack, wiring, rows, seen, place)
                else:
                    handle = wiring.block.register_forward_pre_hook(keep(place), with_kwargs=True)
                    stack.callback(handle.remove)
            ids = torch.ones(len(given[0]), 2, dtype=torch.long, device=self._device)
            places = torch.zeros_like(ids) if in_one_place else None
            run_trunk(self._trunk, ids, torch.ones_like(ids), places)
        for place, (args, kwargs) in inputs.items():
            wiring, copies = self.wirings[place], dict[int, Any]()
            block = copy.deepcopy(wiring.block, copies).float()
            own = replace(
                wiring,
                projections=tuple(copies[id(module)] for module in wiring.projections),
                output=copies[id(wiring.output)],
            )
            with ExitStack() as stack, torch.inference_mode():
                _listen(stack, own, given[place], seen, place)
                block(*map(_exactly, args), **{name: _exactly(v) for name, v in kwargs.items()})
        if len(seen) != len(self.wirings):
            raise ModelError("A forward pass went by an attention module without running it.")
        return [seen[place] for place in range(len(self.wirings))]


def _listen(
    stack: ExitStack,
    wiring: Wiring,
    rows: Tensor,
    seen: dict[int, Tensor],
    place: int,
) -> None:
    """Write rows over the outputs of the projections, and note what the output map reads."""

    def write(part: Tensor) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            return part.to(output).reshape(output.shape)

        return hook

    def read(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen[place] = args[0].detach().float().cpu().reshape(len(rows), 2, -1)

    for module, part in zip(wiring.projections, rows.split(wiring.widths, dim=-1), strict=True):
        stack.callback(module.register_forward_hook(write(part)).remove)
    stack.callback(wiring.output.register_forward_pre_hook(read).remove)


def _exactly(value: Any) -> Any:
    """Tensors of numbers, alone or in tuples, in float32."""
    if isinstance(value, tuple):
        return tuple(map(_exactly, value))
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.float() if floating else value


def with_values(wiring: Wiring, values: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """Random queries and keys, and values 0 and 1 at the first and second token."""
    given = torch.randn(rows, 2, wiring.total, generator=generator) / wiring.d_head**0.25
    given[:, 0, values.flatten()] = 0
    given[:, 1, values.flatten()] = 1
    return given


def log_odds(heard: Tensor, wiring: Wiring) -> Tensor:
    """Log odds that the second token attends to itself, [rows heads]."""
    share = heard[:, 1].view(len(heard), wiring.n_heads, wiring.d_head).double().mean(dim=-1)
    return torch.logit(share.clamp(1e-6, 1 - 1e-6))
