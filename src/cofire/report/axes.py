"""Axes of the report's charts: where a value lies, and which marks tell its reader so."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_TICKS = 5
_LOG_ABOVE = 30.0  # largest / smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """One axis: its ticks, its name and its scale."""

    name: str
    ticks: tuple[Tick, ...]
    scale: Literal["linear", "log"]


def axis(
    name: str,
    low: float,
    high: float,
    start: float,
    end: float,
    *,
    log_allowed: bool = False,
    pad: bool = False,
    whole: bool = False,
) -> tuple[Axis, Callable[[float], float]]:
    """An axis from ``low`` to ``high`` drawn from ``start`` to ``end``, and where a value lies."""
    if log_allowed and low > 0 and high / low > _LOG_ABOVE:
        first, last = math.log10(low), math.log10(high)
        ticks = _log_ticks(first, last)

        def at(value: float | int) -> float:
            return start + (math.log10(value) - first) / (last - first) * (end - start)

        return Axis(name, tuple(Tick(round(at(t), 1), f"{t:g}") for t in ticks), "log"), at
    if high <= low:
        low, high = low - abs(low) / 2, high + abs(high) / 2 or 1.0
    if pad:
        low, high = low - 0.06 * (high - low), high + 0.04 * (high - low)

    def at_linear(value: float | int) -> float:
        return start + (value - low) / (high - low) * (end - start)

    ticks = _linear_ticks(low, high, whole)
    return (
        Axis(name, tuple(Tick(round(at_linear(t), 1), f"{t:g}") for t in ticks), "linear"),
        at_linear,
    )


def _linear_ticks(low: float, high: float, whole: bool) -> list[float]:
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    if whole:
        step = max(step, 1.0)
    first = math.ceil(low / step - 1e-9)
    return [
        round(i * step, 12) for i in range(first, first + 2 * _TICKS) if i * step <= high + 1e-9
    ]


def _log_ticks(first: float, last: float) -> list[float]:
    decades = range(math.floor(first), math.ceil(last) + 1)
    digits = (1,) if last - first > 2.2 else (1, 2, 5)
    return [
        float(f"{m * 10.0**d:.3g}")
        for d in decades
        for m in digits
        if first - 1e-9 <= math.log10(m * 10.0**d) <= last + 1e-9
    ]
