"""Locks between processes at work in one folder; the system lets go of a killed one's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file, which stays empty and is made when it is not there.

    Where the system has no such locks (Windows) every process is told that it holds it: two
    at work in one folder then do some of the work twice, and the last one's result stays.

    Args:
        path: the file.
        wait: whether to wait for another process that holds it.

    Yields:
        Whether it is held; always, after waiting.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
