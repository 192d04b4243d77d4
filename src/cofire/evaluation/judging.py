"""Judging continuations of a steered model: is the concept there, and is the text well written?"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cofire.llm.answer import Answer, ChatModel
from cofire.llm.reading import read_rating
from cofire.llm.templates import load_prompt

HIGHEST = 2.0
"""Concept and fluency are judged from 0 to this."""


@dataclass(frozen=True)
class Continuation:
    """What a model wrote after a prompt, and what it is judged for.

    Attributes:
        label: the concept that is looked for, in words.
        text: the continuation only, without prompt and special tokens.
        words: further words for the concept, such as a feature's promoted tokens; used by offline
            judges.
        log_likelihood: mean log-likelihood a token under the unsteered model, in nats
            (``fluency.mean_log_likelihoods``); used by offline judges; None when not measured.
    """

    label: str
    text: str
    words: tuple[str, ...] = ()
    log_likelihood: float | None = None


@dataclass(frozen=True)
class Judgement:
    """What a judge says of one continuation.

    Attributes:
        concept: how present the concept is, 0 to 2; None when missing.
        fluency: how well the text is written, 0 to 2; None when missing.
        problems: why something is missing, one sentence each.
    """

    concept: float | None
    fluency: float | None
    problems: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """Harmonic mean of concept and fluency; None when either is missing."""
        return harmonic_mean(self.concept, self.fluency)

    @property
    def missing(self) -> bool:
        """Whether there is no score."""
        return self.score is None


@runtime_checkable
class Judge(Protocol):
    """Something that judges continuations, seeing nothing but label and continuation."""

    @property
    def name(self) -> str:
        """What the judge is called in results."""
        ...

    def judge(self, continuations: Sequence[Continuation]) -> list[Judgement]:
        """Judge every continuation, in order."""
        ...


def harmonic_mean(concept: float | None, fluency: float | None) -> float | None:
    """``2 c f / (c + f)``: high only where both are; 0 where either is 0, None where one is None.

    >>> harmonic_mean(2.0, 1.0), harmonic_mean(0.0, 0.0), harmonic_mean(None, 2.0)
    (1.3333333333333333, 0.0, None)
    """
    if concept is None or fluency is None:
        return None
    total = concept + fluency
    return 2 * concept * fluency / total if total > 0 else 0.0


def is_blank(text: str) -> bool:
    """Whether a continuation has nothing to judge: no letter, digit or sign."""
    return not text.strip()


class LanguageModelJudge:
    """A language model that rates concept and fluency, each 0, 1 or 2, in questions of their own.

    The question about fluency does not show the label. Ratings that cannot be read are missing, and
    so are both for a blank continuation, which is not asked about.

    Args:
        model: who is asked; an endpoint or a model in this process. A ``JournaledModel`` keeps
            every prompt and raw answer, and asks nothing twice.
        prompts: folder of a user's own prompts ``judge_concept.md`` and ``judge_fluency.md``.

    Raises:
        InputError: when the prompt's file has a mistake.
    """

    def __init__(self, model: ChatModel, *, prompts: str | os.PathLike[str] | None = None) -> None:
        self.model = model
        self._concept = load_prompt("judge_concept", folder=prompts)
        self._fluency = load_prompt("judge_fluency", folder=prompts)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def judge(self, continuations: Sequence[Continuation]) -> list[Judgement]:
        """See ``Judge.judge``.

        Raises:
            CofireError: when the model cannot answer at all.
        """
        asked = [one for one in continuations if not is_blank(one.text)]
        questions = [self._concept.fill(label=one.label, text=one.text) for one in asked]
        questions += [self._fluency.fill(text=one.text) for one in asked]
        answers = self.model.complete(questions)
        pairs = iter(zip(answers[: len(asked)], answers[len(asked) :], strict=True))
        return [BLANK if is_blank(one.text) else _judgement(*next(pairs)) for one in continuations]

    def __repr__(self) -> str:
        return f"LanguageModelJudge({self.model!r})"


BLANK = Judgement(None, None, ("The continuation is blank.",))
"""What every judge says of a continuation without text."""


def _judgement(concept: Answer, fluency: Answer) -> Judgement:
    ratings, problems = [], []
    for what, answer in (("concept", concept), ("fluency", fluency)):
        rating = read_rating(answer.text, highest=HIGHEST)
        ratings.append(rating)
        if rating is None:
            problems.append(answer.error or f"The answer holds no rating of {what} from 0 to 2.")
    return Judgement(ratings[0], ratings[1], tuple(problems))


@dataclass(frozen=True)
class JudgementCount:
    """How many continuations were judged.

    Attributes:
        total: all of them.
        missing_concept: without a rating of the concept.
        missing_fluency: without a rating of fluency.
        missing: without a score.
        mean: mean score of the others; None when there is none.
    """

    total: int
    missing_concept: int
    missing_fluency: int
    missing: int
    mean: float | None


def count_judgements(judgements: Sequence[Judgement]) -> JudgementCount:
    """Count what is missing; missing scores stay out of the mean and are never 0 in it."""
    scores = [one.score for one in judgements]
    found = [score for score in scores if score is not None]
    return JudgementCount(
        total=len(judgements),
        missing_concept=sum(one.concept is None for one in judgements),
        missing_fluency=sum(one.fluency is None for one in judgements),
        missing=len(scores) - len(found),
        mean=math.fsum(found) / len(found) if found else None,
    )
