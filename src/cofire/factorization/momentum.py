"""Extrapolation between sweeps: go on a little in the direction of the last change.

Before a sweep both factors are moved to

    C + β (C - C'),  D + β (D - D') on the support of D,

with C', D' those of the sweep before; codes are clipped at zero. β begins at 0.5 and grows by 5% a
sweep up to 0.9. A sweep that ends with a higher objective than the last one is taken back, β is
halved and the next sweep goes without. About halves the sweeps to a given loss.

Source: Ang & Gillis 2019, arXiv:1805.06604 (accelerating NMF by extrapolation with restarts).
"""

from cofire.factorization.state import FactorState, Snapshot

_FIRST = 0.5
_GROWTH = 1.05
_LARGEST = 0.9
_SHRINK = 0.5


class Momentum:
    """Extrapolates one state; keeps two copies of its factors."""

    def __init__(self, state: FactorState) -> None:
        """Without a direction yet."""
        self._state = state
        self._weight = _FIRST
        self._previous: Snapshot | None = None
        self._current: Snapshot | None = None

    def leap(self) -> None:
        """Move the factors on, before a sweep."""
        state = self._state
        self._current = state.snapshot()
        if self._previous is None:
            return
        atoms, codes, _ = self._previous
        change = (state.atoms - atoms).mul_(state.atoms != 0)
        state.atoms.add_(change, alpha=self._weight)
        state.codes.mul_(1 + self._weight).sub_(codes, alpha=self._weight).clamp_(min=0)

    def land(self) -> None:
        """Keep the sweep: it lowered the objective."""
        self._previous = self._current
        self._weight = min(_LARGEST, _GROWTH * self._weight)

    def retreat(self) -> None:
        """Take the sweep back, and go without extrapolation once."""
        if self._current is not None:
            self._state.restore(self._current)
        self._previous = None
        self._weight *= _SHRINK
