"""The same linear maps, computed faster: weights packed once for the processor's own kernels.

PyTorch multiplies float32 matrices on CPUs with a library that is slow on processors of other
makers than its own; oneDNN, which comes with PyTorch too, is not. The products are the same sums
in float32, added in another order.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from torch import nn

from cofire.types import Tensor

MOST_BYTES = 2 * 1024**3
"""Packed weights are a second copy; models with larger trunks are left as they are."""

_TYPICAL_ROWS = 128
_PROBE_REPEATS = 5
_WORTHWHILE = 1.3
"""How many times faster the packed product must be."""


class PackedLinears:
    """Packed copies of the weights of all linear maps in a trunk, or of a head.

    The copies are made from the weights at the time; weights changed later do not reach them.
    """

    def __init__(self, trunk: nn.Module) -> None:
        self._forwards = [
            (module, _packed_forward(module)) for module in trunk.modules() if _fits(module)
        ]

    @classmethod
    def where_faster(cls, trunk: nn.Module, *, rows: int = _TYPICAL_ROWS) -> "PackedLinears | None":
        """Packed weights where they are small enough and the processor gains by them, else None.

        Measured on the largest linear map. The choice changes the time, and results only within
        the rounding of float32.

        Args:
            trunk: a module with linear maps, or one itself.
            rows: as many as will typically be multiplied at once.
        """
        linears = [module for module in trunk.modules() if _fits(module)]
        size = sum(module.weight.nbytes for module in linears)
        if not linears or size > MOST_BYTES or not torch.backends.mkldnn.is_available():
            return None
        largest = max(linears, key=lambda module: module.weight.numel())
        values = torch.ones(rows, largest.weight.shape[1])
        try:
            with torch.inference_mode():
                packed = _packed_forward(largest)
                usual, other = largest.forward(values), packed(values)
        except (RuntimeError, AttributeError, NotImplementedError):
            return None  # a PyTorch without these kernels
        scale = usual.abs().max()
        if not torch.allclose(usual, other, rtol=0, atol=1e-5 * float(scale)):
            return None
        faster = _seconds(packed, values) * _WORTHWHILE < _seconds(largest.forward, values)
        return cls(trunk) if faster else None

    @contextmanager
    def used(self) -> Iterator[None]:
        """While open, the trunk's linear maps go through the packed weights; hooks work as ever."""
        for module, forward in self._forwards:
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module, _ in self._forwards:
                module.__dict__.pop("forward", None)


def _fits(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a plain linear map in float32 on the CPU."""
    return (
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and "forward" not in module.__dict__
    )


def _packed_forward(module: nn.Linear) -> Any:
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), _TYPICAL_ROWS)
    bias = None if module.bias is None else module.bias.detach()

    def forward(values: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
        return found

    return forward


def _seconds(forward: Any, rows: Tensor) -> float:
    """Fastest of a few calls."""
    times = []
    with torch.inference_mode():
        for _ in range(_PROBE_REPEATS):
            start = time.perf_counter()
            forward(rows)
            times.append(time.perf_counter() - start)
    return min(times)
