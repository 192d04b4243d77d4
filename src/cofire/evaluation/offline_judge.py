"""A judge of continuations that asks no language model."""

from collections.abc import Sequence

import numpy as np

from cofire.evaluation.concept_rating import ConceptRater
from cofire.evaluation.fluency import FluencyScale
from cofire.evaluation.judging import BLANK, Continuation, Judgement, is_blank


class OfflineJudge:
    """Concept by a calibrated rater, fluency by the unsteered model's log-likelihoods.

    Args:
        concepts: rates the concept.
        fluency: rates log-likelihoods; without it, fluency is missing.
    """

    def __init__(self, concepts: ConceptRater, fluency: FluencyScale | None = None) -> None:
        self.concepts = concepts
        self.fluency = fluency

    @property
    def name(self) -> str:
        """``offline`` and the encoder's name."""
        return f"offline, {self.concepts.encoder.name}"

    def judge(self, continuations: Sequence[Continuation]) -> list[Judgement]:
        """See ``Judge.judge``; continuations with the same label and words are rated together."""
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for place, one in enumerate(continuations):
            groups.setdefault((one.label, one.words), []).append(place)
        concepts = np.full(len(continuations), np.nan)
        for (label, words), places in groups.items():
            texts = [continuations[place].text for place in places]
            concepts[places] = self.concepts.rate(label, texts, words=words)
        return [
            BLANK if is_blank(one.text) else self._judgement(one, float(concept))
            for one, concept in zip(continuations, concepts, strict=True)
        ]

    def _judgement(self, one: Continuation, concept: float) -> Judgement:
        fluency = None if self.fluency is None else self.fluency.rate(one.log_likelihood)
        problems = []
        if np.isnan(concept):
            problems.append(f"The offline judge cannot tell {one.label!r} in this text.")
        if fluency is None:
            problems.append(
                "There is no scale of fluency."
                if self.fluency is None
                else "The log-likelihood of the continuation is missing."
            )
        return Judgement(None if np.isnan(concept) else concept, fluency, tuple(problems))
