"""Concept detection: does a feature fire more where its concept is than where it is not?"""

from collections.abc import Mapping

import numpy as np
import torch

from cofire.activations import Activations
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.detection_records import Detection, Protocol, Score, detection_of
from cofire.evaluation.detection_sentences import DetectionSentences
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix

PUBLISHED_SENTENCES = 5
"""Sentences of each kind in the published protocol."""

_BLOCK_ROWS = 8192  # bounds the activations held at once


def detect(
    dictionary: Dictionary,
    activations: Activations,
    sentences: DetectionSentences,
    *,
    codes: CodeMatrix | None = None,
    protocol: Protocol = "extended",
    seed: int = 0,
) -> Mapping[Score, Detection]:
    """Score every feature on its sentences.

    The cosine is between the atom and the activation as it is, without taking off a mean, as
    published. Codes are those of ``dictionary.encode``. A feature stands for what it says in its
    positive direction, also where a method gives signed codes.

    Args:
        dictionary: of any method.
        activations: rows that the sentences point to, at the dictionary's site.
        sentences: see ``detection_sentences``.
        codes: of all rows, when they are known already.
        protocol: see ``Protocol``.
        seed: chooses the five sentences of the published protocol where there are more.

    Returns:
        By score: ``cosine``, and ``codes`` unless ``published``.

    Raises:
        InputError: when site, width or the number of features do not agree.
    """
    if protocol not in ("extended", "published"):
        raise InputError(f"Unknown protocol {protocol!r}; use extended or published.")
    if activations.site != dictionary.site:
        raise InputError(
            f"The dictionary was made at {dictionary.site} but the activations are from "
            f"{activations.site}; capture the dictionary's own site."
        )
    if len(sentences.concepts) != dictionary.n_features:
        raise InputError(
            f"The sentences are for {len(sentences.concepts)} features; the dictionary has "
            f"{dictionary.n_features}."
        )
    if protocol == "published":
        sentences = sentences.limited(PUBLISHED_SENTENCES, seed=seed)
    scores: tuple[Score, ...] = ("cosine",) if protocol == "published" else ("cosine", "codes")
    maxima = _sentence_maxima(dictionary, activations, sentences, codes, scores)
    return {score: detection_of(score, protocol, sentences, maxima[score]) for score in scores}


def _sentence_maxima(
    dictionary: Dictionary,
    activations: Activations,
    sentences: DetectionSentences,
    codes: CodeMatrix | None,
    scores: tuple[Score, ...],
) -> dict[Score, np.ndarray]:
    """Largest score of every sentence for every feature, [texts features]."""
    shape = (len(sentences), dictionary.n_features)
    maxima: dict[Score, np.ndarray] = {score: np.full(shape, np.nan) for score in scores}
    lengths = sentences.stop - sentences.start
    order = np.argsort(sentences.start, kind="stable")  # near rows lie in the same shard
    blocks = np.cumsum(lengths[order]) // _BLOCK_ROWS
    for block in np.unique(blocks):
        chosen = order[blocks == block]
        rows = np.concatenate([np.arange(sentences.start[i], sentences.stop[i]) for i in chosen])
        edges = np.concatenate([[0], np.cumsum(lengths[chosen])[:-1]])
        x = activations.take(rows).X
        for score in scores:
            if score == "cosine":
                values = cosines(x, dictionary.atoms)
            else:
                values = dictionary.encode(x) if codes is None else codes[torch.from_numpy(rows)]
            # fmax passes over NaN, the cosine of a row of zeros.
            maxima[score][chosen] = np.fmax.reduceat(values.double().cpu().numpy(), edges, axis=0)
    return maxima


def cosines(x: ActivationMatrix, atoms: AtomMatrix) -> CodeMatrix:
    """Cosine of every row with every atom; NaN where either is zero."""
    x = x.to(atoms.device, torch.float32)
    D = atoms.float()
    return (x / x.norm(dim=1, keepdim=True)) @ (D / D.norm(dim=1, keepdim=True)).T
