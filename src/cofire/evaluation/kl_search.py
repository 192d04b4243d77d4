"""How strongly to steer for a given effect: strengths at which the KL divergence hits a target."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.types import Float, Tensor

MatchStatus: TypeAlias = Literal["found", "unreachable", "inexact"]

Divergence: TypeAlias = Callable[[Sequence[int], Sequence[float]], Sequence[float]]
"""Directions by number and a strength for each of them, to the KL divergence of each."""

GRID_POINTS = 14
"""Strengths of the coarse grid, each twice the one before; the last is the largest allowed."""

_FIRST_GRID_POINTS, _MORE_GRID_POINTS = 8, 2
_MAX_ROUNDS = 40
_NARROWEST = 1e-4
"""Relative width of a bracket in which searching ends."""


@dataclass(frozen=True)
class StrengthMatch:
    """The strength found for one target.

    Attributes:
        strength: α ≥ 0; of an unreachable target the one with the largest divergence.
        kl: divergence at that strength, in nats.
        status: ``found`` within the tolerance; ``unreachable`` when no strength of the grid leads
            to so large a divergence, or only ones at which the model gives no numbers;
            ``inexact`` when the divergence jumps past the target.
    """

    strength: float
    kl: float
    status: MatchStatus


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a strength is searched.

    Attributes:
        tolerance: largest relative distance |KL − target| / target of a found strength.
        largest: the largest strength tried.

    Raises:
        InputError: when a setting is out of range.
    """

    tolerance: float = 0.01
    largest: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must be between 0 and 1; got {self.tolerance}.")
        if not 0 < self.largest < math.inf:
            raise InputError(f"The largest strength must be above 0; got {self.largest}.")


def kl_divergence(
    base_logits: Float[Tensor, "vocab"], logits: Float[Tensor, "batch vocab"]
) -> Float[Tensor, "batch"]:
    """KL(base ‖ other) of next-token distributions, in nats: Σ p ln(p / q), 0 when equal.

    With δ = z_q − z_p it is ln Σ p e^δ − Σ p δ, which loses nothing where the two are close.

    Args:
        base_logits: z_p.
        logits: z_q, one distribution a row.

    Returns:
        float32, at least 0; NaN where a logit is NaN.

    Example:
        p = (1/2, 1/2) and q = (3/4, 1/4): ½ ln(2/3) + ½ ln 2 = ½ ln(4/3).

        >>> kl = kl_divergence(torch.tensor([0.0, 0.0]), torch.tensor([[3.0, 1.0]]).log())
        >>> round(float(kl[0]), 4), round(0.5 * math.log(4 / 3), 4)
        (0.1438, 0.1438)
    """
    log_p = torch.log_softmax(base_logits.float(), dim=0)
    delta = logits.float() - base_logits.float()
    mean = delta @ log_p.exp()
    return (torch.logsumexp(delta.add_(log_p), dim=1) - mean).clamp_min(0)


def match_strengths(
    divergence: Divergence,
    wanted: Sequence[tuple[int, float]],
    settings: SearchSettings,
) -> list[StrengthMatch]:
    """Find, for each direction and target, the smallest strength with that divergence.

    A grid of strengths, each twice the one before, is walked upwards until the divergence passes
    the target; then the bracket is narrowed by the secant of ln KL over ln α (KL grows as α² for
    small α), with bisection in between so that it always ends. All directions and targets take
    their steps together, one call of ``divergence`` a round. A target's result does not depend on
    what else is searched.

    Args:
        divergence: measures many strengths at once; 0 at strength 0 by definition.
        wanted: number of the direction, and target in nats above 0.
        settings: how exact, and how far.

    Returns:
        One match for each entry of ``wanted``.

    Raises:
        InputError: when a target is not above 0.
    """
    for _, target in wanted:
        if not 0 < target < math.inf:
            raise InputError(f"A KL target must be above 0 nats; got {target}.")
    grid = _walk_grid(divergence, wanted, settings.largest)
    matches: list[StrengthMatch | None] = []
    searches: dict[int, _Search] = {}
    for place, (direction, target) in enumerate(wanted):
        points = grid[direction]
        above = next((i for i, (_, kl) in enumerate(points) if not kl < target), None)
        if above is None:
            strength, kl = max(points, key=lambda point: point[1])
            # The tolerance holds here too: a curve may level out at the very target.
            near = abs(kl - target) <= settings.tolerance * target
            matches.append(StrengthMatch(strength, kl, "found" if near else "unreachable"))
        else:
            searches[place] = _Search(direction, target, points[above - 1], points[above])
            matches.append(None)
    for step in range(_MAX_ROUNDS):
        open_places = [p for p in searches if searches[p].goes_on(settings.tolerance)]
        if not open_places:
            break
        tries = [searches[place].propose(step) for place in open_places]
        measured = divergence([searches[place].direction for place in open_places], tries)
        for place, strength, kl in zip(open_places, tries, measured, strict=True):
            searches[place].note(strength, kl)
    for place, search in searches.items():
        matches[place] = search.result(settings.tolerance)
    return [match for match in matches if match is not None]


def _walk_grid(
    divergence: Divergence, wanted: Sequence[tuple[int, float]], largest: float
) -> dict[int, list[tuple[float, float]]]:
    """Points (strength, divergence) of every direction until all its targets are passed."""
    highest: dict[int, float] = {}
    for direction, target in wanted:
        highest[direction] = max(highest.get(direction, 0.0), target)
    strengths = [largest / 2 ** (GRID_POINTS - 1 - i) for i in range(GRID_POINTS)]
    points = {direction: [(0.0, 0.0)] for direction in highest}
    start, stop = 0, _FIRST_GRID_POINTS
    open_directions = list(highest)
    while open_directions and start < GRID_POINTS:
        block = strengths[start:stop]
        numbers = [direction for direction in open_directions for _ in block]
        measured = divergence(numbers, block * len(open_directions))
        for i, (direction, kl) in enumerate(zip(numbers, measured, strict=True)):
            points[direction].append((block[i % len(block)], kl))
        open_directions = [
            direction
            for direction in open_directions
            if all(kl < highest[direction] for _, kl in points[direction])
        ]
        start, stop = stop, stop + _MORE_GRID_POINTS
    return points


class _Search:
    """One target between a strength with too small and one with too large a divergence."""

    def __init__(
        self, direction: int, target: float, low: tuple[float, float], high: tuple[float, float]
    ) -> None:
        self.direction = direction
        self.target = target
        self._low, self._high = low, high
        if math.isnan(high[1]):
            self._high = (high[0], math.inf)

    def propose(self, step: int) -> float:
        """The strength to try next, inside the bracket."""
        (a, kl_a), (b, kl_b) = self._low, self._high
        bisects = step % 4 == 3 or not math.isfinite(kl_b)
        if a == 0:
            return b / 2 if bisects else b * min(math.sqrt(self.target / kl_b), 0.99)
        if bisects or kl_a <= 0:
            return math.sqrt(a * b)
        share = math.log(self.target / kl_a) / math.log(kl_b / kl_a)
        share = min(max(share, 0.01), 0.99)
        return float(a * (b / a) ** share)

    def note(self, strength: float, kl: float) -> None:
        """Narrow the bracket; what is not a number counts as too far."""
        if kl < self.target:
            self._low = (strength, kl)
        else:
            self._high = (strength, math.inf if math.isnan(kl) else kl)

    def nearest(self) -> tuple[float, float]:
        """The end of the bracket whose divergence is nearest to the target."""
        return min(self._low, self._high, key=lambda point: abs(point[1] - self.target))

    def within(self, tolerance: float) -> bool:
        """Whether that end is near enough."""
        return abs(self.nearest()[1] - self.target) <= tolerance * self.target

    def goes_on(self, tolerance: float) -> bool:
        """Whether another step may find what was not found yet."""
        return not self.within(tolerance) and self._high[0] > self._low[0] * (1 + _NARROWEST)

    def result(self, tolerance: float) -> StrengthMatch:
        """What was found so far; nothing lies beyond strengths that give no number."""
        strength, kl = self.nearest()
        if self.within(tolerance):
            return StrengthMatch(strength, kl, "found")
        beyond = math.isinf(self._high[1])
        return StrengthMatch(strength, kl, "unreachable" if beyond else "inexact")
