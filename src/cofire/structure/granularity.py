"""The name that a feature selects best, where the texts can be labelled finely or coarsely."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from cofire.corpus import Corpus
from cofire.interpret.concepts import ConceptMatch, concept_profile, text_scores
from cofire.interpret.contexts import STRONG
from cofire.types import CodeMatrix

_EQUAL = 1e-9  # two F1 that differ by less are one


def best_names(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], corpora: Sequence[Corpus]
) -> list[ConceptMatch | None]:
    """For every feature the name it selects best, of all labellings of the same texts.

    Of the names of one labelling the one of largest AUROC on training texts, as with single
    concepts. Between labellings AUROC would lean towards the finer name: to a feature that fires on
    all days alike, the six other days are but a small part of the texts that are not of Monday.
    There the name counts whose training texts are best the very texts of the feature's strong
    firings: F1 = 2 |both| / (|firing texts| + |texts of the name|); of equals the first. Held-out
    texts then judge the choice.

    Args:
        codes: [rows features] of all rows.
        text_id: text of every row.
        corpora: the same texts under other labels, the finest first.

    Returns:
        None for a feature where no concept could be tried, or that scores all texts alike.
    """
    best: list[ConceptMatch | None] = [None] * codes.shape[1]
    best_f1 = np.full(codes.shape[1], -1.0)
    for corpus in corpora:
        firing = strongly_fired(codes, text_id, corpus)
        labels = np.array([text.label for text in corpus], dtype=object)
        training = np.array([text.split == "train" for text in corpus], dtype=bool)
        for i, match in enumerate(concept_profile(codes, text_id, corpus).best):
            if match is None:
                continue
            named = training & (labels == match.concept)
            both = int((named & firing[:, i]).sum())
            f1 = 2.0 * both / max(int(named.sum() + firing[:, i].sum()), 1)
            if f1 > best_f1[i] + _EQUAL:
                best[i], best_f1[i] = match, f1
    return best


def strongly_fired(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], corpus: Corpus
) -> Bool[np.ndarray, "texts features"]:
    """Labelled training texts with a code of ``STRONG`` times the feature's largest or more."""
    counted = np.array([text.split == "train" and text.label is not None for text in corpus], bool)
    scores = text_scores(codes, text_id, len(corpus)).cpu().numpy()
    scores = np.where(counted[:, None], np.nan_to_num(scores), 0.0)
    peak = scores.max(axis=0, initial=0.0)
    return np.asarray((scores >= STRONG * peak) & (peak > 0) & counted[:, None])
