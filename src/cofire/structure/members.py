"""The features that stand for a concept of the texts, or for one of its finer labels."""

import difflib
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from cofire.corpus import Corpus
from cofire.errors import InputError
from cofire.interpret.concepts import ConceptMatch
from cofire.structure.granularity import best_names
from cofire.types import CodeMatrix


@dataclass(frozen=True)
class Member:
    """A feature that stands for a concept or a part of it.

    Attributes:
        feature: its index.
        name: what it stands for: the concept, or a detail of it (``Monday`` within ``weekday``).
        detail: whether that is a detail.
        match: how well it selects what it stands for.
    """

    feature: int
    name: str
    detail: bool
    match: ConceptMatch


def concept_members(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], corpus: Corpus, concept: str
) -> list[Member]:
    """Features that may be named after a concept or after one of its details.

    A feature stands for the label that it selects best on training texts, of all labels of the
    corpus, with the concept as one label or with its details as labels of their own
    (``best_names``). It counts only where held-out texts confirm it and enough of its strong
    firings fall there (``ConceptMatch.names_feature``).

    Args:
        codes: [rows features] of all rows.
        text_id: text of every row.
        corpus: the texts.
        concept: a label of the corpus.

    Returns:
        In order of features; empty when there is none.

    Raises:
        InputError: when the corpus has no such concept.
    """
    if concept not in corpus.concepts:
        close = difflib.get_close_matches(concept, corpus.concepts, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"they have {_some(corpus.concepts)}."
        raise InputError(f"The texts of this run have no concept {concept!r}; {hint}")
    details = {text.detail for text in corpus if text.label == concept and text.detail}
    finer = Corpus(
        replace(text, label=text.detail) if text.label == concept and text.detail else text
        for text in corpus
    )
    matches = best_names(codes, text_id, [finer, corpus] if details else [corpus])
    return [
        Member(feature, match.concept, match.concept in details, match)
        for feature, match in enumerate(matches)
        if match is not None and match.concept in {concept, *details} and match.names_feature
    ]


def best_of_each(members: list[Member]) -> list[Member]:
    """Of every name the member that selects it best on training texts, in order of the features."""
    best: dict[str, Member] = {}
    for member in members:
        known = best.get(member.name)
        if known is None or member.match.auroc_train > known.match.auroc_train:
            best[member.name] = member
    return sorted(best.values(), key=lambda member: member.feature)


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
