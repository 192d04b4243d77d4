"""Tiles of rows in parallel: one thread a tile instead of all threads on every small operation.

Operations of some microseconds gain nothing from a second thread, and on a busy machine every
thread barrier may cost a scheduling slice: measured 6 to 100 times slower. Whole tiles side by side
need no barrier but at their end.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch

_Tile = TypeVar("_Tile")

SMALL_WORK = 2e8
"""Multiplications in a pass over data that are not worth a second thread (some milliseconds)."""


def workers_for(device: torch.device, work: float = float("inf")) -> int:
    """How many tiles to work on at a time: PyTorch's number of threads on CPUs, else one.

    Args:
        device: where the work is done.
        work: multiplications in one pass over all tiles.
    """
    return torch.get_num_threads() if device.type == "cpu" and work > SMALL_WORK else 1


@contextmanager
def single_threaded(device: torch.device, work: float = 0.0) -> Iterator[None]:
    """Run CPU operations on one thread; do nothing elsewhere or for much work.

    Args:
        device: where the operations run.
        work: multiplications in one pass; above ``SMALL_WORK`` nothing is changed.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or work > SMALL_WORK:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def side_by_side(
    function: Callable[[int, _Tile], None], tiles: Iterable[_Tile], *, workers: int
) -> None:
    """Call ``function(worker, tile)`` for every tile, ``workers`` of them at a time.

    Tile i goes to worker i modulo ``workers``, so that sums which each worker keeps for itself are
    the same in every run. Tiles are taken from the iterable by the calling thread.

    Args:
        function: must not touch what another worker writes.
        tiles: taken as they are needed.
        workers: 1 calls the function here, in order.
    """
    if workers == 1:
        for tile in tiles:
            function(0, tile)
        return
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            left = iter(tiles)
            while some := list(islice(left, workers)):
                for done in [pool.submit(function, i, tile) for i, tile in enumerate(some)]:
                    done.result()
    finally:
        torch.set_num_threads(threads)  # the pool's setting would be that of new threads too
