"""Processes that share one fit, each with its own rows: what they tell one another.

Only sums and copies of small tensors go between processes. ``ONE`` is the single process that
needs none; ``ProcessGroup`` speaks through torch.distributed (gloo or nccl).
"""

from typing import Protocol, runtime_checkable

import torch
import torch.distributed as dist

from cofire.errors import CofireError, InputError
from cofire.types import Tensor


@runtime_checkable
class Ranks(Protocol):
    """All processes of one fit, seen from one of them.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def add(self, values: Tensor) -> Tensor:
        """Replace a tensor by its sum over all processes; gives the same tensor back."""
        ...

    def copy_first(self, values: Tensor) -> Tensor:
        """Replace a tensor by that of process 0; gives the same tensor back."""
        ...

    def gather(self, value: float) -> list[float]:
        """One number of every process, in order of rank."""
        ...


class OneProcess:
    """No other process."""

    rank = 0
    size = 1

    def add(self, values: Tensor) -> Tensor:
        """See ``Ranks.add``."""
        return values

    def copy_first(self, values: Tensor) -> Tensor:
        """See ``Ranks.copy_first``."""
        return values

    def gather(self, value: float) -> list[float]:
        """See ``Ranks.gather``."""
        return [value]


ONE = OneProcess()


class ProcessGroup:
    """The default group of torch.distributed, which the caller has set up.

    Raises:
        InputError: when it has not been set up.
    """

    def __init__(self) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise InputError(
                "There is no process group: start with `torchrun --nproc-per-node N -m cofire fit "
                "...`, or call torch.distributed.init_process_group first."
            )
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def add(self, values: Tensor) -> Tensor:
        """See ``Ranks.add``."""
        try:
            dist.all_reduce(values)
        except RuntimeError as error:
            raise self._broken(error) from error
        return values

    def copy_first(self, values: Tensor) -> Tensor:
        """See ``Ranks.copy_first``."""
        try:
            dist.broadcast(values, src=0)
        except RuntimeError as error:
            raise self._broken(error) from error
        return values

    def gather(self, value: float) -> list[float]:
        """See ``Ranks.gather``."""
        wide = torch.zeros(self.size, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            wide = wide.to("cuda", torch.float64)
        wide[self.rank] = value
        return [float(number) for number in self.add(wide)]

    def _broken(self, error: RuntimeError) -> CofireError:
        reason = str(error).strip().splitlines()[0]
        return CofireError(
            f"Process {self.rank} of {self.size} lost the others ({reason}); one of them ended. "
            "Start the same command again: it goes on from the last checkpoint."
        )
