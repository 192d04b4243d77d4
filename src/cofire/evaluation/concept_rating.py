"""Rating a concept in a text offline, calibrated on a labelled corpus."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from cofire.corpus import NEUTRAL, Corpus, Text
from cofire.errors import InputError
from cofire.evaluation.auroc import auroc
from cofire.evaluation.concept_directions import Direction, LabelledVectors, distinctive_words
from cofire.evaluation.encoders import TextEncoder

Knowledge: TypeAlias = Literal["learned", "described"]
"""What a concept is known by: sentences of the corpus, or only a label and some words."""

TELLING_AUROC = 0.7
"""AUROC over unseen training sentences below which a learned concept is not rated."""

_HIGHEST = 2.0
_FOLDS = 5
_FEWEST = 5  # training sentences from which a concept is learned
_BLOCK = 256  # texts encoded at once


@dataclass(frozen=True)
class ConceptCheck:
    """How well one concept of the corpus is told on held-out sentences.

    Attributes:
        concept: the concept.
        known: what it was known by.
        unseen_auroc: AUROC over training sentences, each rated without having been learned from.
        auroc: AUROC over held-out sentences, against all other labelled ones; None without both.
        neutral_auroc: the same against neutral ones only.
        n_positive: held-out sentences of the concept.
        n_negative: other labelled held-out sentences.
        mean_positive: mean rating, 0 to 2, of the former.
        mean_negative: mean rating of the latter.
        rated: whether the judge rates this concept at all (``unseen_auroc`` high enough).
    """

    concept: str
    known: Knowledge
    unseen_auroc: float
    auroc: float | None
    neutral_auroc: float | None
    n_positive: int
    n_negative: int
    mean_positive: float | None
    mean_negative: float | None
    rated: bool


class ConceptRater:
    """Rates from 0 to 2 how present a concept is in a text, without any language model.

    A concept of the corpus is a direction in the encoder's space learned from its training
    sentences; any other label is the direction of the label and its words. The score of a text is
    its place along the direction, in standard deviations of training texts without the concept. One
    monotone (isotonic) map, fitted over all concepts on training sentences that the direction was
    not learned from, turns scores into 2 · P(concept), presence and absence counted as equally
    likely beforehand; each kind of direction has its own. Held-out sentences are used for nothing,
    see ``check``.

    A label names a concept of the corpus when it is equal to it, or begins with it and a colon as
    offline labels do; case and underscores do not count.

    Args:
        encoder: turns texts into vectors.
        corpus: labelled texts; those of the training split are used.
        seed: decides which training sentences are set aside together.

    Raises:
        InputError: when the corpus has no two concepts with 5 training sentences.
    """

    def __init__(self, encoder: TextEncoder, corpus: Corpus, *, seed: int = 0) -> None:
        train = [text for text in corpus if text.split == "train" and text.label is not None]
        counts = Counter(text.label for text in train)
        self.concepts = tuple(name for name in corpus.concepts if counts[name] >= _FEWEST)
        if len(self.concepts) < 2:
            raise InputError(
                f"Rating concepts needs two or more with {_FEWEST} labelled training sentences; "
                f"the corpus has {len(self.concepts)}."
            )
        self.encoder = encoder
        self._learned = LabelledVectors(
            encoder.encode([text.text for text in train]),
            np.array([text.label for text in train], dtype=object),
            tuple(text.text for text in train),
        )
        self._names = {_plain(name): name for name in self.concepts}
        self._maps: dict[Knowledge, Any] = {}
        self._unseen: dict[Knowledge, dict[str, float]] = {}
        folds = _folds(self._learned.labels, seed)
        for known in ("learned", "described"):
            self._calibrate(known, folds)

    def concept_of(self, label: str) -> str | None:
        """The concept of the corpus that a label names, None when it names none."""
        return self._names.get(_plain(label)) or self._names.get(_plain(label.partition(":")[0]))

    def rate(
        self, label: str, texts: Sequence[str], *, words: Iterable[str] = ()
    ) -> Float[np.ndarray, "texts"]:
        """Ratings of texts for one label.

        Args:
            label: the concept.
            texts: what is rated.
            words: further words for a label that is no concept of the corpus.

        Returns:
            0 to 2; NaN where the judge cannot tell: a learned concept that it does not tell on
            training sentences either (``TELLING_AUROC``), a label of which the encoder knows no
            word, a text of which it knows none.
        """
        concept = self.concept_of(label)
        if concept is not None:
            if self._unseen["learned"][concept] < TELLING_AUROC:
                return np.full(len(texts), np.nan)
            return self._rated_texts("learned", self._learned.learned(concept), texts)
        vector = self.encoder.encode([_description(label, words)])[0]
        if not vector.any():
            return np.full(len(texts), np.nan)
        return self._rated_texts("described", self._learned.described(vector, None), texts)

    def check(self, heldout: Corpus, *, known: Knowledge = "learned") -> tuple[ConceptCheck, ...]:
        """Measure on held-out sentences how well every concept of the corpus is told.

        Args:
            heldout: a corpus with held-out labelled texts; its other texts are left alone.
            known: rate concepts as learned, or as if only described by name and eight words.

        Raises:
            InputError: when it has no held-out labelled text.
        """
        texts = [text for text in heldout if text.split == "heldout" and text.label is not None]
        if not texts:
            raise InputError("There are no labelled held-out texts to check the ratings on.")
        vectors = self.encoder.encode([text.text for text in texts])
        directions = self._directions(self._learned, known)
        return tuple(
            self._check(concept, known, direction, vectors, texts)
            for concept, direction in zip(self.concepts, directions, strict=True)
        )

    def _check(
        self,
        concept: str,
        known: Knowledge,
        direction: Direction,
        vectors: Float[np.ndarray, "texts channels"],
        texts: Sequence[Text],
    ) -> ConceptCheck:
        ratings = self._rated(known, direction, vectors)
        scores = direction.score(vectors)
        is_it = np.array([text.label == concept for text in texts])
        neutral = np.array([text.label == NEUTRAL for text in texts])
        unseen = self._unseen[known][concept]
        return ConceptCheck(
            concept=concept,
            known=known,
            unseen_auroc=unseen,
            auroc=_auroc(scores, is_it),
            neutral_auroc=_auroc(scores[is_it | neutral], is_it[is_it | neutral]),
            n_positive=int(is_it.sum()),
            n_negative=int((~is_it).sum()),
            mean_positive=_mean(ratings[is_it]),
            mean_negative=_mean(ratings[~is_it]),
            rated=unseen >= TELLING_AUROC or known == "described",
        )

    def _rated_texts(
        self, known: Knowledge, direction: Direction, texts: Sequence[str]
    ) -> Float[np.ndarray, "texts"]:
        ratings = np.full(len(texts), np.nan)
        for first in range(0, len(texts), _BLOCK):
            block = slice(first, first + _BLOCK)
            ratings[block] = self._rated(known, direction, self.encoder.encode(texts[block]))
        return ratings

    def _rated(
        self, known: Knowledge, direction: Direction, vectors: Float[np.ndarray, "texts channels"]
    ) -> Float[np.ndarray, "texts"]:
        ratings = np.full(len(vectors), np.nan)
        rows = np.flatnonzero(vectors.any(axis=1))
        if len(rows):
            ratings[rows] = _HIGHEST * self._maps[known].predict(direction.score(vectors[rows]))
        return ratings

    def _directions(self, learned: LabelledVectors, known: Knowledge) -> list[Direction]:
        """One a concept of the corpus."""
        if known == "learned":
            return [learned.learned(concept) for concept in self.concepts]
        descriptions = [
            _description(concept, distinctive_words(learned.texts, learned.labels, concept))
            for concept in self.concepts
        ]
        vectors = self.encoder.encode(descriptions)
        return list(map(learned.described, vectors, self.concepts))

    def _calibrate(self, known: Knowledge, folds: np.ndarray) -> None:
        from sklearn.isotonic import IsotonicRegression  # slow to import

        labels = self._learned.labels
        scores = np.empty((len(labels), len(self.concepts)))
        for fold in range(_FOLDS):
            rest = self._learned.take(folds != fold)
            unseen = self._learned.vectors[folds == fold]
            for column, direction in enumerate(self._directions(rest, known)):
                scores[folds == fold, column] = direction.score(unseen)
        is_it = np.stack([labels == concept for concept in self.concepts], axis=1)
        weights = np.where(is_it, 0.5 / is_it.sum(axis=0), 0.5 / (~is_it).sum(axis=0))
        self._maps[known] = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
            scores.ravel(), is_it.ravel().astype(float), sample_weight=weights.ravel()
        )
        found = np.diag(auroc(scores, is_it))
        self._unseen[known] = dict(zip(self.concepts, found.tolist(), strict=True))


def _description(label: str, words: Iterable[str]) -> str:
    return " ".join([label.replace("_", " "), *(word.strip() for word in words)])


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())


def _folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each text, every label spread evenly over the folds."""
    rng = np.random.default_rng(seed)
    folds = np.zeros(len(labels), dtype=int)
    for label in dict.fromkeys(labels.tolist()):
        places = rng.permutation(np.flatnonzero(labels == label))
        folds[places] = np.arange(len(places)) % _FOLDS
    return folds


def _auroc(scores: Float[np.ndarray, "texts"], positive: Bool[np.ndarray, "texts"]) -> float | None:
    value = float(auroc(scores[:, None].astype(float), positive[:, None])[0, 0])
    return None if np.isnan(value) else value


def _mean(values: Float[np.ndarray, "texts"]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
