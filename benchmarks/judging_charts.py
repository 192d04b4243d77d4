"""The figures of docs/results/judging.md: forests of intervals, and curves along what varies."""

from collections.abc import Sequence
from pathlib import Path

from cofire.interpret.wording import MISSING
from cofire.report.axes import Axis
from cofire.report.charts import HEIGHT, WIDTH
from cofire.report.compare_charts import Along, Forest
from cofire.report.compare_tables import Measured, measure_title

COLOURS = {
    "one": "#c2410c",
    "two": "#2563a8",
    "three": "#8a6d00",
    "four": "#3c7a57",
    "five": "#7a4b94",
    "six": "#5b6770",
}
_COLUMNS = 2  # charts side by side
_NAME = 20  # letters of a method's name in a figure


def slug(measured: Measured) -> str:
    """A measure as part of a file's name."""
    return measured[0] if measured[1] is None else f"{measured[0]}-{measured[1]}"


def image(figures: Path, name: str, svg: str, measured: Measured) -> str:
    """Write a figure and refer to it."""
    (figures / f"{name}.svg").write_text(svg, encoding="utf-8")
    return f"![{measure_title(measured)}](figures/{name}.svg)"


def forest_svg(charts: Sequence[Forest]) -> str:
    """The layers of one measure side by side."""
    height = max((chart.height for chart in charts), default=60.0)
    parts = []
    for number, chart in enumerate(charts):
        bottom = chart.height - 36
        inner = [f'<text x="118" y="12" class="title">{chart.title}</text>']
        inner += [rule(tick.at, tick.text, bottom) for tick in chart.x.ticks]
        inner += [
            f'<text x="112" y="{y + 3.5}" text-anchor="end">{escape(short(name))}</text>'
            + ("" if there else f'<text x="122" y="{y + 3.5}">{MISSING}</text>')
            for name, y, there in chart.names
        ]
        inner += [
            f'<line x1="{m.low}" x2="{m.high}" y1="{m.y}" y2="{m.y}" stroke="{COLOURS[m.look]}"/>'
            f'<circle cx="{m.x}" cy="{m.y}" r="3" fill="{COLOURS[m.look]}"/>'
            for m in chart.marks
        ]
        row, column = divmod(number, _COLUMNS)
        place = f"translate({column * WIDTH:g},{row * height:g})"
        parts.append(f'<g transform="{place}">{"".join(inner)}</g>')
    rows = -(-len(charts) // _COLUMNS)
    return whole(WIDTH * min(_COLUMNS, max(1, len(charts))), height * max(1, rows), parts)


def along_svg(chart: Along) -> str:
    """Lines along a setting."""
    bottom = HEIGHT - 36
    parts = [ticks(chart.x, chart.y, bottom)]
    for number, (name, look, points, marks) in enumerate(chart.series):
        colour = COLOURS[look]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts += [
            f'<line x1="{m.x}" x2="{m.x}" y1="{m.low}" y2="{m.high}" stroke="{colour}"/>'
            f'<circle cx="{m.x}" cy="{m.y}" r="3" fill="{colour}"/>'
            for m in marks
        ]
        parts.append(
            f'<text x="{WIDTH + 8}" y="{34 + 16 * number}" fill="{colour}">{escape(name)}</text>'
        )
    return whole(WIDTH + 110, HEIGHT, parts)


def ticks(x: Axis, y: Axis, bottom: float) -> str:
    """Both axes of a chart along a setting."""
    parts = [f'<text x="4" y="10" class="title">{escape(y.name)}</text>']
    parts += [
        f'<line x1="46" x2="{WIDTH - 12}" y1="{t.at}" y2="{t.at}" class="rule"/>'
        f'<text x="40" y="{t.at + 3.5}" text-anchor="end">{t.text}</text>'
        for t in y.ticks
    ]
    parts += [
        f'<text x="{t.at}" y="{bottom + 14}" text-anchor="middle">{t.text}</text>' for t in x.ticks
    ]
    parts.append(
        f'<text x="{WIDTH - 12}" y="{HEIGHT - 5}" text-anchor="end">{escape(x.name)}</text>'
    )
    return "".join(parts)


def rule(at: float, text: str, bottom: float) -> str:
    """A vertical rule with its number."""
    return (
        f'<line x1="{at}" x2="{at}" y1="18" y2="{bottom}" class="rule"/>'
        f'<text x="{at}" y="{bottom + 14}" text-anchor="middle">{text}</text>'
    )


def whole(width: float, height: float, parts: Sequence[str]) -> str:
    """A drawing on white, so that it can be read on any page."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="sans-serif" font-size="10" '
        'fill="#444b59" stroke-width="1.4"><style>.rule{stroke:#ddd}.title{font-weight:600}'
        '</style><rect width="100%" height="100%" fill="white" stroke="none"/>'
        f"{''.join(parts)}</svg>\n"
    )


def short(name: str) -> str:
    """A name that fits beside a chart."""
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def escape(text: str) -> str:
    """Text inside a drawing."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
