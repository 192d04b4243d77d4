"""Drawing the next token: temperature, then top-k, then top-p."""

from dataclasses import dataclass

import torch

from cofire.errors import InputError
from cofire.types import Float, Int, Tensor


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the next token is drawn.

    Attributes:
        temperature: what logits are divided by, above 0; 0 always takes the most likely token.
        top_k: only the k most likely tokens can be drawn; None for all.
        top_p: of those, only the fewest most likely ones that together have at least this
            probability can be drawn, 0 < p ≤ 1; None for all.

    Raises:
        InputError: when a setting is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = 30
    top_p: float | None = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature must be 0 or more; got {self.temperature}.")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, or None for all; got {self.top_k}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1; got {self.top_p}.")

    @property
    def n_needed(self) -> int | None:
        """How many of the highest logits decide; None for all."""
        return 1 if self.temperature == 0 else self.top_k


def kept_probabilities(
    logits: Float[Tensor, "batch vocab"], settings: SamplingSettings
) -> Float[Tensor, "batch vocab"]:
    """Probabilities of the tokens that can be drawn, 0 for the others, each row summing to 1.

    Args:
        logits: highest first in every row; at least the ``top_k`` highest.
        settings: how to draw.

    Returns:
        float64, in the order of the logits.

    Example:
        Logits ln 5, ln 3, ln 1, ln 1: top-k 3 keeps 5/9, 3/9 and 1/9; top-p 0.6 needs the first
        two, which then have 5/8 and 3/8.

        >>> logits = torch.tensor([[5.0, 3.0, 1.0, 1.0]]).log()
        >>> chances = kept_probabilities(logits, SamplingSettings(top_k=3, top_p=0.6))
        >>> [round(chance, 6) for chance in chances[0].tolist()]
        [0.625, 0.375, 0.0, 0.0]
    """
    numbers = logits.double()
    place = torch.arange(numbers.shape[1], device=logits.device)
    if settings.n_needed is not None:
        numbers = numbers.masked_fill(place >= settings.n_needed, -torch.inf)
    chances = torch.softmax(numbers / (settings.temperature or 1.0), dim=1)
    if settings.top_p is not None:
        before = chances.cumsum(dim=1) - chances
        kept = (before < settings.top_p) | (place == 0)
        chances = chances * kept
        chances = chances / chances.sum(dim=1, keepdim=True)
    return chances


def draw(
    chances: Float[Tensor, "batch vocab"], uniforms: Float[Tensor, "batch"]
) -> Int[Tensor, "batch"]:
    """The place in each row where its share of the total probability falls.

    Args:
        chances: probabilities, not all 0.
        uniforms: a number in [0, 1) for each row; the same number gives the same place.

    >>> draw(torch.tensor([[0.625, 0.375, 0.0]]), torch.tensor([0.7])).tolist()
    [1]
    """
    total = chances.cumsum(dim=1)
    reached = (uniforms.to(total)[:, None] * total[:, -1:]).contiguous()
    place = torch.searchsorted(total.contiguous(), reached, right=True)[:, 0]
    last = (chances > 0).long().cumsum(dim=1).argmax(dim=1)  # rounding may lead past it
    return torch.minimum(place, last)


def uniform_stream(seed: int, length: int) -> Float[Tensor, "position"]:
    """The numbers in [0, 1) that one continuation is drawn with, from its own generator."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(length, generator=generator, dtype=torch.float64)
