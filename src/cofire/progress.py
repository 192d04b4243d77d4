"""How long work tells its caller how far it is, without knowing about terminals."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Advance = Callable[..., None]
"""``advance(n, **fields)``: n more units are done; fields are figures worth showing beside."""


@runtime_checkable
class Progress(Protocol):
    """Something that can show tasks with a rate and the time left."""

    def task(
        self, description: str, total: int | None, unit: str
    ) -> AbstractContextManager[Advance]:
        """Open a task of ``total`` units (None when unknown) and give its ``advance``."""
        ...


class SilentProgress:
    """Shows nothing; the default of every library function."""

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """See ``Progress.task``."""
        yield lambda n=1, **fields: None


SILENT = SilentProgress()
