"""What a diagnosis says: problems, the features that have them, figures, and what to change."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from cofire.site import Site

Problem: TypeAlias = Literal["dead", "collapsed", "non-causal", "negative-detection"]
Setting: TypeAlias = Literal["k", "sparsity", "layer", "data"]

NULL_QUANTILE = 0.95
"""A feature is causal when its effect is above this quantile of those of null directions."""


@dataclass(frozen=True)
class SteeringEffects:
    """What steering along each feature did.

    Attributes:
        name: of the effect, such as ``shift of promoted tokens``.
        unit: of the figures.
        effects: one a feature, larger is more; None where it was not measured.
        null: the same of random or neuron-permuted directions; without any, an effect above 0
            counts as one.
    """

    name: str
    unit: str
    effects: tuple[float | None, ...]
    null: tuple[float, ...] = ()

    @property
    def least(self) -> float:
        """Effect above which a feature counts as causal.

        >>> SteeringEffects("shift", "logits", (1.0,), tuple(map(float, range(101)))).least
        95.0
        """
        return float(np.quantile(self.null, NULL_QUANTILE)) if self.null else 0.0


@dataclass(frozen=True)
class AffectedFeature:
    """A feature with a problem.

    Attributes:
        index: the feature.
        value: its figure; ±inf where S_CD is (see ``Detection``).
        words: the same in a sentence.
    """

    index: int
    value: float
    words: str


@dataclass(frozen=True)
class Change:
    """What to change.

    Attributes:
        setting: which setting.
        words: how, in a sentence.
    """

    setting: Setting
    words: str


@dataclass(frozen=True)
class Finding:
    """One kind of problem.

    Attributes:
        problem: which.
        figure: what was looked at.
        unit: of the figure.
        limit: the figure from which on it is a problem.
        looked_at: features with a figure.
        missing: features without one.
        features: those with the problem, worst first.
        changes: what to change; empty when no feature has it.
        note: why nothing was looked at; None when something was.
    """

    problem: Problem
    figure: str
    unit: str
    limit: float
    looked_at: int
    missing: int
    features: tuple[AffectedFeature, ...]
    changes: tuple[Change, ...]
    note: str | None = None

    @property
    def measured(self) -> bool:
        """Whether any feature was looked at."""
        return self.looked_at > 0

    @property
    def share(self) -> float | None:
        """Of the features looked at, how many have it; None when none was looked at."""
        return len(self.features) / self.looked_at if self.looked_at else None


@dataclass(frozen=True)
class Diagnosis:
    """All kinds of problems of one dictionary.

    Attributes:
        site: where it was made.
        k: number of features.
        findings: one a kind, in the order of ``Problem``, found or not.
    """

    site: str
    k: int
    findings: tuple[Finding, ...]

    @property
    def layer(self) -> int:
        """Layer of the site."""
        return Site.parse(self.site).layer

    def finding(self, problem: Problem) -> Finding:
        """The one of a kind."""
        return next(one for one in self.findings if one.problem == problem)

    @property
    def affected(self) -> tuple[int, ...]:
        """Features with any problem."""
        return tuple(sorted({f.index for one in self.findings for f in one.features}))
