"""Which concept of a labelled corpus a feature selects, chosen and judged on different texts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from cofire.corpus import Corpus
from cofire.evaluation.auroc import auroc, auroc_interval, auroc_p_value
from cofire.evaluation.discoveries import discoveries
from cofire.interpret.contexts import STRONG
from cofire.types import CodeMatrix, Tensor

SURE_AUROC = 0.8
"""Held-out AUROC above which a feature counts as selecting its concept."""

SURE_P = 0.01
"""p-value of the held-out AUROC below which that is not put down to chance."""

NAMING_PRECISION = 0.25
"""Share of strong firings on a concept's texts from which a feature may be named after it; with
dozens of concepts this is many times what chance gives."""

_MIN_POSITIVES = 3  # training texts a concept needs to be a candidate
_BLOCK_ROWS = 8192  # bounds what is held of the strong firings at once


@dataclass(frozen=True)
class ConceptMatch:
    """The concept a feature selects best.

    Attributes:
        concept: chosen by AUROC on the training texts.
        auroc_train: AUROC there; optimistic, it was used to choose.
        auroc: AUROC on the held-out texts, None when there are none of the concept.
        interval: 95% score interval of ``auroc``.
        p_value: one-sided Mann-Whitney p of ``auroc``; one test a feature.
        n_positive: held-out texts of the concept.
        n_negative: other labelled held-out texts.
        precision: share of the feature's strong firings (``contexts.STRONG``) on labelled
            training texts that fall in texts of the concept; None where it has no such firing.
    """

    concept: str
    auroc_train: float
    auroc: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    n_positive: int
    n_negative: int
    precision: float | None

    @property
    def sure(self) -> bool:
        """Held-out AUROC above ``SURE_AUROC`` at p < ``SURE_P``; False where either is missing."""
        if self.auroc is None or self.p_value is None:
            return False
        return self.auroc > SURE_AUROC and self.p_value < SURE_P

    @property
    def names_feature(self) -> bool:
        """Whether a feature may be called after the concept: sure, and often firing there.

        The concept is chosen on training texts; held-out texts confirm it or take the name away.

        A feature may select Italian sentences because they break into many short tokens, while it
        fires on such tokens anywhere: it then selects the concept but is not about it.
        """
        known = self.precision is not None and self.precision >= NAMING_PRECISION
        return self.sure and known


@dataclass(frozen=True, eq=False)
class ConceptProfile:
    """AUROC of every feature for every concept.

    Attributes:
        concepts: names, the columns: those with enough training texts to be tried.
        train: on training texts; NaN where all of them are of the concept.
        heldout: on held-out texts; NaN where a concept has none.
        best: one a feature, None when no concept could be tried, or the feature scores all training
            texts alike, as dead ones do: it prefers none.
    """

    concepts: tuple[str, ...]
    train: Float[np.ndarray, "features concepts"]
    heldout: Float[np.ndarray, "features concepts"]
    best: tuple[ConceptMatch | None, ...]


def sure_concepts(matches: Sequence[ConceptMatch | None]) -> dict[str, int]:
    """For every concept that some feature surely selects, how many do; most first.

    A feature is counted when it is sure by itself (``ConceptMatch.sure``) and its p-value is a
    discovery among those of all the features, at a false discovery rate of ``SURE_P``.

    Args:
        matches: one a feature of a layer.
    """
    found = discoveries([None if match is None else match.p_value for match in matches], SURE_P)
    counts: dict[str, int] = {}
    for match, discovery in zip(matches, found, strict=True):
        if match is not None and match.sure and discovery:
            counts[match.concept] = counts.get(match.concept, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def text_scores(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], n_texts: int
) -> Float[Tensor, "texts features"]:
    """A text's score for a feature: its largest code over the tokens.

    Codes that are NaN, as the cosine of a row of zeros is, are passed over; a text of no other rows
    scores NaN.
    """
    index = torch.from_numpy(text_id.astype(np.int64)).to(codes.device)
    nothing = float("-inf")
    scores = codes.new_full((n_texts, codes.shape[1]), nothing, dtype=torch.float32)
    spread = index[:, None].expand(-1, codes.shape[1])
    known = codes.float().masked_fill(codes.isnan(), nothing)
    scores.scatter_reduce_(0, spread, known, reduce="amax")
    return scores.masked_fill_(scores == nothing, float("nan"))


def concept_profile(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], corpus: Corpus
) -> ConceptProfile:
    """Measure how well every feature tells the texts of every concept from all other texts.

    The concept is chosen on the training split and judged on the held-out one, so that the best of
    many concepts is not rewarded for luck. Texts labelled ``neutral`` are negatives of every
    concept; texts without a label are left out.
    """
    scores = text_scores(codes, text_id, len(corpus)).cpu().numpy()
    # A text without a label may be of any concept: it is neither a positive nor a negative.
    labels = np.array([text.label for text in corpus], dtype=object)
    known = ~np.isnan(scores).all(axis=1) & np.array([label is not None for label in labels], bool)
    heldout = np.array([text.split == "heldout" for text in corpus], dtype=bool)
    chosen, judged = known & ~heldout, known & heldout
    counts = Counter(labels[chosen].tolist())
    concepts = tuple(name for name in corpus.concepts if counts[name] >= _MIN_POSITIVES)
    is_concept = np.zeros((len(corpus), len(concepts)), dtype=bool)
    for i, concept in enumerate(concepts):
        is_concept[:, i] = labels == concept
    train = auroc(scores[chosen].astype(float), is_concept[chosen])
    test = auroc(scores[judged].astype(float), is_concept[judged])
    positives = is_concept[judged].sum(axis=0)
    precision = _precision(codes, text_id, is_concept, chosen)
    varies = (scores[chosen] != scores[chosen][:1]).any(axis=0)
    best = tuple(
        _best(concepts, train[i], test[i], precision[i], positives, int(judged.sum()))
        if varies[i]
        else None
        for i in range(scores.shape[1])
    )
    return ConceptProfile(concepts=concepts, train=train, heldout=test, best=best)


def _precision(
    codes: CodeMatrix, text_id: np.ndarray, is_concept: np.ndarray, chosen: np.ndarray
) -> Float[np.ndarray, "features concepts"]:
    """Share of strong firings on the chosen texts by concept; NaN where there is no such firing.

    Firings are counted a text, then texts a concept: never rows by concepts.
    """
    rows = torch.from_numpy(np.flatnonzero(chosen[text_id])).to(codes.device)
    texts = torch.from_numpy(text_id.astype(np.int64)).to(codes.device)
    peak = codes.new_zeros(codes.shape[1])
    for block in rows.split(_BLOCK_ROWS) if len(rows) else ():
        peak = torch.maximum(peak, codes[block].nan_to_num(nan=0.0).amax(dim=0))
    firings = torch.zeros(len(is_concept), codes.shape[1], device=codes.device)
    for block in rows.split(_BLOCK_ROWS):
        strong = (codes[block] >= STRONG * peak) & (peak > 0)
        firings.index_add_(0, texts[block], strong.float())
    counts = firings.cpu().numpy().astype(float)
    with np.errstate(invalid="ignore"):
        return np.asarray((counts.T @ is_concept) / counts.sum(axis=0)[:, None])


def _best(
    concepts: tuple[str, ...],
    train: np.ndarray,
    heldout: np.ndarray,
    precision: np.ndarray,
    positives: np.ndarray,
    n_judged: int,
) -> ConceptMatch | None:
    if np.isnan(train).all():
        return None
    index = int(np.nanargmax(train))
    value = float(heldout[index])
    n_positive = int(positives[index])
    n_negative = n_judged - n_positive
    known = not np.isnan(value)
    share = float(precision[index])
    return ConceptMatch(
        concept=concepts[index],
        auroc_train=float(train[index]),
        auroc=value if known else None,
        interval=auroc_interval(value, n_positive, n_negative) if known else None,
        p_value=auroc_p_value(value, n_positive, n_negative) if known else None,
        n_positive=n_positive,
        n_negative=n_negative,
        precision=None if np.isnan(share) else share,
    )
