"""Labels that a language model gives features, and sentences it writes for labels."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cofire.errors import InputError
from cofire.interpret.contexts import Context
from cofire.interpret.reading import Feature
from cofire.interpret.vocabulary import TokenWeight
from cofire.interpret.wording import token_text, visible
from cofire.llm.answer import Answer, ChatModel
from cofire.llm.reading import read_label, read_sentences
from cofire.llm.templates import PromptTemplate, load_prompt

logger = logging.getLogger(__name__)

LabelKind: TypeAlias = Literal["input", "output"]
"""What a label is written from: the contexts that fire a feature, or the tokens it promotes."""

SENTENCES = 5
"""Sentences of each kind written for a label, as in the published protocol."""


@dataclass(frozen=True)
class FeatureLabel:
    """What a language model calls a feature.

    Attributes:
        feature: the feature's index.
        kind: what the label was written from.
        label: the label; None when it is missing.
        problem: why it is missing, in one sentence; None when it is there.
        prompt: what was asked; None when there was nothing to ask with.
        answer: the raw answer; None without one.
    """

    feature: int
    kind: LabelKind
    label: str | None
    problem: str | None
    prompt: str | None
    answer: str | None

    @property
    def missing(self) -> bool:
        """Whether there is no label."""
        return self.label is None


@dataclass(frozen=True)
class LabelSentences:
    """Sentences that a language model wrote for a label.

    Attributes:
        label: the label.
        activating: sentences that contain what it names.
        neutral: sentences that do not.
        missing: how many sentences are missing, of both kinds.
        problem: why, in one sentence; None when none is.
        answer: the raw answer; None without one.
    """

    label: str
    activating: tuple[str, ...]
    neutral: tuple[str, ...]
    missing: int
    problem: str | None
    answer: str | None


def label_features(
    features: Iterable[Feature],
    model: ChatModel,
    *,
    kind: LabelKind = "input",
    prompts: str | os.PathLike[str] | None = None,
    n_contexts: int = 12,
    n_tokens: int = 12,
) -> list[FeatureLabel]:
    """Let a language model name features.

    ``input``: from the top contexts, the firing token between << and >>. ``output``: from promoted
    and demoted tokens. The published protocol takes the first in early layers and the second in
    late ones. A feature without contexts or tokens is not asked about, and its label is missing; so
    is one whose answer cannot be read.

    Args:
        features: as read by ``read_features``.
        model: who is asked; a ``JournaledModel`` keeps every answer.
        kind: what the label is written from.
        prompts: folder of a user's own prompts, see ``load_prompt``.
        n_contexts: most contexts shown.
        n_tokens: most tokens shown of each end.

    Returns:
        One record a feature, in order.

    Raises:
        InputError: when a number is below 1 or the prompt's file has a mistake.
        CofireError: when the model cannot answer at all.
    """
    if n_contexts < 1 or n_tokens < 1:
        raise InputError(
            f"n_contexts and n_tokens must be at least 1; got {n_contexts} and {n_tokens}."
        )
    name = "label_from_contexts" if kind == "input" else "label_from_tokens"
    template = load_prompt(name, folder=prompts)
    kept = list(features)
    if kind == "input":
        questions = [_about_contexts(feature, template, n_contexts) for feature in kept]
    else:
        questions = [_about_tokens(feature, template, n_tokens) for feature in kept]
    answers = iter(model.complete([question for question in questions if question is not None]))
    labels = [
        _label(feature, kind, question, None if question is None else next(answers))
        for feature, question in zip(kept, questions, strict=True)
    ]
    _warn_of(sum(label.missing for label in labels), len(labels), "labels")
    return labels


def write_sentences(
    labels: Sequence[str],
    model: ChatModel,
    *,
    count: int = SENTENCES,
    prompts: str | os.PathLike[str] | None = None,
) -> list[LabelSentences]:
    """Let a language model write sentences with and without what each label names.

    Args:
        labels: the labels.
        model: who is asked.
        count: sentences of each kind.
        prompts: folder of a user's own prompts, see ``load_prompt``.

    Returns:
        One record a label, in order; sentences that did not come are counted as missing.

    Raises:
        InputError: when ``count`` is below 1 or the prompt's file has a mistake.
        CofireError: when the model cannot answer at all.
    """
    if count < 1:
        raise InputError(f"count must be at least 1; got {count}.")
    template = load_prompt("write_sentences", folder=prompts)
    questions = [template.fill(label=label, count=str(count)) for label in labels]
    written = [
        _sentences(label, answer, count)
        for label, answer in zip(labels, model.complete(questions), strict=True)
    ]
    _warn_of(sum(one.missing for one in written), 2 * count * len(written), "sentences")
    return written


def marked_context(context: Context) -> str:
    """A context on one line, its firing token between << and >>."""
    return "".join(
        _marked(token) if place == context.focus else token_text(token)
        for place, token in enumerate(context.tokens)
    ).strip()


def _marked(token: str) -> str:
    space = " " if token.startswith(" ") and token.strip() else ""
    return f"{space}<<{visible(token)}>>"


def _about_contexts(feature: Feature, template: PromptTemplate, n: int) -> str | None:
    contexts = [f"- {marked_context(context)}" for context in feature.contexts[:n]]
    return template.fill(contexts="\n".join(contexts)) if contexts else None


def _about_tokens(feature: Feature, template: PromptTemplate, n: int) -> str | None:
    found = feature.vocabulary
    if found is None or not found.promoted:
        return None
    return template.fill(promoted=_listed(found.promoted[:n]), demoted=_listed(found.demoted[:n]))


def _listed(tokens: Sequence[TokenWeight]) -> str:
    return ", ".join(f'"{token_text(weight.token)}"' for weight in tokens) or "(none)"


def _label(
    feature: Feature, kind: LabelKind, question: str | None, answer: Answer | None
) -> FeatureLabel:
    if answer is None:
        problem = "No context fires it." if kind == "input" else "No promoted tokens are known."
        return FeatureLabel(feature.index, kind, None, problem, None, None)
    label = read_label(answer.text)
    unread = "The answer holds no label that can be read." if label is None else None
    return FeatureLabel(feature.index, kind, label, answer.error or unread, question, answer.text)


def _sentences(label: str, answer: Answer, count: int) -> LabelSentences:
    activating, neutral = read_sentences(answer.text, count)
    missing = 2 * count - len(activating) - len(neutral)
    short = f"The answer lacks {missing} of {2 * count} sentences." if missing else None
    problem = answer.error or short
    return LabelSentences(label, activating, neutral, missing, problem, answer.text)


def _warn_of(missing: int, total: int, what: str) -> None:
    if missing:
        logger.warning("%d of %d %s are missing", missing, total, what)
