"""Geometry of histograms with what a null expects: bars, a line, and a band."""

from collections.abc import Sequence
from dataclasses import dataclass

from cofire.interpret.wording import figure
from cofire.report.axes import Axis, axis
from cofire.report.charts import HEIGHT, WIDTH

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 22.0, 36.0
_FLOOR = 0.5  # a logarithmic axis has no 0; what is expected less often than this is not drawn


@dataclass(frozen=True)
class CountBar:
    """How often a number was counted: the bar, and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class CountChart:
    """A histogram of counts beside its null.

    Attributes:
        title: what it shows.
        bars: what was observed.
        expected: SVG points of the line of what the null expects.
        band: SVG points of the outline of 95% of the draws; empty without draws.
        x, y: axes.
        summary: the chart in words.
    """

    title: str
    bars: tuple[CountBar, ...]
    expected: str
    band: str
    x: Axis
    y: Axis
    summary: str


def count_chart(
    title: str,
    x_name: str,
    y_name: str,
    observed: Sequence[float | int],
    expected: Sequence[float],
    low: Sequence[float] = (),
    high: Sequence[float] = (),
) -> CountChart:
    """A chart of how often 0, 1, 2, ... was counted, on a logarithmic axis.

    Args:
        title: what it shows.
        x_name: what is counted.
        y_name: what there are so many of.
        observed: how many there are of each number.
        expected: of each number, under the null.
        low, high: of each number, the range of most draws.
    """
    top = float(max([*observed, *expected, *high, 1.0]))
    x_axis, x_at = axis(x_name, -0.6, len(observed) - 0.4, _LEFT, WIDTH - _RIGHT, whole=True)
    y_axis, y_at = axis(
        y_name, _FLOOR, max(top, 40 * _FLOOR), HEIGHT - _BOTTOM, _TOP, log_allowed=True
    )
    floor = HEIGHT - _BOTTOM
    bars = []
    for number, count in enumerate(observed):
        if count > 0:
            y = round(y_at(max(count, _FLOOR)), 1)
            left, right = x_at(number - 0.4), x_at(number + 0.4)
            said = expected[number] if number < len(expected) else 0.0
            bars.append(
                CountBar(
                    round(left, 1),
                    y,
                    round(right - left, 1),
                    round(floor - y, 1),
                    f"{number}: {count:g}, expected {figure(said, 2)}",
                )
            )

    def points(values: Sequence[float]) -> list[str]:
        return [
            f"{x_at(number):.1f},{y_at(max(value, _FLOOR)):.1f}"
            for number, value in enumerate(values)
            if value >= _FLOOR or (number > 0 and values[number - 1] >= _FLOOR)
        ]

    band = ""
    if len(low) == len(high) == len(observed):
        upper = [f"{x_at(i):.1f},{y_at(max(v, _FLOOR)):.1f}" for i, v in enumerate(high)]
        lower = [f"{x_at(i):.1f},{y_at(max(v, _FLOOR)):.1f}" for i, v in enumerate(low)]
        band = " ".join(upper + lower[::-1])
    return CountChart(
        title=title,
        bars=tuple(bars),
        expected=" ".join(points(expected)),
        band=band,
        x=x_axis,
        y=y_axis,
        summary=f"{title}. " + "; ".join(bar.text for bar in bars),
    )
