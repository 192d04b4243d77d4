"""The processes of a job started with torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from cofire.device import resolve_device
from cofire.ranks import ONE, ProcessGroup, Ranks

# The first process reads the features while the others wait.
_LONGEST_WAIT = timedelta(hours=6)


@contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """Join the other processes where torchrun started several; else there is only this one.

    Args:
        device: what is computed on, which decides how processes speak: nccl for CUDA, else gloo.
            Each process takes the GPU of its local rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield ProcessGroup() if dist.is_initialized() else ONE
        return
    cuda = resolve_device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield ProcessGroup()
    finally:
        dist.destroy_process_group()
