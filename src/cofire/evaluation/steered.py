"""What came of steering features: cells, judged continuations, the cell chosen, its score."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.diagnosis_records import SteeringEffects
from cofire.evaluation.judging import Judgement
from cofire.evaluation.steering_records import Promotion, Sign, SteeringCell, SteeringSettings

EFFECT = "shift of promoted tokens"
"""What ``Steered.effects`` measures, in logits."""


@dataclass(frozen=True)
class SteeredText:
    """One continuation under a cell's steering, and what a judge says of it.

    Attributes:
        sample: number within its cell, from 0.
        text: the continuation only.
        ended: whether the model ended it before the longest length.
        seed: of its own random numbers.
        log_likelihood: mean a token under the unsteered model, in nats; None when not measured.
        judgement: None when it was not judged.
    """

    sample: int
    text: str
    ended: bool
    seed: int
    log_likelihood: float | None = None
    judgement: Judgement | None = None

    @property
    def score(self) -> float | None:
        """Harmonic mean of concept and fluency, 0 to 2; None when missing."""
        return None if self.judgement is None else self.judgement.score


@dataclass(frozen=True)
class SteeredCell:
    """One feature, sign, KL target and prompt.

    Attributes:
        cell: its strength, and whether the target could be reached.
        promotion: what became of the feature's own tokens; None when none are known.
        texts: continuations; none unless the target was reached.
    """

    cell: SteeringCell
    promotion: Promotion | None
    texts: tuple[SteeredText, ...] = ()


@dataclass(frozen=True)
class CellChoice:
    """The cell that one half of the continuations chose, scored on the other half.

    Attributes:
        sign: of the cell.
        target_kl: of the cell, in nats.
        chosen_by: mean score of the half that chose; biased upwards, being the best of many.
        score: mean score of the other half, 0 to 2; None when none of it has a score.
        scored: continuations of the other half with a score.
        missing: continuations of the other half without.
    """

    sign: Sign
    target_kl: float
    chosen_by: float
    score: float | None
    scored: int
    missing: int


@dataclass(frozen=True)
class SteeredFeature:
    """Everything that steering one feature left.

    Attributes:
        about: which feature, and what it is said to be.
        cells: all that were planned, unreachable ones too, in the order of the plan.
        controls: null directions, this atom's values on shuffled neurons, measured on the
            tokens of this feature; without continuations.
    """

    about: DescribedFeature
    cells: tuple[SteeredCell, ...]
    controls: tuple[SteeredCell, ...] = ()

    @property
    def feature(self) -> int:
        """Which feature."""
        return self.about.feature

    @property
    def unreached(self) -> int:
        """Cells whose KL target could not be reached exactly; they were not continued."""
        return sum(one.cell.status != "found" for one in self.cells)

    @property
    def n_texts(self) -> int:
        """Continuations."""
        return sum(len(one.texts) for one in self.cells)

    @property
    def missing(self) -> int:
        """Continuations without a score."""
        return sum(text.score is None for one in self.cells for text in one.texts)

    @property
    def choice(self) -> CellChoice | None:
        """The best sign and KL target, chosen on even samples and scored on odd ones.

        Continuations of several prompts count together. None when no even sample has a score.
        """
        best: CellChoice | None = None
        for (sign, target), texts in self._by_strength().items():
            chosen_by = _mean(score for even, score in texts if even)
            if chosen_by is None or (best is not None and chosen_by <= best.chosen_by):
                continue
            other = [score for even, score in texts if not even]
            missing = sum(score is None for score in other)
            best = CellChoice(sign, target, chosen_by, _mean(other), len(other) - missing, missing)
        return best

    @property
    def score(self) -> float | None:
        """Score of the chosen cell on continuations that did not choose it, 0 to 2."""
        return None if self.choice is None else self.choice.score

    @property
    def best(self) -> float | None:
        """The best mean score over sign and KL target, as published (best of 14).

        Chosen and scored with the same continuations, hence biased upwards: the more cells, the
        more. Continuations without a score are left out; the published code counts them 0.
        """
        means = [_mean(score for _, score in texts) for texts in self._by_strength().values()]
        return max((mean for mean in means if mean is not None), default=None)

    @property
    def published_score(self) -> float | None:
        """``best`` with continuations that have no score counted 0, as the published code does.

        None when nothing was judged, or nothing continued.
        """
        if self.n_texts == 0 or self.missing == self.n_texts:
            return None
        means = [
            _mean(0.0 if score is None else score for _, score in texts)
            for texts in self._by_strength().values()
        ]
        return max((mean for mean in means if mean is not None), default=None)

    def shift(self, target_kl: float) -> float | None:
        """Mean over signs and prompts of sign · logit shift of its own tokens, at one KL target.

        What could not reach the target counts with what it does at the largest KL it reaches.
        None when its tokens are not known.
        """
        return mean_shift(self.cells, target_kl)

    def efficiency(self, target_kl: float) -> float | None:
        """The same of ``kl_efficiency``, which has the sign in it; of cells that reached the KL."""
        return _mean(
            one.promotion.kl_efficiency
            for one in self.cells
            if one.promotion is not None
            and one.cell.target_kl == target_kl
            and one.cell.status == "found"
        )

    def _by_strength(self) -> dict[tuple[Sign, float], list[tuple[bool, float | None]]]:
        """(even, score) of the continuations of each sign and target."""
        found: dict[tuple[Sign, float], list[tuple[bool, float | None]]] = {}
        for one in self.cells:
            texts = found.setdefault((one.cell.sign, one.cell.target_kl), [])
            texts += [(text.sample % 2 == 0, text.score) for text in one.texts]
        return found


@dataclass(frozen=True)
class Steered:
    """Everything that steering some features of one dictionary left.

    Attributes:
        site: name of the site.
        settings: how they were steered.
        judge: name of the judge; None when nothing was judged.
        features: one record a feature, in the order asked for.
    """

    site: str
    settings: SteeringSettings
    judge: str | None
    features: tuple[SteeredFeature, ...]

    @property
    def effect_target(self) -> float:
        """The KL target at which effects are compared, in nats: the middle one."""
        return effect_target(self.settings)

    def effects(self, n_features: int) -> SteeringEffects:
        """Shift of every feature's own tokens, and of the null directions', for ``diagnose``.

        Args:
            n_features: of the dictionary; features that were not steered are missing.
        """
        target = self.effect_target
        known = {one.feature: one.shift(target) for one in self.features}
        null = []
        for one in self.features:
            for number in dict.fromkeys(control.cell.feature for control in one.controls):
                shift = mean_shift(
                    [control for control in one.controls if control.cell.feature == number],
                    target,
                )
                null += [] if shift is None else [shift]
        return SteeringEffects(
            EFFECT, "logits", tuple(known.get(i) for i in range(n_features)), tuple(null)
        )


def effect_target(settings: SteeringSettings) -> float:
    """The KL target at which effects are compared, in nats: the middle one.

    >>> effect_target(SteeringSettings())
    0.15
    """
    return sorted(settings.targets)[len(settings.targets) // 2]


def mean_shift(cells: Sequence[SteeredCell], target_kl: float) -> float | None:
    """Mean of sign · logit shift over the cells of one KL target; see ``SteeredFeature.shift``."""
    return _mean(
        None if one.promotion.logit_shift is None else one.cell.sign * one.promotion.logit_shift
        for one in cells
        if one.promotion is not None and one.cell.target_kl == target_kl
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
