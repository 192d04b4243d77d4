"""A measured number with what is needed to trust it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One figure.

    Attributes:
        value: the figure, or None when it could not be measured (missing is never 0).
        unit: what it counts, ``""`` for a pure number.
        n: how many things it was measured on.
        interval: a 95% interval, where there is one.
        seed: seed of any randomness in the measurement.
    """

    value: float | None
    unit: str = ""
    n: int | None = None
    interval: tuple[float, float] | None = None
    seed: int | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "missing"
        text = f"{self.value:.3g}{self.unit and ' ' + self.unit}"
        if self.interval is not None:
            text += f" [{self.interval[0]:.3g}, {self.interval[1]:.3g}]"
        return text
