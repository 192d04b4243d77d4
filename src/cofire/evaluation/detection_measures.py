"""Figures over all features of a concept detection."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from cofire.evaluation.bootstrap import CONFIDENCE, RESAMPLES, estimate_of, interval_note, share_of
from cofire.evaluation.detection_records import Detection
from cofire.evaluation.measurement import Estimate, Interval

Over: TypeAlias = Literal["features", "sentences"]
"""What an interval draws again: features (would others do as well?) or sentences (would these
features do as well on others?)."""


def concept_detection(
    detection: Detection, *, over: Over = "features", **settings: Any
) -> Estimate:
    """Median S_CD of the features, in nats; those with one mean of 0 or less count as ±∞.

    median over features of ln(ā activating / ā neutral), see ``Detection``. Features without
    sentences, concept or atom, or without a mean above 0, are missing.

    Args:
        detection: by cosine or codes.
        over: what the interval draws; features that are tested on the same sentences are drawn
            together.
        settings: ``resamples`` and ``seed``.

    Example:
        Two activating and two neutral sentences. The first feature's means are 0.6 and 0.3, S_CD =
        ln 2 = 0.69; the second's 0.8 and 0.2, ln 4 = 1.39; the third's 0.5 and -0.1: +∞.

        >>> from cofire.evaluation.detection_records import detection_of
        >>> from cofire.evaluation.detection_sentences import known_sentences
        >>> has = np.array([[True] * 3, [True] * 3, [False] * 3, [False] * 3])
        >>> maxima = np.array([[0.5, 0.8, 0.5], [0.7, 0.8, 0.5], [0.3, 0.3, 0.0], [0.3, 0.1, -0.2]])
        >>> found = detection_of("cosine", "extended", known_sentences(has, ~has), maxima)
        >>> found.log_ratio.round(2).tolist(), found.outcomes[2]
        ([0.69, 1.39, nan], 'only activating positive')
        >>> round(concept_detection(found).value, 2), concept_detection(found).missing
        (1.39, 0)
    """
    if over == "features":
        return estimate_of(detection.order, "median", groups=detection.feature_groups, **settings)
    return _over_sentences(detection, "order", _nan_median, **settings)


def detected_share(detection: Detection, *, over: Over = "features", **settings: Any) -> Estimate:
    """Share of the features with S_CD above 0: they fire more where their concept is.

    n(S_CD > 0) / n(S_CD known), ±∞ included. Published: over 75% (arXiv 2506.10920).

    Args:
        detection, over, settings: see ``concept_detection``.

    Example:
        One feature is right way round, one the wrong way.

        >>> from cofire.evaluation.detection_records import detection_of
        >>> from cofire.evaluation.detection_sentences import known_sentences
        >>> has = np.array([[True, True], [True, True], [False, False], [False, False]])
        >>> maxima = np.array([[0.4, 0.1], [0.4, 0.1], [0.2, 0.3], [0.2, 0.3]])
        >>> found = detection_of("cosine", "extended", known_sentences(has, ~has), maxima)
        >>> detected_share(found).value
        0.5
    """
    if over == "features":
        return share_of(_above_zero(detection.order), groups=detection.feature_groups, **settings)
    return _over_sentences(
        detection, "order", lambda order: _nan_mean(_above_zero(order)), **settings
    )


def detection_auroc(detection: Detection, *, over: Over = "features", **settings: Any) -> Estimate:
    """Mean over features of the chance that an activating sentence scores above a neutral one.

    Args:
        detection, over, settings: see ``concept_detection``.

    Example:
        Activating sentences score 3 and 1, neutral ones 2 and 0: three of four pairs in order.

        >>> from cofire.evaluation.detection_records import detection_of
        >>> from cofire.evaluation.detection_sentences import known_sentences
        >>> has = np.array([[True], [True], [False], [False]])
        >>> scores = np.array([[3.0], [1.0], [2.0], [0.0]])
        >>> found = detection_of("codes", "extended", known_sentences(has, ~has), scores)
        >>> detection_auroc(found).value
        0.75
    """
    if over == "features":
        return estimate_of(detection.auroc, groups=detection.feature_groups, **settings)
    return _over_sentences(detection, "auroc", _nan_mean, **settings)


def detection_precision(detection: Detection, **settings: Any) -> Estimate:
    """Mean over features of the average precision; chance is their mean ``prevalence``.

    Args:
        detection: by cosine or codes.
        settings: ``resamples`` and ``seed``; the interval draws features.

    Example:
        In order of score: activating, neutral, activating, neutral. Precision is 1 when half is
        found and 2/3 when all is: 1/2 × 1 + 1/2 × 2/3 = 0.833.

        >>> from cofire.evaluation.detection_records import detection_of
        >>> from cofire.evaluation.detection_sentences import known_sentences
        >>> has = np.array([[True], [True], [False], [False]])
        >>> scores = np.array([[3.0], [1.0], [2.0], [0.0]])
        >>> found = detection_of("codes", "extended", known_sentences(has, ~has), scores)
        >>> round(detection_precision(found).value, 3)
        0.833
    """
    return estimate_of(detection.average_precision, groups=detection.feature_groups, **settings)


def sentence_intervals(
    detection: Detection, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval | None]:
    """Interval of each feature's S_CD over sentences; an end is ±∞ where a mean may be 0 or less.

    Args:
        detection: by cosine or codes.
        resamples: how often sentences are drawn again (percentile bootstrap).
        seed: of the draws.

    Returns:
        One a feature; None where S_CD is missing or always the same, or where more than one in
        twenty resamples has no mean above 0.
    """
    drawn = detection.resampled(resamples=resamples, seed=seed)["order"]
    units = detection.n_activating + detection.n_neutral
    return [
        None if np.isnan(order) else _percentiles(column, int(n))
        for order, column, n in zip(detection.order, drawn.T, units, strict=True)
    ]


def _over_sentences(
    detection: Detection,
    figure: Literal["order", "auroc"],
    summary: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    observed = detection.order if figure == "order" else detection.auroc
    n = int((~np.isnan(observed)).sum())
    missing = len(observed) - n
    value = float(summary(observed[None])[0]) if n else np.nan
    if not np.isfinite(value):
        return Estimate(None, n, missing, note="The value is undefined or infinite.")
    drawn = summary(detection.resampled(resamples=resamples, seed=seed)[figure])
    interval = _percentiles(drawn, len(detection.sentences))
    if interval is not None and not np.isfinite([interval.low, interval.high]).all():
        interval = None
    return Estimate(value, n, missing, interval, seed, interval_note(interval))


def _percentiles(drawn: np.ndarray, units: int) -> Interval | None:
    known = drawn[~np.isnan(drawn)]
    if len(known) < CONFIDENCE * len(drawn):
        return None
    tail = (1 - CONFIDENCE) / 2
    # Values that were drawn, never in between: they may be infinite.
    low, high = np.quantile(known, [tail, 1 - tail], method="inverted_cdf")
    return (
        None if low == high else Interval(float(low), float(high), CONFIDENCE, "percentile", units)
    )


def _above_zero(order: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(order), np.nan, order > 0)


def _nan_mean(rows: np.ndarray) -> np.ndarray:
    known = ~np.isnan(rows)
    counts = known.sum(axis=1)
    sums = np.where(known, rows, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(rows), np.nan), where=counts > 0)


def _nan_median(rows: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.array(
            [np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in rows]
        )
