"""Geometry of a comparison's charts: figures with their intervals, by method or along a setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cofire.interpret.wording import figure
from cofire.report.axes import Axis, Tick, axis
from cofire.report.charts import HEIGHT, WIDTH
from cofire.report.compare_tables import CompareTables, Line, Measured, measure_title, shown

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 22.0, 36.0
_INSET = 14.0
_NAMES = 118.0  # room for the names of methods
_ROW = 17.0

LOOKS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Mark:
    """A figure and its interval: where they are drawn, and what they say when pointed at."""

    name: str
    look: str
    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Forest:
    """One layer's methods one below the other, each a dot with its interval.

    Attributes:
        title: the layer.
        height: of the drawing.
        marks: those that have a figure.
        names: name and height of every method; those without a figure have a dash.
        x: horizontal axis.
        zero: where 0 lies, None outside the axis.
        summary: the chart in words.
    """

    title: str
    height: float
    marks: tuple[Mark, ...]
    names: tuple[tuple[str, float, bool], ...]
    x: Axis
    zero: float | None
    summary: str


@dataclass(frozen=True)
class Along:
    """Figures along a setting, a line a method and layer."""

    title: str
    series: tuple[tuple[str, str, str, tuple[Mark, ...]], ...]
    x: Axis
    y: Axis
    summary: str


def forests(tables: CompareTables, measured: Measured) -> tuple[Forest, ...]:
    """One chart a layer, on one axis; none when nothing has a figure."""
    rows = [line.figures.get(measured) for line in tables.lines]
    known = [row for row in rows if row is not None and row["value"] is not None]
    if not known:
        return ()
    ends = [row[name] for row in known for name in ("value", "low", "high")]
    finite = [float(end) for end in ends if end is not None and math.isfinite(end)]
    span = (max(finite) - min(finite)) * 0.04 or 0.05
    x_axis, x_at = axis(
        measure_title(measured),
        min(finite) - span,
        max(finite) + span,
        _NAMES,
        WIDTH - _RIGHT,
    )
    zero = x_at(0.0) if min(finite) - span <= 0 <= max(finite) + span else None
    found = []
    for layer in tables.layers:
        lines = tables.at(layer)
        marks, names = [], []
        for place, line in enumerate(lines):
            y = _TOP + (place + 0.5) * _ROW
            row = line.figures.get(measured)
            there = row is not None and row["value"] is not None and math.isfinite(row["value"])
            names.append((line.name, y, there))
            if row is None or not there:
                continue
            low, high = (
                row["value"] if end is None or not math.isfinite(end) else end
                for end in (row["low"], row["high"])
            )
            marks.append(
                Mark(
                    line.name,
                    "one" if line.axes[0] == tables.reference else "two",
                    round(x_at(row["value"]), 1),
                    round(y, 1),
                    round(x_at(low), 1),
                    round(x_at(high), 1),
                    f"{line.name}: {shown(row)}",
                )
            )
        found.append(
            Forest(
                f"Layer {layer}",
                _TOP + len(lines) * _ROW + _BOTTOM,
                tuple(marks),
                tuple(names),
                x_axis,
                None if zero is None else round(zero, 1),
                f"{measure_title(measured)}, layer {layer}. "
                + "; ".join(mark.text for mark in marks),
            )
        )
    return tuple(found)


def along(tables: CompareTables, measured: Measured, setting: str) -> Along | None:
    """A measure against a setting that varies; None with fewer than two values of it.

    Args:
        tables: what to draw.
        measured: the measure.
        setting: ``k``, ``sparsity``, or the name of a method's own setting.
    """
    series: dict[tuple[str, int], list[tuple[float, Line]]] = {}
    for line in tables.lines:
        value, method = setting_of(line, setting)
        row = line.figures.get(measured)
        if value is not None and row is not None and row["value"] is not None:
            series.setdefault((method, line.axes[1]), []).append((value, line))
    drawn = {key: sorted(of, key=lambda one: one[0]) for key, of in series.items() if len(of) > 1}
    if not drawn:
        return None
    values = sorted({value for of in drawn.values() for value, _ in of})
    x_axis, places = _steps(values, setting)
    rows = [line.figures[measured] for of in drawn.values() for _, line in of]
    ends = [row[name] for row in rows for name in ("value", "low", "high")]
    finite = [float(end) for end in ends if end is not None and math.isfinite(end)]
    y_axis, y_at = axis(
        measure_title(measured), min(finite), max(finite), HEIGHT - _BOTTOM, _TOP, pad=True
    )
    methods = {method for method, _ in drawn}
    lines = []
    for number, ((method, layer), of) in enumerate(drawn.items()):
        look = LOOKS[number % len(LOOKS)]
        name = f"layer {layer}" if len(methods) == 1 else f"{method}, layer {layer}"
        marks = []
        for value, line in of:
            row = line.figures[measured]
            low = row["value"] if row["low"] is None else row["low"]
            high = row["value"] if row["high"] is None else row["high"]
            x = round(places[value] + 3.0 * (number - (len(drawn) - 1) / 2), 1)
            text = f"{name}, {setting} {figure(value)}: {shown(row)}"
            y, bottom, top = (round(y_at(end), 1) for end in (row["value"], low, high))
            marks.append(Mark(name, look, x, y, bottom, top, text))
        points = " ".join(f"{mark.x},{mark.y}" for mark in marks)
        lines.append((name, look, points, tuple(marks)))
    told = "; ".join(mark.text for _, _, _, marks in lines for mark in marks)
    title = measure_title(measured)
    return Along(title, tuple(lines), x_axis, y_axis, f"{title}. {told}")


def setting_of(line: Line, setting: str) -> tuple[float | None, str]:
    """The value a line has of a setting, and its method without it."""
    method, _, k, sparsity = line.axes
    if setting in ("k", "n_components", "sparsity"):
        return (sparsity if setting == "sparsity" else k), method
    parts = method.split(":")
    own = next((part for part in parts if part.startswith(f"{setting}=")), None)
    rest = ":".join(part for part in parts if part != own)
    try:
        return (None if own is None else float(own.partition("=")[2])), rest
    except ValueError:
        return None, rest


def _steps(values: Sequence[float], setting: str) -> tuple[Axis, dict[float, float]]:
    """Values at equal distances, each with its name: settings are tried in steps of their own."""
    start, end = _LEFT + _INSET, WIDTH - _RIGHT - _INSET
    gap = (end - start) / max(1, len(values) - 1)
    places = {value: round(start + gap * i, 1) for i, value in enumerate(values)}
    ticks = tuple(
        Tick(place, f"{100 * value:.3g}%" if setting == "sparsity" else f"{value:g}")
        for value, place in places.items()
    )
    return Axis(setting, ticks, "linear"), places
