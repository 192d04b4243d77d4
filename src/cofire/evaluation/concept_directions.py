"""Directions in an encoder's space along which a concept is more or less present."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from cofire.evaluation.encoders import words

_WORDS = 8  # distinctive words that stand for a feature's own when descriptions are calibrated


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in the encoder's space, and the scores of texts without the concept along it."""

    vector: Float[np.ndarray, "channels"]
    mean: float
    spread: float

    def score(self, vectors: Float[np.ndarray, "texts channels"]) -> Float[np.ndarray, "texts"]:
        return (vectors @ self.vector - self.mean) / self.spread


@dataclass(frozen=True, eq=False)
class LabelledVectors:
    """Training vectors with what they are, and the shape of their cloud."""

    vectors: Float[np.ndarray, "texts channels"]
    labels: np.ndarray
    texts: tuple[str, ...]
    centre: Float[np.ndarray, "channels"] = field(init=False)
    scale: Float[np.ndarray, "channels"] = field(init=False)

    def __post_init__(self) -> None:
        variance = self.vectors.var(axis=0)
        object.__setattr__(self, "centre", self.vectors.mean(axis=0))
        object.__setattr__(self, "scale", variance + variance.mean())

    def take(self, kept: Bool[np.ndarray, "texts"]) -> "LabelledVectors":
        texts = tuple(text for text, keep in zip(self.texts, kept, strict=True) if keep)
        return LabelledVectors(self.vectors[kept], self.labels[kept], texts)

    def learned(self, concept: str) -> Direction:
        """Difference of means, each channel over its variance (and the mean variance)."""
        is_it = self.labels == concept
        inside = self.vectors[is_it].sum(axis=0)
        outside = self.centre * len(self.labels) - inside
        difference = inside / is_it.sum() - outside / (~is_it).sum()
        return self._direction(difference / self.scale, ~is_it)

    def described(self, vector: Float[np.ndarray, "channels"], without: str | None) -> Direction:
        """The description's own vector; texts of ``without`` are no negatives.

        Neither centred nor scaled: over training sentences that was better with words (mean AUROC
        0.74 against 0.70) and no worse with sentence embeddings (0.90).
        """
        return self._direction(vector, self.labels != without)

    def _direction(
        self, vector: Float[np.ndarray, "channels"], negative: Bool[np.ndarray, "texts"]
    ) -> Direction:
        scores = (self.vectors @ vector)[negative]
        return Direction(vector, float(scores.mean()), max(float(scores.std()), 1e-9))


def distinctive_words(
    texts: Sequence[str], labels: np.ndarray, concept: str, n: int = _WORDS
) -> tuple[str, ...]:
    """Words that stand more often in texts of a concept than in others, most telling first.

    By smoothed log-odds: the share of texts that hold the word, two texts of the overall share
    added on either side, times the number of the concept's texts that hold it.
    """
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    n_inside = 0
    for text, label in zip(texts, labels, strict=True):
        n_inside += label == concept
        (inside if label == concept else outside).update(set(words(text)))
    n_outside = len(texts) - n_inside

    def telling(word: str) -> float:
        share = 2 * (inside[word] + outside[word]) / len(texts)
        odds = (inside[word] + share) / (n_inside + 2), (outside[word] + share) / (n_outside + 2)
        return inside[word] * float(np.log(odds[0] / odds[1]))

    return tuple(sorted(inside, key=lambda word: (-telling(word), word))[:n])
