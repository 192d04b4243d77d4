"""What the model writes as it is: the measure of fluency, and what steering must beat."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from cofire.evaluation.fluency import mean_log_likelihoods
from cofire.evaluation.judging import Continuation, Judge
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import SteeringSettings
from cofire.models import LanguageModel
from cofire.site import Site

UNSTEERED = 48
"""Continuations of the model as it is that the scale of fluency is made from, at least."""


@dataclass(frozen=True, eq=False)
class UnsteeredTexts:
    """Continuations of the model as it is.

    Attributes:
        texts: without their prompts.
        log_likelihoods: mean a token, in nats; NaN where missing.
    """

    texts: tuple[str, ...]
    log_likelihoods: Float[np.ndarray, "texts"]

    def score(self, judge: Judge, label: str, words: tuple[str, ...]) -> float | None:
        """Mean score they get for a label: what a feature must beat; None when none is scored."""
        asked = [
            Continuation(label, text, words, None if np.isnan(likelihood) else float(likelihood))
            for text, likelihood in zip(self.texts, self.log_likelihoods, strict=True)
        ]
        scores = [one.score for one in judge.judge(asked)]
        known = [score for score in scores if score is not None]
        return float(np.mean(known)) if known else None


def unsteered_texts(model: LanguageModel, site: Site, settings: SteeringSettings) -> UnsteeredTexts:
    """Continuations with the prompts, length and sampling that features are steered with.

    Args:
        model: the model.
        site: any; nothing is changed there.
        settings: how features are steered.
    """
    nowhere = torch.zeros(1, model.site_width(site))
    steering = Steering(model, site, nowhere, settings)
    samples = max(settings.samples, -(-UNSTEERED // len(settings.prompts)))
    texts = tuple(
        one.text
        for prompt in range(len(settings.prompts))
        for one in steering.reference(prompt, samples=samples)
    )
    return UnsteeredTexts(texts, mean_log_likelihoods(model, texts))
