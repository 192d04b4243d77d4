"""Runs a model with chosen queries, keys and values, and hears what its heads make of them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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
        projections: the maps that read the attention's input; their outputs, one after the other,
            are the channels that a layout speaks of.
        widths: number of output channels of each.
        output: the map that reads the concatenated heads.
        width: number of channels it reads.
        n_heads: number of query heads.
        norms: norms that queries or keys pass through, each with the first channel it reads.
    """

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
    """Runs a trunk with chosen outputs of the projections; gives what the heads hand on."""

    def __init__(self, trunk: nn.Module, wirings: Sequence[Wiring], device: torch.device) -> None:
        self.trunk = trunk
        self.wirings = list(wirings)
        self.device = device

    def __call__(self, given: Sequence[Tensor]) -> list[Tensor]:
        """One pass.

        Args:
            given: for each layer the outputs of its projections [batch 2 channels].

        Returns:
            For each layer what its output projection reads [batch 2 width], float32 on the CPU.
        """
        seen: dict[int, Tensor] = {}
        shape = (len(given[0]), 2)

        def write(rows: Tensor) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
                return rows.to(output).reshape(output.shape)

            return hook

        def read(place: int) -> Any:
            def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
                seen[place] = args[0].detach().float().cpu().reshape(*shape, -1)

            return hook

        with ExitStack() as stack:
            for place, (wiring, rows) in enumerate(zip(self.wirings, given, strict=True)):
                parts = rows.split(list(wiring.widths), dim=-1)
                for module, part in zip(wiring.projections, parts, strict=True):
                    stack.callback(module.register_forward_hook(write(part)).remove)
                stack.callback(wiring.output.register_forward_pre_hook(read(place)).remove)
            ids = torch.ones(shape, dtype=torch.long, device=self.device)
            run_trunk(self.trunk, ids, torch.ones_like(ids))
        if len(seen) != len(self.wirings):
            raise ModelError("A forward pass went by an attention module without running it.")
        return [seen[place] for place in range(len(self.wirings))]


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
