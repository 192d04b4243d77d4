"""Charts place what they are given, and are tolerant of what is missing."""

import math

import pytest

from cofire.report.axes import axis
from cofire.report.charts import (
    HEIGHT,
    WIDTH,
    auroc_histogram,
    density_histogram,
    objective_curve,
)
from sample_run import objective


def points_of(curve) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for point in curve.points.split()]


def test_a_curve_falls_with_the_loss_and_marks_its_phases() -> None:
    curve = objective_curve(objective(40))
    assert curve is not None
    points = points_of(curve)
    assert len(points) == 40
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted(y for _, y in points)  # SVG counts downwards
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert [phase.name for phase in curve.phases] == ["penalised", "released"]
    assert curve.phases[0].end == curve.phases[1].start
    assert "at sweep 40" in curve.summary


def test_repairs_within_a_phase_are_events_and_not_phases() -> None:
    records = objective(30)
    records[4]["phase"] = records[9]["phase"] = "repair"
    curve = objective_curve(records)
    assert curve is not None
    assert [phase.name for phase in curve.phases] == ["penalised", "released"]
    assert [event.text for event in curve.events] == ["repair at sweep 5", "repair at sweep 10"]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"loss": 1.0}],
        [{"seconds": 1.0}, {"seconds": 2.0}],
        [{"loss": None}, {"loss": float("nan")}],
        [{"loss": "high"}, {"loss": "low"}],
    ],
)
def test_no_curve_where_there_is_nothing_to_draw(records: list[dict[str, object]]) -> None:
    assert objective_curve(records) is None


def test_records_without_a_step_are_counted() -> None:
    curve = objective_curve([{"loss": 3.0}, {"loss": None}, {"loss": 1.0}])
    assert curve is not None
    assert "lowest 1 at sweep 3" in curve.summary
    assert curve.phases == ()


def test_a_flat_curve_and_a_long_one_are_drawn() -> None:
    flat = objective_curve([{"loss": 2.0}] * 5)
    assert flat is not None
    assert all(math.isfinite(y) for _, y in points_of(flat))
    long = objective_curve([{"loss": 1 / (1 + i)} for i in range(20_000)])
    assert long is not None
    assert len(points_of(long)) < 500
    assert long.y.scale == "log"


def test_histograms_count_everything_once() -> None:
    values = [None, 0.0, 0.5, 0.79, 0.8, 0.81, 1.0, 1.0]
    found = auroc_histogram(values, strong_above=0.8)
    assert found is not None
    assert sum(bar.count for bar in found.bars) == 7
    assert found.missing == 1
    assert sum(bar.count for bar in found.bars if bar.strong) == 4
    densities = density_histogram([0.0, 1e-5, 0.003, 0.5, 1.0])
    assert densities is not None
    assert sum(bar.count for bar in densities.bars) == 4
    assert densities.missing == 1


def test_no_histogram_of_nothing() -> None:
    assert auroc_histogram([None, None], strong_above=0.8) is None
    assert density_histogram([0.0]) is None


def test_an_axis_has_round_ticks_within_its_ends() -> None:
    drawn, at = axis("loss", 0.31, 0.92, 0.0, 100.0)
    assert [tick.text for tick in drawn.ticks] == ["0.4", "0.6", "0.8"]
    assert at(0.31) == pytest.approx(0.0)
    assert at(0.92) == pytest.approx(100.0)
    drawn, at = axis("loss", 0.01, 100.0, 0.0, 100.0, log_allowed=True)
    assert [tick.text for tick in drawn.ticks] == ["0.01", "0.1", "1", "10", "100"]
    assert at(1.0) == pytest.approx(50.0)
