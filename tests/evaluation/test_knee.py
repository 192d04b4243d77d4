"""The knee of a curve, and the number of features suggested from it."""

from dataclasses import dataclass

import pytest

from cofire.evaluation.knee import knee, suggest_k


@dataclass(frozen=True)
class Point:
    """As much of a path point as a suggestion looks at."""

    n_components: int
    loss_train: float | None
    loss_heldout: float | None = None
    seed_agreement: float | None = None


def points(numbers, losses, **figures):
    return [
        Point(k, loss, **{name: values[i] for name, values in figures.items()})
        for i, (k, loss) in enumerate(zip(numbers, losses, strict=True))
    ]


def test_a_sharp_elbow_is_found():
    found = suggest_k(points([10, 20, 40, 80, 160], [0.9, 0.5, 0.1, 0.09, 0.08]))
    assert (found.knee, found.loss) == (40, "training")
    assert found.lowest == 160
    assert found.most_stable is None
    assert "heuristic" in found.words[-1]


@pytest.mark.parametrize(
    "losses",
    [
        [0.8, 0.7, 0.6, 0.5],  # straight in log k
        [0.8, 0.8 * 0.8, 0.8 * 0.64, 0.8 * 0.512],  # a power law that halves the loss
        [0.9, 0.89, 0.8, 0.5],  # falls faster and faster
        [0.5, 0.5, 0.5, 0.5],
        [0.4, 0.3, 0.35, 0.5],  # rises in the end
    ],
)
def test_no_knee_is_said_to_be_none(losses):
    found = suggest_k(points([10, 20, 40, 80], losses))
    assert found.knee is None
    assert found.words[0].startswith("No knee")


def test_three_points_make_no_knee():
    found = suggest_k(points([10, 20, 40], [0.9, 0.1, 0.09]))
    assert found.knee is None
    assert "at least 4 points; there are 3" in found.words[0]


def test_heldout_loss_counts_only_where_every_point_has_it():
    numbers, train = [10, 20, 40, 80], [0.9, 0.5, 0.3, 0.1]
    held = [0.9, 0.2, 0.19, 0.25]
    found = suggest_k(points(numbers, train, loss_heldout=held))
    assert (found.knee, found.loss, found.lowest) == (20, "held-out", 40)
    assert any("lowest at k = 40 and rises" in sentence for sentence in found.words)
    partly = suggest_k(points(numbers, train, loss_heldout=[0.9, None, 0.19, 0.25]))
    assert partly.loss == "training"


def test_alternatives_are_named():
    found = suggest_k(
        points(
            [10, 20, 40, 80],
            [0.8, 0.4, 0.39, 0.2],
            seed_agreement=[0.6, 0.9, 0.8, 0.7],
        )
    )
    assert found.small_gain == 20  # the doubling from 20 to 40 takes 2.5% off
    assert found.most_stable == 20


def test_gain_is_counted_a_doubling():
    # From 10 to 40 are two doublings: 8% off is 4.1% each.
    assert suggest_k(points([10, 40], [0.5, 0.46])).small_gain == 10
    assert suggest_k(points([10, 20], [0.5, 0.46])).small_gain is None


def test_nothing_to_suggest():
    assert suggest_k([]) is None
    assert suggest_k([Point(10, None)]) is None


def test_a_curve_that_does_not_fall_has_no_depth():
    assert knee([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]).depth is None
    assert knee([0.0, 1.0, 2.0, 3.0], [1.0, float("nan"), 0.3, 0.2]).index is None
