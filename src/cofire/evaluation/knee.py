"""Where the elbow of a path lies, and which number of features that suggests.

A suggestion is a heuristic: it says where more features stop paying in loss. It does not say that
the data have so many features; it depends on the numbers that were tried, and it knows nothing of
what the features mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

SMALL_GAIN = 0.05
"""Share of the loss that a doubling of k must take off to count as a gain."""

LEAST_BEND = 0.1
"""Distance from the chord, as a share of the fall of the loss, from which there is a knee. A plain
power law, which has no knee, bends by 0.09 where it halves the loss over the path."""

LEAST_POINTS = 4
"""Points a curve needs for a knee."""


@dataclass(frozen=True)
class Bend:
    """Where a falling curve lies farthest below its chord.

    Attributes:
        index: of the point; None when the curve is too short, too straight, or does not fall.
        depth: its distance below the chord, as a share of the fall; None for a curve that is too
            short or does not fall.
    """

    index: int | None
    depth: float | None


@runtime_checkable
class Measured(Protocol):
    """A point of a path, as far as a suggestion looks at it."""

    @property
    def n_components(self) -> int:
        """Features."""
        ...

    @property
    def loss_train(self) -> float | None:
        """Relative loss of the training rows."""
        ...

    @property
    def loss_heldout(self) -> float | None:
        """Relative loss of the held-out rows."""
        ...

    @property
    def seed_agreement(self) -> float | None:
        """Mean matched cosine between seeds."""
        ...


@dataclass(frozen=True)
class Suggestion:
    """Which of the tried numbers of features to take, and what else speaks for others.

    Attributes:
        knee: the number of features at the knee; None when there is no knee.
        bend: how far the curve lies below its chord there, as a share of its fall; None when that
            could not be measured.
        loss: which loss was looked at.
        small_gain: the smallest number from which the next doubling takes less than ``SMALL_GAIN``
            off the loss; None when every step takes more.
        lowest: the number with the lowest loss.
        most_stable: the number at which seeds agree best; None when only one seed was fitted.
        words: all that in sentences.
    """

    knee: int | None
    bend: float | None
    loss: Literal["held-out", "training"]
    small_gain: int | None
    lowest: int
    most_stable: int | None
    words: tuple[str, ...]


def knee(x: Sequence[float], y: Sequence[float]) -> Bend:
    """The knee of a falling, convex curve: the point farthest below the chord of its ends.

    Both axes are scaled to the extent of the curve, so that the distance below the chord is between
    0 and 1 (Satopaa, Albrecht, Irwin & Raghavan 2011, "Finding a 'kneedle' in a haystack", without
    its smoothing, and with one knee at most).

    Args:
        x: ascending.
        y: as many values.

    Example:
        The chord from (0, 4) to (3, 1) passes (1, 3); the curve is 1.9 below it, of a fall of 3.

        >>> found = knee([0.0, 1.0, 2.0, 3.0], [4.0, 1.1, 1.05, 1.0])
        >>> found.index, round(found.depth, 3)
        (1, 0.633)
    """
    if len(x) < LEAST_POINTS or y[0] <= y[-1] or not all(map(math.isfinite, y)):
        return Bend(None, None)
    fall = y[0] - y[-1]
    depths = [
        (y[0] - fall * (a - x[0]) / (x[-1] - x[0]) - b) / fall for a, b in zip(x, y, strict=True)
    ]
    index = max(range(len(depths)), key=depths.__getitem__)
    return Bend(index if depths[index] >= LEAST_BEND else None, depths[index])


def suggest_k(points: Sequence[Measured]) -> Suggestion | None:
    """Suggest a number of features from the points of a k path.

    Looks at the held-out loss against log k, or at the training loss when some point has no
    held-out loss.

    Args:
        points: with ascending ``n_components``.

    Returns:
        None without points, or when no loss is known.
    """
    losses, name = [point.loss_heldout for point in points], "held-out"
    if None in losses:
        losses, name = [point.loss_train for point in points], "training"
    known = [loss for loss in losses if loss is not None]
    if not known or len(known) < len(losses):
        return None
    numbers = [point.n_components for point in points]
    bend = knee([math.log(number) for number in numbers], known)
    agreements = [point.seed_agreement for point in points]
    stable = [value for value in agreements if value is not None]
    found = {
        "knee": None if bend.index is None else numbers[bend.index],
        "small_gain": _first_small_gain(numbers, known),
        "lowest": numbers[known.index(min(known))],
        "most_stable": numbers[agreements.index(max(stable))] if stable else None,
    }
    return Suggestion(
        bend=bend.depth,
        loss="held-out" if name == "held-out" else "training",
        words=tuple(_words(found, bend, name, numbers)),
        **found,  # type: ignore[arg-type]
    )


def _first_small_gain(numbers: Sequence[int], losses: Sequence[float]) -> int | None:
    for i, number in enumerate(numbers[:-1]):
        doublings = math.log2(numbers[i + 1] / number)
        if losses[i] <= 0:
            return number
        left = max(losses[i + 1], 0.0) / losses[i]
        if 1 - left ** (1 / doublings) < SMALL_GAIN:
            return number
    return None


def _words(
    found: dict[str, int | None], bend: Bend, name: str, numbers: Sequence[int]
) -> list[str]:
    if found["knee"] is not None:
        first = (
            f"k = {found['knee']}: the knee of the {name} loss against log k, {bend.depth:.0%} of "
            "its fall below the chord."
        )
    elif len(numbers) < LEAST_POINTS:
        first = f"No knee: that needs at least {LEAST_POINTS} points; there are {len(numbers)}."
    elif bend.depth is None:
        first = f"No knee: the {name} loss does not fall from {numbers[0]} to {numbers[-1]}."
    else:
        first = (
            f"No knee: the {name} loss is nearly straight against log k; choose by what you can "
            "read and afford."
        )
    words = [first]
    if found["small_gain"] is not None:
        words.append(
            f"From k = {found['small_gain']} on, the next doubling takes less than "
            f"{SMALL_GAIN:.0%} off the {name} loss."
        )
    elif len(numbers) > 1:
        words.append(
            f"Every step still takes {SMALL_GAIN:.0%} or more off the {name} loss per doubling."
        )
    if found["lowest"] != numbers[-1]:
        words.append(f"The {name} loss is lowest at k = {found['lowest']} and rises after it.")
    if found["most_stable"] is not None:
        words.append(f"Seeds agree best at k = {found['most_stable']}.")
    words.append(
        "This is a heuristic over the numbers tried: it says where more features stop paying in "
        "loss, not how many there are, nor which mean something."
    )
    return words
