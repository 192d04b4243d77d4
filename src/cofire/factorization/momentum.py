"""Extrapolation between sweeps: begin a little further in the direction of the last change.

A sweep begins at

    C + β (C - C'),  D + β (D - D') on the support of D,

with C', D' those of the sweep before; codes are clipped at zero. β begins at 0.5 and grows by 5% a
sweep up to 0.9. A sweep that ends with a higher objective than the last one is taken back, β is
halved and the next sweep goes without. About halves the sweeps to a given loss.

Source: Ang & Gillis 2019, arXiv:1805.06604 (accelerating NMF by extrapolation with restarts).
"""

from cofire.factorization.sweep import Ahead, Point

_FIRST = 0.5
_GROWTH = 1.05
_LARGEST = 0.9
_SHRINK = 0.5


class Momentum:
    """How far to go on, and from where.

    Attributes:
        before: the point before the last one; None when the next sweep goes without.
        weight: β.
    """

    def __init__(self, before: Point | None = None, weight: float = _FIRST) -> None:
        self.before = before
        self.weight = weight

    @property
    def ahead(self) -> Ahead | None:
        """Where the next sweep begins."""
        return None if self.before is None else Ahead(self.before, self.weight)

    def land(self, left: Point) -> None:
        """The sweep lowered the objective; ``left`` is where it came from."""
        self.before = left
        self.weight = min(_LARGEST, _GROWTH * self.weight)

    def retreat(self) -> None:
        """The sweep was taken back."""
        self.before = None
        self.weight *= _SHRINK
