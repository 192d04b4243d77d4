"""A measured number with all that is needed to trust it, and the measure that gave it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Direction: TypeAlias = Literal["higher", "lower", "neither"]
"""Which values are better; ``neither`` for a figure that only describes."""

IntervalMethod: TypeAlias = Literal["bca", "percentile", "wilson"]


@dataclass(frozen=True)
class Interval:
    """Where the true value lies, by what was observed.

    Attributes:
        low: lower end.
        high: upper end.
        confidence: how often intervals made so hold the true value.
        method: how it was made.
        units: independent things it was made from: features, texts, or groups of them.
    """

    low: float
    high: float
    confidence: float
    method: IntervalMethod
    units: int


@dataclass(frozen=True)
class Estimate:
    """What the function of a measure gives.

    Attributes:
        value: the figure; None when it could not be measured.
        n: observations it was made from.
        missing: observations that should have been there and are not; never counted as 0.
        interval: 95% unless it says otherwise; None when there are too few observations for one,
            or all are the same.
        seed: of whatever was random in it; None when nothing was.
        note: why the value or the interval is missing, in one sentence.
    """

    value: float | None
    n: int
    missing: int = 0
    interval: Interval | None = None
    seed: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class Measurement:
    """An estimate and what it is an estimate of.

    Attributes:
        name: of the measure.
        value, n, missing, interval, seed, note: see ``Estimate``.
        unit: of value and interval.
        direction: which values are better.
        formula: how the value is defined.
        source: paper or library.
    """

    name: str
    value: float | None
    unit: str
    n: int
    missing: int
    interval: Interval | None
    seed: int | None
    note: str | None
    direction: Direction
    formula: str
    source: str

    def record(self) -> dict[str, Any]:
        """Plain JSON values; the interval is a mapping of its own, or None."""
        return asdict(self)


def estimate_record(found: Estimate | Measurement) -> dict[str, Any]:
    """The figures of an estimate as plain JSON values, the interval's ends beside the value."""
    interval = found.interval
    return {
        "value": found.value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "n": found.n,
        "missing": found.missing,
    }


@dataclass(frozen=True)
class Measure:
    """A function that measures, and what its figures mean. Calling it gives a ``Measurement``.

    Attributes:
        name: what it is called in tables and on the command line.
        function: takes what it needs and returns an ``Estimate``.
        unit: of its values.
        direction: which values are better.
        formula: how the value is defined.
        source: paper or library.

    Example:
        >>> def share_above_zero(values):
        ...     return Estimate(sum(value > 0 for value in values) / len(values), n=len(values))
        >>> measure = Measure("above-zero", share_above_zero, "share", "higher", "n(>0)/n", "-")
        >>> found = measure([1.0, -1.0, 2.0, 3.0])
        >>> found.value, found.n, found.unit, found.interval
        (0.75, 4, 'share', None)
    """

    name: str
    function: Callable[..., Estimate]
    unit: str
    direction: Direction
    formula: str
    source: str

    def __call__(self, *data: Any, **settings: Any) -> Measurement:
        """Measure; what goes in is up to the function."""
        found = self.function(*data, **settings)
        return Measurement(
            name=self.name,
            value=found.value,
            unit=self.unit,
            n=found.n,
            missing=found.missing,
            interval=found.interval,
            seed=found.seed,
            note=found.note,
            direction=self.direction,
            formula=self.formula,
            source=self.source,
        )
