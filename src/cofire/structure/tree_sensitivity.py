"""How a tree changes with the shares by which its parents are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cofire.structure.tree import Weights, published_children, weight_shares

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
"""Shares that are tried."""


@dataclass(frozen=True)
class Sensitivity:
    """What one level of a tree would be at one threshold.

    Attributes:
        level: whose features look for parents.
        threshold: the share that is asked for.
        features: of the level that have any weight above them.
        links: parents that reach the threshold, over all features.
        several: features with two such parents or more.
        orphans: features with none, which would hang on the root were ``least`` so high.
    """

    level: int
    threshold: float
    features: int
    links: int
    several: int
    orphans: int


@dataclass(frozen=True)
class RuleAgreement:
    """How decided the parents of a level are.

    Attributes:
        level: whose features look for parents.
        features: of the level that have any weight above them.
        unweighted: features that have none.
        median_share: median of the largest share; None without a feature.
        median_lead: median of the largest share less the second largest.
        published: share of the features whose parent lists them by the published rule too.
    """

    level: int
    features: int
    unweighted: int
    median_share: float | None
    median_lead: float | None
    published: float | None


def sensitivity(
    weights: Sequence[Weights], thresholds: Sequence[float] = THRESHOLDS
) -> list[Sensitivity]:
    """Links, features with several parents and orphans of every level at every threshold.

    Args:
        weights: as ``build_tree`` takes them.
        thresholds: shares to try.

    >>> found = sensitivity([np.array([[3.0, 1.0], [0.0, 2.0]])], [0.2, 0.8])
    >>> [(line.links, line.several, line.orphans) for line in found]
    [(3, 1, 0), (1, 0, 1)]
    """
    found = []
    for level, matrix in enumerate(weights):
        shares = weight_shares(matrix)
        shares = shares[shares.any(axis=1)]
        for threshold in thresholds:
            reaching = (shares >= threshold).sum(axis=1)
            found.append(
                Sensitivity(
                    level=level,
                    threshold=float(threshold),
                    features=len(shares),
                    links=int(reaching.sum()),
                    several=int((reaching > 1).sum()),
                    orphans=int((reaching == 0).sum()),
                )
            )
    return found


def rule_agreement(weights: Sequence[Weights]) -> list[RuleAgreement]:
    """How clear the largest shares are, and whether the published rule agrees, level by level."""
    found = []
    for level, matrix in enumerate(weights):
        shares = weight_shares(matrix)
        weighted = np.flatnonzero(shares.any(axis=1))
        ordered = -np.sort(-shares[weighted], axis=1)
        second = ordered[:, 1] if ordered.shape[1] > 1 else np.zeros(len(ordered))
        listed = published_children(matrix)
        kept = [int(i) in listed[int(shares[i].argmax())] for i in weighted]
        known = len(weighted) > 0
        found.append(
            RuleAgreement(
                level=level,
                features=len(weighted),
                unweighted=len(shares) - len(weighted),
                median_share=float(np.median(ordered[:, 0])) if known else None,
                median_lead=float(np.median(ordered[:, 0] - second)) if known else None,
                published=float(np.mean(kept)) if known else None,
            )
        )
    return found
