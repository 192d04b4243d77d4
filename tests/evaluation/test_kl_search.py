"""The search for strengths, on curves whose answer is known."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from cofire.errors import InputError
from cofire.evaluation.kl_search import SearchSettings, kl_divergence, match_strengths

Curve = Callable[[float], float]
CURVES: dict[str, tuple[Curve, float]] = {
    "square": (lambda a: 0.3 * a * a, math.inf),
    "tiny": (lambda a: 1e-6 * a * a, math.inf),
    "steep": (lambda a: 1e6 * a * a, math.inf),
    "line": (lambda a: 0.05 * a, math.inf),
    "level": (lambda a: 0.2 * (1 - math.exp(-a)), 0.2),
    "late": (lambda a: 0.0 if a < 3 else (a - 3) ** 2, math.inf),
    "nothing": (lambda a: 0.0, 0.0),
}
TARGETS = (0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5)


class Meter:
    """Measures curves, and counts how often."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        self._curves = curves
        self.count = 0

    def __call__(self, numbers: Sequence[int], strengths: Sequence[float]) -> list[float]:
        self.count += len(numbers)
        return [self._curves[n](a) for n, a in zip(numbers, strengths, strict=True)]


@pytest.mark.parametrize("name", CURVES)
def test_found_and_unreachable(name: str) -> None:
    curve, most = CURVES[name]
    settings = SearchSettings(largest=1000.0)
    matches = match_strengths(Meter([curve]), [(0, target) for target in TARGETS], settings)
    for target, match in zip(TARGETS, matches, strict=True):
        assert match.kl == curve(match.strength)
        if target < most:
            assert match.status == "found"
            assert match.kl == pytest.approx(target, rel=settings.tolerance)
        else:
            assert match.status == "unreachable"
            assert match.kl == pytest.approx(most)


def test_few_measurements() -> None:
    """The published search takes 20 a target."""
    meter = Meter([CURVES["square"][0]])
    match_strengths(meter, [(0, target) for target in TARGETS], SearchSettings(largest=100.0))
    assert meter.count <= 3 * len(TARGETS)


def test_results_do_not_depend_on_what_else_is_searched() -> None:
    curves = [CURVES[name][0] for name in ("line", "level", "square")]
    settings = SearchSettings(largest=50.0)
    wanted = [(number, target) for number in range(3) for target in TARGETS]
    together = match_strengths(Meter(curves), wanted, settings)
    alone = [match_strengths(Meter(curves), [one], settings)[0] for one in wanted]
    assert together == alone


def test_the_smallest_strength_is_taken() -> None:
    """A curve that rises, falls and rises again."""

    def wave(a: float) -> float:
        return math.sin(a) ** 2 if a < math.pi else (a - math.pi) ** 2

    match = match_strengths(Meter([wave]), [(0, 0.3)], SearchSettings(largest=64.0))[0]
    assert match.strength == pytest.approx(math.asin(math.sqrt(0.3)), rel=0.01)


def test_a_jump_is_inexact() -> None:
    def step(a: float) -> float:
        return 0.0 if a < 1.7 else 1.0

    match = match_strengths(Meter([step]), [(0, 0.4)], SearchSettings(largest=64.0))[0]
    assert match.status == "inexact"
    assert match.strength == pytest.approx(1.7, rel=1e-3)


def test_numbers_that_overflow_count_as_too_far() -> None:
    def breaks(a: float) -> float:
        return 0.01 * a * a if a < 3.0 else math.nan

    settings = SearchSettings(largest=64.0)
    found, beyond = match_strengths(Meter([breaks]), [(0, 0.05), (0, 0.5)], settings)
    assert found.status == "found"
    assert beyond.status == "unreachable"
    assert 0.01 < beyond.kl < 0.09


def test_a_model_that_gives_no_numbers_at_all() -> None:
    match = match_strengths(Meter([lambda a: math.nan]), [(0, 0.1)], SearchSettings())[0]
    assert match.status == "unreachable"
    assert (match.strength, match.kl) == (0.0, 0.0)


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_targets_that_make_no_sense(target: float) -> None:
    with pytest.raises(InputError, match="above 0 nats"):
        match_strengths(Meter([]), [(0, target)], SearchSettings())


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"largest": 0.0}, {"largest": math.inf}])
def test_settings_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        SearchSettings(**options)


def test_divergence_is_exact_where_it_is_small() -> None:
    generator = torch.Generator().manual_seed(0)
    base = 5 * torch.randn(50_000, generator=generator)
    change = torch.randn(3, 50_000, generator=generator) * torch.tensor([[1e-3], [0.1], [2.0]])
    expected = torch.nn.functional.kl_div(
        torch.log_softmax(base.double() + change.double(), dim=1),
        torch.log_softmax(base.double(), dim=0).expand(3, -1),
        log_target=True,
        reduction="none",
    ).sum(dim=1)
    found = kl_divergence(base, base + change)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)
    assert kl_divergence(base, base[None])[0] == pytest.approx(0, abs=1e-5)
    assert kl_divergence(base, torch.full((1, 50_000), torch.nan)).isnan().all()
