"""One thread that does all computing: long jobs one after the other, short ones in between."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar, runtime_checkable

from cofire.web.refusals import BusyError

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")

MOST_SHORT = 16
"""Short tasks that may wait."""

MOST_LONG = 8
"""Long jobs that may wait."""


@runtime_checkable
class LongJob(Protocol):
    """Work of many steps."""

    def run(self, breathe: Callable[[], None]) -> None:
        """Do it; call ``breathe`` between steps, and keep failures to yourself."""
        ...


class Compute:
    """The queue and its thread, which starts with the first work and dies with the process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._short: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._long: deque[LongJob] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def soon(self, task: Callable[[], Result]) -> "Future[Result]":
        """Do a short task: before all jobs that wait, and between two steps of one that runs.

        Raises:
            BusyError: when as many wait as may.
        """
        future: Future[Result] = Future()
        with self._changed:
            if len(self._short) >= MOST_SHORT:
                raise BusyError(
                    f"{MOST_SHORT} requests are waiting already; try again in a moment."
                )
            self._short.append((task, future))
            self._wake()
        return future

    def later(self, job: LongJob) -> None:
        """Put a job in the queue.

        Raises:
            BusyError: when as many wait as may.
        """
        with self._changed:
            if len(self._long) >= MOST_LONG:
                raise BusyError(
                    f"{MOST_LONG} jobs are waiting already; cancel one, or wait until one is done."
                )
            self._long.append(job)
            self._wake()

    def drop(self, job: LongJob) -> bool:
        """Take a job out of the queue; tells whether it was still waiting."""
        with self._changed:
            if job not in self._long:
                return False
            self._long.remove(job)
            return True

    def place(self, job: LongJob) -> int | None:
        """How many jobs wait before this one; None when it does not wait."""
        with self._changed:
            return self._long.index(job) if job in self._long else None

    def close(self) -> None:
        """Take nothing more up; what runs ends at its next step."""
        with self._changed:
            self._closed = True
            self._long.clear()
            while self._short:
                self._short.popleft()[1].cancel()
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="cofire-compute", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._short or self._long or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                job = None if self._short else self._long.popleft()
            if job is None:
                self._breathe()
                continue
            try:
                job.run(self._breathe)
            except Exception:
                _logger.exception("A job failed")

    def _breathe(self) -> None:
        """Do the short tasks that wait."""
        while True:
            with self._changed:
                if not self._short:
                    return
                task, future = self._short.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = task()
            except Exception as error:  # noqa: BLE001 (it is raised where the future is read)
                future.set_exception(error)
            else:
                future.set_result(result)
