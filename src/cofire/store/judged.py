"""What was added to the features of a run since the fit: labels, and what steering them did."""

from dataclasses import dataclass

from cofire.evaluation.steered import SteeredFeature, SteeredText
from cofire.interpret.llm_labels import FeatureLabel
from cofire.site import Site
from cofire.store.label_table import read_labels
from cofire.store.run import Run
from cofire.store.steering_results import read_steering


@dataclass(frozen=True)
class JudgedFeature:
    """Labels and steering of one feature.

    Attributes:
        labels: that a language model wrote; missing ones are left out.
        steered: what steering it left; None when it was not steered.
        judge: who judged the continuations; None when nobody did.
        target_kl: at which shifts are compared, in nats; None when nothing was steered.
        null_shift: shift that few null directions exceed, in logits; None without any.
    """

    labels: tuple[FeatureLabel, ...]
    steered: SteeredFeature | None
    judge: str | None
    target_kl: float | None
    null_shift: float | None

    @property
    def shift(self) -> float | None:
        """Shift of its own tokens at ``target_kl``, in logits."""
        if self.steered is None or self.target_kl is None:
            return None
        return self.steered.shift(self.target_kl)

    def examples(self, most: int = 3) -> list[SteeredText]:
        """Continuations under the chosen cell that did not choose it, in the order drawn."""
        choice = None if self.steered is None else self.steered.choice
        if self.steered is None or choice is None:
            return []
        texts = [
            text
            for one in self.steered.cells
            if (one.cell.sign, one.cell.target_kl) == (choice.sign, choice.target_kl)
            for text in one.texts
            if text.sample % 2
        ]
        return texts[:most]


def judged_features(run: Run, site: Site) -> dict[int, JudgedFeature]:
    """Features of a site that were labelled or steered, by number.

    Raises:
        StoreError: when what was added is damaged.
    """
    labels: dict[int, list[FeatureLabel]] = {}
    for one in read_labels(run, site):
        if not one.missing:
            labels.setdefault(one.feature, []).append(one)
    found = read_steering(run, site)
    if found is None:
        return {
            number: JudgedFeature(tuple(own), None, None, None, None)
            for number, own in labels.items()
        }
    results, _ = found
    effects = results.effects(0)
    steered = {one.feature: one for one in results.features}
    return {
        number: JudgedFeature(
            tuple(labels.get(number, ())),
            steered.get(number),
            results.judge,
            results.effect_target,
            effects.least if effects.null else None,
        )
        for number in sorted({*labels, *steered})
    }
