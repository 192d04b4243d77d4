"""Figures and tables of docs/results/weights.md as Markdown."""

import statistics
from collections.abc import Sequence
from typing import Any


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""

    def line(values: Sequence[Any]) -> str:
        return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"

    return "\n".join([line(names), line(["---"] * len(names)), *map(line, rows)])


def number(value: float) -> str:
    """Three significant digits, without an exponent where that stays short."""
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = f"{value:.3g}"
    return f"{value:.0f}" if "e" in digits else digits


def shown(value: float | None) -> str:
    """A number or a dash."""
    return "–" if value is None else number(value)


def median(values: Sequence[float | None]) -> str:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return number(statistics.median(known)) if known else "–"


def spread(values: Sequence[int]) -> str:
    """Least to most."""
    if not values:
        return "–"
    return str(min(values)) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def range_of(values: Sequence[float]) -> list[str]:
    """Median, least and most."""
    if not values:
        return ["–"] * 3
    return [number(statistics.median(values)), number(min(values)), number(max(values))]


def percent(count: int, of: int) -> str:
    """A share of a number."""
    return "–" if not of else f"{count / of:.0%}"


def counted(count: int, of: int) -> str:
    """A share of a number, with both."""
    return f"{count} of {of}" + (f" ({count / of:.0%})" if of else "")


def interval(low: float, high: float) -> str:
    """Both ends."""
    return f"{low:.2f}–{high:.2f}"


def words(tokens: Sequence[str]) -> str:
    """Some tokens for a cell of a table."""
    kept = [token.strip().replace("`", "'") for token in tokens[:4]]
    return ", ".join(f"`{token}`" for token in kept if token.isprintable() and token) or "–"


def extent(share: float) -> str:
    """An answer in words, by a stated rule: yes from a half, in part from a tenth, else hardly."""
    return "Yes" if share >= 0.5 else "In part" if share >= 0.1 else "Hardly"
