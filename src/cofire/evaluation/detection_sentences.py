"""Sentences on which features are tested: with what a feature stands for, and without.

A sentence is a range of rows, so that it can be a text of a corpus, a text that a language model
wrote, or a window of a longer text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from cofire.activations import Activations
from cofire.corpus import Corpus, Split, Text
from cofire.errors import InputError

SentenceSource: TypeAlias = Literal["labelled", "written", "contexts"]


@runtime_checkable
class Written(Protocol):
    """Sentences written for a label, such as ``interpret.llm_labels.write_sentences`` gives."""

    @property
    def label(self) -> str:
        """What they were written for."""
        ...

    @property
    def activating(self) -> tuple[str, ...]:
        """Sentences that contain it."""
        ...

    @property
    def neutral(self) -> tuple[str, ...]:
        """Sentences that do not."""
        ...

    @property
    def missing(self) -> int:
        """How many did not come, of both kinds."""
        ...


@dataclass(frozen=True, eq=False)
class DetectionSentences:
    """Which rows make each sentence, and which sentences each feature is tested on.

    Attributes:
        source: ``labelled`` texts of a corpus, ``written`` for a label, or ``contexts``: windows.
        start: first row of each sentence.
        stop: the row after its last.
        activating: the sentence has what the feature stands for.
        neutral: it has not. Sentences that are neither are not used for that feature.
        group: sentences of one number are exchangeable: a bootstrap draws within them.
        concepts: what each feature is tested for; None where that is not known.
        missing: sentences of each feature that should be there and are not, or gave no token.
    """

    source: SentenceSource
    start: Int[np.ndarray, "texts"]
    stop: Int[np.ndarray, "texts"]
    activating: Bool[np.ndarray, "texts features"]
    neutral: Bool[np.ndarray, "texts features"]
    group: Int[np.ndarray, "texts"]
    concepts: tuple[str | None, ...]
    missing: Int[np.ndarray, "features"]

    def __len__(self) -> int:
        return len(self.start)

    def limited(self, n: int, *, seed: int = 0) -> "DetectionSentences":
        """At most ``n`` sentences of each kind a feature, drawn at random.

        Features that are tested for the same concept get the same sentences.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        kept = []
        for mask in (self.activating, self.neutral):
            rank = np.empty_like(mask, dtype=np.int64)
            rank[order] = mask[order].cumsum(axis=0)
            kept.append(mask & (rank <= n))
        used = (kept[0] | kept[1]).any(axis=1)
        return replace(
            self,
            start=self.start[used],
            stop=self.stop[used],
            activating=kept[0][used],
            neutral=kept[1][used],
            group=self.group[used],
        )


def labelled_sentences(
    activations: Activations, concepts: Sequence[str | None], *, split: Split = "heldout"
) -> DetectionSentences:
    """Texts of a labelled corpus: those of a feature's concept against all other labelled ones.

    Texts labelled ``neutral`` are neutral for every feature; texts without a label are left out.
    The concept must have been chosen on other texts (as ``interpret.read_features`` does).

    Args:
        activations: rows of the corpus, whole texts in order.
        concepts: one a feature; None where it has none.
        split: which texts.

    Raises:
        InputError: when no text of the split has a label, or rows are not in the order of texts.
    """
    first, last = text_rows(activations)
    wanted = [
        (text_id, text.label)
        for text_id, text in enumerate(activations.corpus)
        if text.split == split and text.label is not None
    ]
    if not wanted:
        raise InputError(
            f"No {split} text has a label: concepts cannot be tested on them. Label texts, hold "
            "some out, or let a language model write sentences."
        )
    there = np.array([first[text_id] >= 0 for text_id, _ in wanted], dtype=bool)
    labels = np.array([label for _, label in wanted], dtype=object)
    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels.tolist()))}
    is_concept = labels[:, None] == np.array(concepts, dtype=object)[None]
    known = np.array([concept is not None for concept in concepts], dtype=bool)
    is_other = ~is_concept & known
    ids = np.array([text_id for text_id, _ in wanted])[there]
    return DetectionSentences(
        source="labelled",
        start=first[ids],
        stop=last[ids],
        activating=(is_concept & known)[there],
        neutral=is_other[there],
        group=np.array([numbers[label] for label in labels])[there],
        concepts=tuple(concepts),
        missing=(known & ~there[:, None]).sum(axis=0),
    )


def written_corpus(written: Sequence[Written | None]) -> Corpus:
    """The sentences as texts to capture; ``written_sentences`` finds them again in the rows.

    Args:
        written: one a feature; None where a feature has no label.
    """
    return Corpus(
        Text(sentence, label=one.label, detail=kind, split="heldout")
        for one in written
        if one is not None
        for kind, sentences in (("activating", one.activating), ("neutral", one.neutral))
        for sentence in sentences
    )


def written_sentences(
    activations: Activations, written: Sequence[Written | None]
) -> DetectionSentences:
    """Sentences that were written for each feature's label, as in the published protocol.

    Args:
        activations: rows of ``written_corpus(written)``, at the dictionary's site.
        written: one a feature; None where a feature has no label.

    Raises:
        InputError: when the activations are of other texts.
    """
    corpus = written_corpus(written)
    if [text.text for text in corpus] != [text.text for text in activations.corpus]:
        raise InputError(
            f"These activations are of {len(activations.corpus)} texts, not of the {len(corpus)} "
            "written ones in their order; capture written_corpus(...) of the same sentences."
        )
    first, last = text_rows(activations)
    activating = np.zeros((len(corpus), len(written)), dtype=bool)
    neutral = np.zeros_like(activating)
    group = np.zeros(len(corpus), dtype=np.int64)
    text = 0
    for feature, one in enumerate(written):
        if one is None:
            continue
        for kind, (mask, sentences) in enumerate(
            ((activating, one.activating), (neutral, one.neutral))
        ):
            place = slice(text, text + len(sentences))
            mask[place, feature] = True
            group[place] = 2 * feature + kind
            text = place.stop
    there = first >= 0
    asked = np.array([0 if one is None else one.missing for one in written], dtype=np.int64)
    return DetectionSentences(
        source="written",
        start=first[there],
        stop=last[there],
        activating=activating[there],
        neutral=neutral[there],
        group=group[there],
        concepts=tuple(None if one is None else one.label for one in written),
        missing=asked + (activating | neutral)[~there].sum(axis=0),
    )


def known_sentences(
    activating: Bool[np.ndarray, "texts features"], neutral: Bool[np.ndarray, "texts features"]
) -> DetectionSentences:
    """Sentences whose scores are known from elsewhere, for ``detection_records.detection_of``.

    Args:
        activating: which sentences have what each feature stands for.
        neutral: which have not.
    """
    n_texts, n_features = activating.shape
    kinds = np.concatenate([activating, neutral], axis=1)
    return DetectionSentences(
        source="written",
        start=np.arange(n_texts),
        stop=np.arange(n_texts) + 1,
        activating=activating,
        neutral=neutral,
        group=np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1),
        concepts=tuple(map(str, range(n_features))),
        missing=np.zeros(n_features, dtype=np.int64),
    )


def text_rows(
    activations: Activations,
) -> tuple[Int[np.ndarray, "texts"], Int[np.ndarray, "texts"]]:
    """First row of every text and the one after its last; -1 for texts without rows.

    Raises:
        InputError: when the rows of a text do not stand together.
    """
    text_id = activations.tokens.text_id
    edges = np.flatnonzero(np.diff(text_id)) + 1
    starts = np.concatenate([[0], edges]) if len(text_id) else np.zeros(0, dtype=np.int64)
    stops = np.concatenate([edges, [len(text_id)]])[: len(starts)]
    owners = text_id[starts]
    if len(np.unique(owners)) != len(owners):
        raise InputError(
            "The rows of a text do not stand together; detection needs whole texts, in order."
        )
    first = np.full(len(activations.corpus), -1, dtype=np.int64)
    last = first.copy()
    first[owners], last[owners] = starts, stops
    return first, last
