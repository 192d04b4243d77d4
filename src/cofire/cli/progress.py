"""Progress bars on standard error; plain lines where it is no terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cofire.progress import Advance


class _Rate(ProgressColumn):
    """Units done a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields["unit"]
        return Text(f"{speed:,.1f} {unit}/s" if speed and unit else "", style="cyan")


class TerminalProgress:
    """Shows tasks with a bar, a rate, the time left and any figures that come along.

    Args:
        console: where to draw; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """See ``cofire.progress.Progress.task``."""
        started = time.perf_counter()
        if not self._console.is_terminal:
            done = 0
            figures: dict[str, Any] = {}

            def count(n: int = 1, **fields: Any) -> None:
                nonlocal done
                done += n
                figures.update(fields)

            yield count
            seconds = time.perf_counter() - started
            amount = f" {done} {unit}{'s' if done != 1 else ''}," if unit else ""
            shown = _figures(figures)
            self._console.print(
                f"{description}:{amount} {seconds:.1f} s{', ' + shown if shown else ''}",
                highlight=False,
                markup=False,
            )
            return
        columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(), MofNCompleteColumn()]
        columns += [_Rate(), TimeElapsedColumn()]
        if total is not None:
            columns += [TextColumn("left"), TimeRemainingColumn()]
        columns.append(TextColumn("{task.fields[figures]}", style="dim"))
        with Progress(*columns, console=self._console) as bars:
            number = bars.add_task(description, total=total, unit=unit, figures="")

            def advance(n: int = 1, **fields: Any) -> None:
                bars.update(number, advance=n)
                if fields:
                    bars.update(number, figures=_figures(fields))

            yield advance


def _figures(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
