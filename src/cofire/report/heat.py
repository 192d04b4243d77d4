"""Tables whose cells are coloured by a number: what the templates of structure pages draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cofire.interpret.wording import MISSING, figure


@dataclass(frozen=True)
class Cell:
    """What a cell shows, says when pointed at, and looks like."""

    text: str
    title: str = ""
    look: str = ""


@dataclass(frozen=True)
class Row:
    """A row; ``look`` sets groups and controls apart."""

    name: str
    cells: tuple[Cell, ...]
    look: str = ""
    title: str = ""


@dataclass(frozen=True)
class HeatTable:
    """A table of coloured cells."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def heat(value: float | int | None, most: float | int, *, sure: bool = False) -> str:
    """Class names of a cell: deeper for larger values, of another colour below 0.

    >>> heat(5.0, 10.0), heat(-10.0, 10.0, sure=True), heat(None, 1.0), heat(0.0, 1.0)
    ('heat-5', 'cool-9 sure', '', '')
    """
    looks = ["sure"] if sure else []
    if value and most > 0:
        depth = min(9, int(10 * abs(value) / most))
        looks.insert(0, f"{'heat' if value > 0 else 'cool'}-{depth}")
    return " ".join(looks)


def signed(value: float | None, digits: int = 2) -> str:
    """A number with its sign.

    >>> signed(1.234), signed(-0.5), signed(None)
    ('+1.23', '−0.50', '–')
    """
    if value is None:
        return MISSING
    return f"{value:+.{digits}f}".replace("-", "−")


def estimate_cell(record: Mapping[str, Any], most: float | int, what: str) -> Cell:
    """A cell of an estimate with its interval, bold where that leaves 0 out."""
    value, low, high = record["value"], record["low"], record["high"]
    if value is None:
        return Cell(MISSING, f"{what}: could not be measured ({record['missing']} missing)")
    known = low is not None and high is not None
    interval = f", 95% interval {signed(low)} to {signed(high)}" if known else ", no interval"
    missing = f", {record['missing']} missing" if record["missing"] else ""
    sure = known and (low > 0 or high < 0)
    return Cell(
        signed(value),
        f"{what}: {signed(value)}{interval}, {record['n']} values{missing}",
        heat(value, most, sure=sure),
    )


def largest(values: Sequence[float | int | None]) -> float:
    """The largest magnitude of the values that are there; 0 without any."""
    return float(max((abs(value) for value in values if value is not None), default=0.0))


def p_text(p_value: float | None) -> str:
    """A p-value in words."""
    return "not tested" if p_value is None else f"p = {figure(p_value, 2)}"
