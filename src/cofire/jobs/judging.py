"""The offline judge of a job: calibrated on its corpus, and on what the unsteered model writes."""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from cofire.corpus import Corpus
from cofire.data import bundled_concepts
from cofire.errors import InputError
from cofire.evaluation.concept_rating import ConceptRater
from cofire.evaluation.encoders import SentenceEncoder, TextEncoder, WordEncoder
from cofire.evaluation.fluency import FluencyScale, mean_log_likelihoods
from cofire.evaluation.judging import Continuation, Judge
from cofire.evaluation.offline_judge import OfflineJudge
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import SteeringSettings
from cofire.models import LanguageModel
from cofire.site import Site

_logger = logging.getLogger(__name__)

Encoder = Literal["words", "sentences"]

_UNSTEERED = 60  # continuations by which fluency is measured; 5% quantiles need some dozens


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


def unsteered_texts(model: LanguageModel, settings: SteeringSettings) -> UnsteeredTexts:
    """Continuations with the prompts, length and sampling that features are steered with."""
    site = Site(0, "resid_post")
    steering = Steering(model, site, torch.zeros(1, model.site_width(site)), settings)
    each = -(-_UNSTEERED // len(settings.prompts))
    texts = tuple(
        one.text
        for prompt in range(len(settings.prompts))
        for one in steering.reference(prompt, samples=each)
    )
    return UnsteeredTexts(texts, mean_log_likelihoods(model, texts))


def offline_judge(encoder: Encoder, corpus: Corpus, unsteered: UnsteeredTexts) -> OfflineJudge:
    """A judge for continuations of a model.

    Concepts are learned from the corpus' labelled training texts, or from the bundled ones where it
    has too few.

    Args:
        encoder: ``words``, or ``sentences`` for sentence embeddings (extra ``embed``).
        corpus: the texts of the job.
        unsteered: by which fluency is measured.

    Raises:
        ModelError: when the extra is missing.
        InputError: when the unsteered continuations are all alike.
    """
    try:
        rater = ConceptRater(_encoder(encoder, corpus), corpus)
    except InputError as error:
        _logger.warning("%s The bundled concepts are taken for judging.", error)
        corpus = bundled_concepts()
        rater = ConceptRater(_encoder(encoder, corpus), corpus)
    return OfflineJudge(rater, FluencyScale.of(unsteered.log_likelihoods))


def _encoder(name: Encoder, corpus: Corpus) -> TextEncoder:
    if name == "sentences":
        return SentenceEncoder()
    return WordEncoder([text.text for text in corpus if text.split == "train"])
