"""Temperature, top-k and top-p against examples worked by hand."""

import math

import pytest
import torch

from cofire.errors import InputError
from cofire.sampling import SamplingSettings, draw, kept_probabilities, uniform_stream

EIGHTHS = torch.tensor([[4.0, 2.0, 1.0, 1.0]]).log()
"""Probabilities 1/2, 1/4, 1/8, 1/8."""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SamplingSettings(top_k=None, top_p=None), [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        (SamplingSettings(top_k=2, top_p=None), [2 / 3, 1 / 3, 0, 0]),
        (SamplingSettings(top_k=None, top_p=0.3), [1, 0, 0, 0]),
        (SamplingSettings(top_k=None, top_p=0.5), [1, 0, 0, 0]),
        (SamplingSettings(top_k=None, top_p=0.51), [2 / 3, 1 / 3, 0, 0]),
        (SamplingSettings(top_k=None, top_p=0.8), [4 / 7, 2 / 7, 1 / 7, 0]),
        # Of the top three the first has 4/7 and the second 2/7: p counts after k.
        (SamplingSettings(top_k=3, top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
        (SamplingSettings(top_k=3, top_p=0.55), [1, 0, 0, 0]),
        # At temperature 1/2 the odds are squared: 16, 4, 1, 1.
        (
            SamplingSettings(temperature=0.5, top_k=None, top_p=None),
            [16 / 22, 4 / 22, 1 / 22, 1 / 22],
        ),
        (SamplingSettings(temperature=0.0, top_k=None, top_p=None), [1, 0, 0, 0]),
    ],
)
def test_kept_probabilities(settings: SamplingSettings, expected: list[float]) -> None:
    assert kept_probabilities(EIGHTHS, settings)[0].tolist() == pytest.approx(expected)


def test_draws_follow_the_probabilities() -> None:
    uniforms = uniform_stream(3, 20_000)
    chances = kept_probabilities(EIGHTHS, SamplingSettings(top_k=3, top_p=0.9)).expand(20_000, -1)
    counts = torch.bincount(draw(chances, uniforms), minlength=4) / 20_000
    assert counts.tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0], abs=0.01)
    assert counts[3] == 0


def test_the_ends_of_the_unit_interval() -> None:
    chances = torch.tensor([[0.25, 0.25, 0.5, 0.0]])
    for uniform, place in [(0.0, 0), (0.25, 1), (0.49, 1), (0.5, 2), (math.nextafter(1, 0), 2)]:
        assert draw(chances, torch.tensor([uniform], dtype=torch.float64)).tolist() == [place]


def test_streams_are_their_seeds() -> None:
    assert torch.equal(uniform_stream(5, 8), uniform_stream(5, 8))
    assert torch.equal(uniform_stream(5, 8)[:4], uniform_stream(5, 4))
    assert not torch.equal(uniform_stream(5, 8), uniform_stream(6, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or more"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.5}, "at most 1"),
    ],
)
def test_settings_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SamplingSettings(**options)
