"""Which concept of a labelled corpus a feature selects, chosen and judged on different texts."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from cofire.corpus import Corpus
from cofire.evaluation.auroc import auroc, auroc_interval, auroc_p_value
from cofire.interpret.contexts import strong_firings
from cofire.types import CodeMatrix, Tensor

NAMING_PRECISION = 0.25
"""Share of strong firings on a concept's texts from which a feature may be named after it; with
dozens of concepts this is many times what chance gives."""

_MIN_POSITIVES = 3  # training texts a concept needs to be a candidate


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
        n_negative: other held-out texts.
        precision: share of the feature's strong firings (``contexts.STRONG``) on training
            texts that fall in texts of the concept.
    """

    concept: str
    auroc_train: float
    auroc: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    n_positive: int
    n_negative: int
    precision: float

    @property
    def sure(self) -> bool:
        """Held-out AUROC above 0.8 at p < 0.01."""
        return self.auroc is not None and self.auroc > 0.8 and (self.p_value or 0.0) < 0.01

    @property
    def names_feature(self) -> bool:
        """Whether a feature may be called after the concept: sure, and often firing there.

        A feature may select Italian sentences because they break into many short tokens, while it
        fires on such tokens anywhere: it then selects the concept but is not about it.
        """
        return self.sure and self.precision >= NAMING_PRECISION


@dataclass(frozen=True, eq=False)
class ConceptProfile:
    """AUROC of every feature for every concept.

    Attributes:
        concepts: names, the columns.
        train: on training texts; NaN where a concept has too few.
        heldout: on held-out texts; NaN where a concept has none.
        best: one a feature, None when no concept could be tried.
    """

    concepts: tuple[str, ...]
    train: Float[np.ndarray, "features concepts"]
    heldout: Float[np.ndarray, "features concepts"]
    best: tuple[ConceptMatch | None, ...]


def text_scores(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], n_texts: int
) -> Float[Tensor, "texts features"]:
    """A text's score for a feature: its largest code over the tokens; NaN for a text of no rows."""
    index = torch.from_numpy(text_id.astype(np.int64)).to(codes.device)
    scores = codes.new_full((n_texts, codes.shape[1]), float("nan"), dtype=torch.float32)
    spread = index[:, None].expand(-1, codes.shape[1])
    return scores.scatter_reduce_(0, spread, codes.float(), reduce="amax", include_self=False)


def concept_profile(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], corpus: Corpus
) -> ConceptProfile:
    """Measure how well every feature tells the texts of every concept from all other texts.

    The concept is chosen on the training split and judged on the held-out one, so that the best of
    many concepts is not rewarded for luck.
    """
    scores = text_scores(codes, text_id, len(corpus)).cpu().numpy()
    present = ~np.isnan(scores).all(axis=1)
    labels = np.array([text.label or "" for text in corpus], dtype=object)
    heldout = np.array([text.split == "heldout" for text in corpus], dtype=bool)
    concepts = tuple(corpus.concepts)
    is_concept = (
        np.stack([labels == concept for concept in concepts], axis=1)
        if concepts
        else np.zeros((len(corpus), 0), dtype=bool)
    )
    chosen, judged = present & ~heldout, present & heldout
    train = auroc(scores[chosen].astype(float), is_concept[chosen])
    train[:, is_concept[chosen].sum(axis=0) < _MIN_POSITIVES] = np.nan
    test = auroc(scores[judged].astype(float), is_concept[judged])
    positives = is_concept[judged].sum(axis=0)
    precision = _precision(codes, text_id, is_concept & ~heldout[:, None], heldout)
    best = tuple(
        _best(concepts, train[i], test[i], precision[i], positives, int(judged.sum()))
        for i in range(scores.shape[1])
    )
    return ConceptProfile(concepts=concepts, train=train, heldout=test, best=best)


def _precision(
    codes: CodeMatrix, text_id: np.ndarray, is_concept: np.ndarray, heldout: np.ndarray
) -> Float[np.ndarray, "features concepts"]:
    """Share of strong firings on training texts by concept; NaN for features that never fire."""
    rows = torch.from_numpy(~heldout[text_id]).to(codes.device)
    strong = strong_firings(codes[rows]).float()
    member = torch.from_numpy(is_concept[text_id]).to(codes.device)[rows].float()
    return ((strong.T @ member) / strong.sum(dim=0)[:, None]).double().cpu().numpy()


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
    return ConceptMatch(
        concept=concepts[index],
        auroc_train=float(train[index]),
        auroc=value if known else None,
        interval=auroc_interval(value, n_positive, n_negative) if known else None,
        p_value=auroc_p_value(value, n_positive, n_negative) if known else None,
        n_positive=n_positive,
        n_negative=n_negative,
        precision=float(np.nan_to_num(precision[index])),
    )
