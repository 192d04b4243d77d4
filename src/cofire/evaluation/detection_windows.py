"""Windows on which features are tested: where they fire most, and anywhere."""

from collections.abc import Sequence

import numpy as np

from cofire.activations import Activations
from cofire.corpus import Split
from cofire.errors import InputError
from cofire.evaluation.detection_sentences import DetectionSentences, text_rows
from cofire.interpret.contexts import ContextFinder
from cofire.types import CodeMatrix

WINDOWS = 10
"""Windows of each kind that are taken for a feature."""

_POOL = 4  # random windows drawn, in multiples of those a feature takes


def context_windows(
    activations: Activations,
    codes: CodeMatrix,
    *,
    n: int = WINDOWS,
    window: int = 16,
    split: Split = "heldout",
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> DetectionSentences:
    """Each feature's own top windows against random windows, as automatic interpretation has it.

    Top windows differ in token type where they can (``ContextFinder.top``). Random windows come
    from one pool for all features, one a text where there are enough texts, without those that
    overlap a top window of the feature. The top windows are chosen by the codes, so the codes
    themselves cannot be judged on them: ``detect`` then leaves that score out, as missing.

    Args:
        activations: rows of whole texts, in order.
        codes: of all rows.
        n: windows of each kind a feature.
        window: rows on each side of the firing one.
        split: which texts.
        labels: what to call the features; their numbers when None.
        seed: of the random windows.

    Raises:
        InputError: when there is no text of the split.
    """
    in_split = np.array([text.split == split for text in activations.corpus], dtype=bool)
    rows = np.flatnonzero(in_split[activations.tokens.text_id])
    if not len(rows):
        raise InputError(f"There is no {split} text to take windows from; hold some out.")
    first, last = text_rows(activations)
    tokens = activations.tokens.take(rows)
    finder = ContextFinder(codes[rows], tokens, activations.corpus, row_numbers=rows, window=window)
    pool = _random_rows(tokens.text_id, rows, _POOL * n, seed)
    texts = activations.tokens.text_id[pool]
    begin = np.maximum(first[texts], pool - window)
    end = np.minimum(last[texts], pool + window + 1)
    starts, stops, members = list(begin), list(end), []
    missing = np.zeros(codes.shape[1], dtype=np.int64)
    for feature in range(codes.shape[1]):
        found = finder.top(feature, n)
        opens = np.array([context.row - context.focus for context in found], dtype=np.int64)
        closes = opens + np.array([len(context.tokens) for context in found], dtype=np.int64)
        apart = ((end[:, None] <= opens) | (begin[:, None] >= closes)).all(axis=1)
        own = range(len(starts), len(starts) + len(found))
        starts += opens.tolist()
        stops += closes.tolist()
        others = np.flatnonzero(apart)[:n]
        members.append((own, others))
        missing[feature] = 2 * n - len(own) - len(others)
    activating = np.zeros((len(starts), codes.shape[1]), dtype=bool)
    neutral = np.zeros_like(activating)
    group = np.zeros(len(starts), dtype=np.int64)
    for feature, (own, others) in enumerate(members):
        activating[own.start : own.stop, feature] = True
        neutral[others, feature] = True
        group[own.start : own.stop] = feature + 1
    return DetectionSentences(
        source="contexts",
        start=np.array(starts, dtype=np.int64),
        stop=np.array(stops, dtype=np.int64),
        activating=activating,
        neutral=neutral,
        group=group,
        concepts=tuple(map(str, range(codes.shape[1])) if labels is None else labels),
        missing=missing,
    )


def _random_rows(text_id: np.ndarray, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Random rows, of different texts before any text comes twice."""
    order = np.random.default_rng(seed).permutation(len(rows))
    seen: dict[int, int] = {}
    turn = np.empty(len(rows), dtype=np.int64)
    for place in order.tolist():
        text = int(text_id[place])
        turn[place] = seen.get(text, 0)
        seen[text] = turn[place] + 1
    return np.asarray(rows[order[np.argsort(turn[order], kind="stable")][:n]])
