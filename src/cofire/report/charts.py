"""Geometry of the report's charts; the templates draw what is measured out here."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cofire.report.axes import Axis, Tick, axis

WIDTH, HEIGHT = 380.0, 230.0
"""Size of every chart in SVG units; it grows and shrinks with the page."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 22.0, 36.0
_MAX_POINTS = 400  # a longer curve is thinned out

_LOSSES = {
    "relative_loss": "relative loss",
    "loss": "loss",
    "objective": "objective",
    "error": "error",
}
_STEPS = ("iteration", "sweep", "step")


@dataclass(frozen=True)
class Phase:
    """A stretch of a curve that the solver spent in one phase."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Curve:
    """A line chart.

    Attributes:
        points: SVG points of the line.
        x: horizontal axis.
        y: vertical axis.
        phases: phases of the solver, none when it has only one.
        events: steps of another phase in the midst of one, such as repairs.
        best: the lowest point (x, y) and its value in words.
        summary: the curve in one sentence, for those who cannot see it.
    """

    points: str
    x: Axis
    y: Axis
    phases: tuple[Phase, ...]
    events: tuple[Tick, ...]
    best: tuple[float, float, str]
    summary: str


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: its box, its count, its range in words, and whether it stands out."""

    x: float
    y: float
    width: float
    height: float
    count: int
    range: str
    strong: bool


@dataclass(frozen=True)
class Histogram:
    """A histogram and what is left out of it."""

    bars: tuple[Bar, ...]
    x: Axis
    y: Axis
    missing: int
    summary: str


def objective_curve(records: Sequence[Mapping[str, Any]]) -> Curve | None:
    """The objective over the sweeps of a solver; None when there is nothing to draw.

    Args:
        records: one a sweep; the first known name of a loss and of a step is drawn, ``phase`` is
            marked, anything else and anything missing is passed over.
    """
    name, step = _first_known(_LOSSES, records), _first_known(_STEPS, records)
    if name is None:
        return None
    kept = [
        (x, y, record.get("phase"))
        for i, record in enumerate(records)
        if (y := _finite(record.get(name))) is not None
        and (x := float(i + 1) if step is None else _finite(record.get(step))) is not None
    ]
    if len(kept) < 2:
        return None
    lowest = min(kept, key=lambda point: point[1])
    every = math.ceil(len(kept) / _MAX_POINTS)
    thin = [point for i, point in enumerate(kept) if i % every == 0 or point in (lowest, kept[-1])]
    steps, values = [point[0] for point in kept], [point[1] for point in kept]
    x_axis, x_at = axis("sweep", steps[0], steps[-1], _LEFT, WIDTH - _RIGHT)
    y_axis, y_at = axis(
        _LOSSES[name], min(values), max(values), HEIGHT - _BOTTOM, _TOP, log_allowed=True, pad=True
    )
    phases, events = _phases([(x, phase) for x, _, phase in kept], x_at)
    return Curve(
        points=" ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y, _ in thin),
        x=x_axis,
        y=y_axis,
        phases=phases,
        events=events,
        best=(x_at(lowest[0]), y_at(lowest[1]), f"{lowest[1]:.4g}"),
        summary=f"{_LOSSES[name]} from {values[0]:.4g} to {values[-1]:.4g} "
        f"in {len(kept)} sweeps; lowest {lowest[1]:.4g} at sweep {lowest[0]:g}",
    )


def _first_known(names: Iterable[str], records: Sequence[Mapping[str, Any]]) -> str | None:
    known = (n for n in names if any(_finite(record.get(n)) is not None for record in records))
    return next(known, None)


def _finite(value: Any) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _phases(
    points: Sequence[tuple[float, Any]], x_at: Callable[[float], float]
) -> tuple[tuple[Phase, ...], tuple[Tick, ...]]:
    """Stretches of one phase each, and the events within them.

    Steps of another phase from which the solver comes back are events of the phase they interrupt.
    """
    runs = [(name, [x for x, _ in run]) for name, run in groupby(points, key=lambda p: p[1])]
    stretches: list[tuple[Any, float]] = []
    events = []
    for i, (name, xs) in enumerate(runs):
        phase = stretches[-1][0] if stretches else None
        if name == phase and stretches:
            continue
        if stretches and any(later == phase for later, _ in runs[i + 1 :]):
            events += [Tick(round(x_at(x), 1), f"{name} at sweep {x:g}") for x in xs]
        else:
            stretches.append((name, xs[0]))
    if len(stretches) < 2:
        return (), tuple(events)
    ends = [start for _, start in stretches[1:]] + [points[-1][0]]
    phases = tuple(
        Phase(str(name), round(x_at(start), 1), round(x_at(end), 1))
        for (name, start), end in zip(stretches, ends, strict=True)
        if name is not None
    )
    return phases, tuple(events)


def auroc_histogram(values: Sequence[float | None], strong_above: float) -> Histogram | None:
    """How well the features select their best concepts; None when none could be judged."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    edges = [i / 20 for i in range(21)]
    return _histogram(
        known,
        edges,
        missing=len(values) - len(known),
        horizontal=axis("held-out AUROC of the best concept", 0.0, 1.0, _LEFT, WIDTH - _RIGHT),
        strong=lambda low: low >= strong_above - 1e-9,
        named=lambda low, high: f"{low:.2f} to {high:.2f}",
    )


def density_histogram(densities: Sequence[float]) -> Histogram | None:
    """How often the features are active; None when none ever is."""
    known = [100 * density for density in densities if density > 0]
    if not known:
        return None
    low = math.floor(math.log10(min(known)))
    if low >= 1:  # all of them are often active: percents, not powers of ten
        edges = [5.0 * i for i in range(21)]
    else:
        edges = [10 ** (low + i / 5) for i in range(5 * (2 - low) + 1)]
    return _histogram(
        known,
        edges,
        missing=len(densities) - len(known),
        horizontal=axis(
            "% of tokens a feature is active on",
            edges[0],
            100.0,
            _LEFT,
            WIDTH - _RIGHT,
            log_allowed=True,
        ),
        strong=lambda low: False,
        named=lambda low, high: f"{low:.3g}% to {high:.3g}%",
    )


def _histogram(
    values: Sequence[float],
    edges: Sequence[float],
    *,
    missing: int,
    horizontal: tuple[Axis, Callable[[float], float]],
    strong: Callable[[float], bool],
    named: Callable[[float, float], str],
) -> Histogram:
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = sum(value >= edge for edge in edges[1:-1])
        counts[place] += 1
    x_axis, x_at = horizontal
    y_axis, y_at = axis("features", 0.0, float(max(counts)), HEIGHT - _BOTTOM, _TOP, whole=True)
    bars = tuple(
        Bar(
            x=round(x_at(low) + 0.6, 1),
            y=round(y_at(float(count)), 1),
            width=round(x_at(high) - x_at(low) - 1.2, 1),
            height=round(y_at(0.0) - y_at(float(count)), 1),
            count=count,
            range=named(low, high),
            strong=strong(low),
        )
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    )
    told = "; ".join(f"{bar.range}: {bar.count}" for bar in bars)
    return Histogram(bars=bars, x=x_axis, y=y_axis, missing=missing, summary=told)
