"""What is known of every feature after concept detection, and what became of the others."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from cofire.evaluation.detection_sentences import DetectionSentences

Score: TypeAlias = Literal["cosine", "codes"]
"""What is measured at a token: cosine between atom and activation, or the code (``transform``)."""

Protocol: TypeAlias = Literal["extended", "published"]
"""``published``: cosine only, five sentences of each kind. ``extended``: all, and codes as well."""

Outcome: TypeAlias = Literal[
    "scored",
    "only activating positive",
    "only neutral positive",
    "neither positive",
    "too few sentences",
    "no concept",
    "no atom",
    "chosen by these codes",
]

LEAST_SENTENCES = 2
"""Sentences of each kind below which nothing is measured."""


@dataclass(frozen=True, eq=False)
class Detection:
    """How every feature did, by one score.

    ``log_ratio`` is S_CD = ln(ā activating / ā neutral), ā the mean over sentences of the maximum
    over tokens (Shafran, Geiger & Geva 2025, arXiv 2506.10920). The ratio means nothing when a
    mean is 0 or less; those features are neither dropped nor 0, but have an outcome of their own:

    ========================  =======================================  =====================
    outcome                   when                                     in ``order``
    ========================  =======================================  =====================
    scored                    both means above 0                       S_CD
    only activating positive  only the mean of activating sentences    +∞: best of all
    only neutral positive     only the mean of neutral sentences       -∞: worst of all
    neither positive          none                                     missing
    too few sentences         fewer than 2 of a kind                   missing
    no concept                nothing the feature stands for is known  missing
    no atom                   the atom is zero: no cosine              missing
    chosen by these codes     windows were chosen by this very score   missing
    ========================  =======================================  =====================

    Attributes:
        score: what was measured at each token.
        protocol: which sentences were taken.
        sentences: on which.
        maxima: largest score of each sentence; NaN where there is none.
        mean_activating: ā over activating sentences; NaN where missing.
        mean_neutral: ā over neutral sentences.
        log_ratio: S_CD in nats; NaN unless ``scored``.
        outcomes: one a feature.
    """

    score: Score
    protocol: Protocol
    sentences: DetectionSentences
    maxima: Float[np.ndarray, "texts features"]
    mean_activating: Float[np.ndarray, "features"]
    mean_neutral: Float[np.ndarray, "features"]
    log_ratio: Float[np.ndarray, "features"]
    outcomes: tuple[Outcome, ...]

    @property
    def order(self) -> Float[np.ndarray, "features"]:
        """S_CD for figures that only look at order: ±∞ where one mean only is above 0."""
        return _order(self.mean_activating, self.mean_neutral)

    @property
    def n_activating(self) -> Int[np.ndarray, "features"]:
        """Activating sentences of each feature."""
        return self._activating.sum(axis=0)

    @property
    def n_neutral(self) -> Int[np.ndarray, "features"]:
        """Neutral sentences of each feature."""
        return self._neutral.sum(axis=0)

    @property
    def feature_groups(self) -> Int[np.ndarray, "features"]:
        """Features of one number are tested on the same activating sentences."""
        if self.sentences.source != "labelled":
            return np.arange(len(self.outcomes))
        names: dict[str | None, int] = {}
        return np.array([names.setdefault(c, len(names)) for c in self.sentences.concepts])

    @cached_property
    def auroc(self) -> Float[np.ndarray, "features"]:
        """Chance that an activating sentence scores above a neutral one, ties half; NaN missing."""
        once = np.ones((1, len(self.sentences)))
        return self._aurocs(once)[0]

    @cached_property
    def average_precision(self) -> Float[np.ndarray, "features"]:
        """Σ over thresholds of (recall gained) × precision; NaN where missing.

        Activating sentences are the positives (sklearn.metrics.average_precision_score). A score
        without information gets ``prevalence`` on average.
        """
        from sklearn.metrics import average_precision_score  # slow to import

        found = np.full(len(self.outcomes), np.nan)
        for feature in np.flatnonzero(self._measured):
            used = self._activating[:, feature] | self._neutral[:, feature]
            found[feature] = average_precision_score(
                self._activating[used, feature], self.maxima[used, feature]
            )
        return found

    @property
    def prevalence(self) -> Float[np.ndarray, "features"]:
        """Share of activating sentences among those of each feature; NaN without any."""
        total = (self.n_activating + self.n_neutral).astype(float)
        return np.divide(self.n_activating, total, out=np.full(len(total), np.nan), where=total > 0)

    def resampled(
        self, *, resamples: int, seed: int = 0
    ) -> dict[str, Float[np.ndarray, "_ features"]]:
        """``order`` and ``auroc`` when sentences are drawn again with replacement, within groups.

        Every resample draws the same sentences for all features, so that what sentences shared by
        features do to a figure over features is kept. NaN where a resample has no sentence of a
        kind, or no mean above 0.

        Args:
            resamples: how often.
            seed: of the draws.
        """
        weights = _draws(self.sentences.group, resamples, seed)
        activating, neutral = (
            _weighted_means(weights, self.maxima, mask, self._measured)
            for mask in (self._activating, self._neutral)
        )
        return {"order": _order(activating, neutral), "auroc": self._aurocs(weights)}

    @property
    def _measured(self) -> Bool[np.ndarray, "features"]:
        """Where scores could be taken of enough sentences."""
        return ~np.isnan(self.mean_activating)

    @cached_property
    def _activating(self) -> Bool[np.ndarray, "texts features"]:
        return self.sentences.activating & ~np.isnan(self.maxima)

    @cached_property
    def _neutral(self) -> Bool[np.ndarray, "texts features"]:
        return self.sentences.neutral & ~np.isnan(self.maxima)

    def _aurocs(self, weights: Float[np.ndarray, "_ texts"]) -> Float[np.ndarray, "_ features"]:
        """AUROC of every feature when each sentence counts as often as its weight says."""
        found = np.full((len(weights), len(self.outcomes)), np.nan)
        for feature in np.flatnonzero(self._measured):
            up, down = self._activating[:, feature], self._neutral[:, feature]
            x, y = self.maxima[up, feature], self.maxima[down, feature]
            wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
            won = ((weights[:, up] @ wins) * weights[:, down]).sum(axis=1)
            tried = weights[:, up].sum(axis=1) * weights[:, down].sum(axis=1)
            found[:, feature] = np.divide(
                won, tried, out=np.full(len(won), np.nan), where=tried > 0
            )
        return found


def concept_score(activating: float, neutral: float) -> float | None:
    """S_CD = ln(activating / neutral) of two means; None where either is 0 or less.

    Example:
        Mean maxima of 0.6 and 0.3: twice as high, ln 2 = 0.693.

        >>> round(concept_score(0.6, 0.3), 3), concept_score(0.6, -0.1)
        (0.693, None)
    """
    ratio = _log_ratio(np.array([activating]), np.array([neutral]))[0]
    return None if np.isnan(ratio) else float(ratio)


def detection_of(
    score: Score,
    protocol: Protocol,
    sentences: DetectionSentences,
    maxima: Float[np.ndarray, "texts features"],
) -> Detection:
    """The record of some maxima, one a sentence and feature; NaN where there is no score."""
    known = ~np.isnan(maxima)
    up, down = sentences.activating & known, sentences.neutral & known
    enough = (up.sum(axis=0) >= LEAST_SENTENCES) & (down.sum(axis=0) >= LEAST_SENTENCES)
    circular = score == "codes" and sentences.source == "contexts"
    measured = enough & (not circular)
    once = np.ones((1, len(sentences)))
    activating = _weighted_means(once, maxima, up, measured)[0]
    neutral = _weighted_means(once, maxima, down, measured)[0]
    alive = known.any(axis=0) | ~(sentences.activating | sentences.neutral).any(axis=0)

    def outcome(feature: int) -> Outcome:
        if sentences.concepts[feature] is None:
            return "no concept"
        if circular:
            return "chosen by these codes"
        if not alive[feature]:
            return "no atom"
        if not enough[feature]:
            return "too few sentences"
        if activating[feature] > 0:
            return "scored" if neutral[feature] > 0 else "only activating positive"
        return "only neutral positive" if neutral[feature] > 0 else "neither positive"

    return Detection(
        score=score,
        protocol=protocol,
        sentences=sentences,
        maxima=maxima,
        mean_activating=activating,
        mean_neutral=neutral,
        log_ratio=_log_ratio(activating, neutral),
        outcomes=tuple(map(outcome, range(len(sentences.concepts)))),
    )


def _weighted_means(
    weights: np.ndarray, maxima: np.ndarray, mask: np.ndarray, measured: np.ndarray
) -> np.ndarray:
    """Mean maxima of the masked sentences, a line a set of weights; NaN where not measured."""
    total = weights @ mask
    sums = weights @ np.where(mask, maxima, 0.0)
    return np.divide(sums, total, out=np.full(total.shape, np.nan), where=(total > 0) & measured)


def _log_ratio(activating: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    both = (activating > 0) & (neutral > 0)
    safe = np.where(both, activating, 1.0) / np.where(both, neutral, 1.0)
    return np.where(both, np.log(safe), np.nan)


def _order(activating: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    order = _log_ratio(activating, neutral)
    order[(activating > 0) & (neutral <= 0)] = np.inf
    order[(activating <= 0) & (neutral > 0)] = -np.inf
    return order


def _draws(group: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each sentence is drawn, as many of every group as it has, [resamples texts]."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(group)))
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        even = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), even, size=resamples)
    return weights
