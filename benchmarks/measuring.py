"""What the benchmarks share: the machine, clocks, the memory of a process, reading rows."""

import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from cofire.activations import Activations
from cofire.rows_on_disk import Rows, RowsOnDisk
from cofire.store import ActivationStore

SECONDS_A_PROBE = 0.3


def machine() -> dict[str, str | int | float | None]:
    """What the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def median_seconds(
    call: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
    least: int = 5,
) -> float:
    """Median time of a call, over at least ``least`` calls and a third of a second."""
    call()
    times: list[float] = []
    while len(times) < least or sum(times) < SECONDS_A_PROBE:
        began = clock()
        call()
        times.append(clock() - began)
    return statistics.median(times)


class Memory:
    """The largest memory of this process while it was watched, in bytes.

    Attributes:
        private: pages of its own (anonymous memory).
        resident: with files that are mapped or were just read.
    """

    def __init__(self) -> None:
        self.private = self.resident = 0

    def look(self) -> None:
        """Take the present figures into account."""
        self.private = max(self.private, _status("RssAnon"))
        self.resident = max(self.resident, _status("VmRSS"))


@contextmanager
def watched(every_seconds: float = 0.005) -> Iterator[Memory]:
    """Watch this process from a thread."""
    memory, done = Memory(), threading.Event()

    def watch() -> None:
        while not done.wait(every_seconds):
            memory.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
        memory.look()


def private_memory() -> int:
    """Anonymous memory of this process now, in bytes."""
    return _status("RssAnon")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def stored_rows(path: Path, n_rows: int | None = None) -> Activations:
    """Rows of the only site of a store, on disk; the first ones when fewer are wanted."""
    store = ActivationStore.open(path)
    activations = store.activations(store.sites[0])
    if n_rows is not None and n_rows < len(activations):
        activations = activations.take(np.arange(n_rows))
    return activations


def finished_shards(path: Path) -> list[Rows]:
    """Shards of a store whose capture may still be going on."""
    files = sorted(path.glob("shard-*/*.safetensors"))
    return [RowsOnDisk.open(file, "activations") for file in files]
