"""Geometry of the charts of a path: figures of its points against what varies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cofire.evaluation.path_points import PathPoint
from cofire.interpret.wording import figure
from cofire.report.axes import Axis, Tick, axis
from cofire.report.charts import HEIGHT, WIDTH

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 22.0, 36.0
_INSET = 14.0  # keeps the dots of the first and last point off the frame
_LABEL = 30.0  # room that the name of a mark needs


@dataclass(frozen=True)
class Dot:
    """A measured point: where it is, and what it says when pointed at."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Series:
    """A line through measured points; ``look`` is ``first`` or ``second``."""

    name: str
    look: str
    points: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Lines:
    """A chart of one or two lines.

    Attributes:
        title: what it shows.
        series: the lines.
        x: horizontal axis, logarithmic, with a tick at the points.
        y: vertical axis.
        chord: ends of the line from the first to the last point, where a knee was looked for.
        marked: the dot that is suggested, with its name.
        summary: the chart in words, for those who cannot see it.
    """

    title: str
    series: tuple[Series, ...]
    x: Axis
    y: Axis
    chord: tuple[float, float, float, float] | None
    marked: Dot | None
    summary: str


def lines(
    title: str,
    y_name: str,
    columns: Sequence[tuple[str, Sequence[float | int | None]]],
    points: Sequence[PathPoint],
    *,
    varies: str,
    counts: bool = False,
    chord: bool = False,
    marked: int | None = None,
) -> Lines | None:
    """A chart of some figures of the points; None when fewer than two values are known.

    Args:
        title: what it shows.
        y_name: of the vertical axis.
        columns: names and values, one a point; the second line is drawn paler.
        points: of the path.
        varies: ``n_components`` or ``sparsity``.
        counts: whether the figures are counted: the vertical axis begins at 0, in whole steps.
        chord: whether to draw the first line's chord.
        marked: the value of what varies that is suggested.
    """
    at = [float(getattr(point, varies)) for point in points]
    columns = [(name, values) for name, values in columns if any(v is not None for v in values)]
    known = [float(v) for _, values in columns for v in values if v is not None]
    if len(known) < 2 or len(at) < 2:
        return None
    x_axis, x_at = _steps(at, varies)
    low, high = (0.0 if counts else min(known)), max(known)
    y_axis, y_at = axis(y_name, low, high, HEIGHT - _BOTTOM, _TOP, pad=not counts, whole=counts)
    series = []
    for look, (name, values) in zip(("first", "second"), columns, strict=False):
        dots = tuple(
            Dot(x_at(x), round(y_at(float(v)), 1), f"{_value(x, varies)}: {name} {figure(v)}")
            for x, v in zip(at, values, strict=True)
            if v is not None
        )
        path = " ".join(f"{dot.x},{dot.y}" for dot in dots)
        series.append(Series(name, look, path, dots))
    first = series[0].dots
    mark = next((dot for dot in first if marked is not None and dot.x == x_at(marked)), None)
    return Lines(
        title=title,
        series=tuple(series),
        x=x_axis,
        y=y_axis,
        chord=(first[0].x, first[0].y, first[-1].x, first[-1].y) if chord else None,
        marked=None
        if mark is None
        else Dot(mark.x, mark.y, f"knee: {_value(marked or 0, varies)}"),
        summary=f"{title}. " + "; ".join(dot.text for line in series for dot in line.dots),
    )


def _steps(at: Sequence[float], varies: str) -> tuple[Axis, "_Place"]:
    """A logarithmic axis with a tick at every value that has room for its name."""
    place = _Place(math.log(min(at)), math.log(max(at)))
    ticks: list[Tick] = []
    ordered = sorted(at)
    for value in [ordered[0], ordered[-1], *ordered[1:-1]]:
        if all(abs(place(value) - tick.at) >= _LABEL for tick in ticks):
            ticks.append(
                Tick(place(value), f"{value:g}" if varies != "sparsity" else _share(value))
            )
    name = (
        "features k" if varies == "n_components" else "sparsity, share of neurons a feature keeps"
    )
    return Axis(name, tuple(sorted(ticks, key=lambda tick: tick.at)), "log"), place


@dataclass(frozen=True)
class _Place:
    """Where a value lies on the horizontal axis."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        start, end = _LEFT + _INSET, WIDTH - _RIGHT - _INSET
        share = (math.log(value) - self.low) / (self.high - self.low)
        return round(start + share * (end - start), 1)


def _value(value: float, varies: str) -> str:
    return f"k = {value:g}" if varies == "n_components" else f"sparsity {_share(value)}"


def _share(value: float) -> str:
    return f"{100 * value:.3g}%"
