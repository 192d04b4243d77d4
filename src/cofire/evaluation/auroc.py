"""How well a score tells positives from negatives: area under the ROC curve, interval, p-value."""

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float


def auroc(
    scores: Float[np.ndarray, "texts features"], positive: Bool[np.ndarray, "texts concepts"]
) -> Float[np.ndarray, "features concepts"]:
    """Area under the ROC curve of every feature for every concept.

    The chance that a random positive scores above a random negative, ties counting half
    (Mann-Whitney U / (n₊ n₋)); 0.5 means no information, 1 perfect, 0 perfectly reversed.
    NaN where a concept has no positive or no negative text.

    Example:
        Positives score 3 and 1, negatives 2 and 0: of the four pairs three are in order.

        >>> auroc(np.array([[3.0], [1.0], [2.0], [0.0]]),
        ...       np.array([[True], [True], [False], [False]])).tolist()
        [[0.75]]
    """
    from scipy.stats import rankdata  # slow to import, and stored results are read without it

    n_positive = positive.sum(axis=0).astype(float)
    n_negative = len(positive) - n_positive
    ranks = rankdata(scores, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        u = ranks.T @ positive.astype(float) - n_positive * (n_positive + 1) / 2
        return np.asarray(u / (n_positive * n_negative))


def auroc_interval(
    value: float, n_positive: int, n_negative: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of an AUROC, sensible at 0 and 1 and for few positives.

    Solves |value - θ| = z √V(θ) for θ with the Hanley-McNeil variance at equal tails
    V(θ) = θ(1-θ)/(mn) · (1 + N (1-θ)/(2-θ) + N θ/(1+θ)), N = (m+n)/2 - 1
    (Newcombe 2006, Statistics in Medicine 25:559, method 5).

    >>> low, high = auroc_interval(1.0, 5, 150)
    >>> round(low, 2), high
    (0.8, 1.0)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    n_star = (n_positive + n_negative) / 2 - 1

    def excess(theta: float) -> float:
        variance = theta * (1 - theta) / (n_positive * n_negative)
        variance *= 1 + n_star * (1 - theta) / (2 - theta) + n_star * theta / (1 + theta)
        return abs(value - theta) - z * math.sqrt(max(variance, 0.0))

    def bound(outer: float) -> float:
        if outer == value:
            return outer
        inner = value
        for _ in range(60):  # bisection to double precision
            middle = (inner + outer) / 2
            if excess(middle) > 0:
                outer = middle
            else:
                inner = middle
        return (inner + outer) / 2

    return bound(0.0), bound(1.0)


def auroc_p_value(value: float, n_positive: int, n_negative: int) -> float:
    """One-sided p-value that an AUROC this high comes from a score without information.

    Normal approximation of the Mann-Whitney U statistic, without tie correction (which makes it
    conservative when scores tie).

    >>> auroc_p_value(0.5, 5, 150)
    0.5
    """
    deviation = math.sqrt((n_positive + n_negative + 1) / (12 * n_positive * n_negative))
    return math.erfc((value - 0.5) / deviation / math.sqrt(2)) / 2
