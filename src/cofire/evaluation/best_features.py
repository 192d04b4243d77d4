"""What is measured of every feature, and of every concept's best feature, as tables."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from cofire.activations import Activations
from cofire.dictionary import Dictionary
from cofire.evaluation.detection import cosines, detect
from cofire.evaluation.detection_measures import (
    concept_detection,
    detected_share,
    detection_auroc,
)
from cofire.evaluation.detection_records import Detection, Protocol, Score, detection_of
from cofire.evaluation.detection_sentences import labelled_sentences
from cofire.evaluation.health import health
from cofire.evaluation.measurement import estimate_record
from cofire.interpret.concepts import concept_profile
from cofire.types import CodeMatrix

_BLOCK_ROWS = 8192


def feature_table(
    dictionary: Dictionary,
    activations: Activations,
    codes: CodeMatrix,
    *,
    protocol: Protocol = "extended",
    seed: int = 0,
) -> tuple[pa.Table, dict[str, Any]]:
    """Health and detection of every feature.

    A feature is tested for the concept that its codes select best on training texts, on held-out
    texts, whatever method it is of.

    Args:
        dictionary: of any method.
        activations: all rows at its site.
        codes: of all rows.
        protocol: of detection.
        seed: chooses the sentences of the published protocol.

    Returns:
        A line a feature; and figures of the whole: how many are alive, and estimates whose
        intervals draw sentences.
    """
    corpus = activations.corpus
    train = np.array([text.split == "train" for text in corpus])[activations.tokens.text_id]
    state = health(dictionary.atoms.cpu(), codes[train])
    columns: dict[str, Any] = {
        "feature": np.arange(dictionary.n_features),
        "dead": state.dead,
        "duplicate": state.duplicate,
        "nearest": state.nearest,
        "nearest_cosine": state.nearest_cosine,
        "density": (codes[train] > 0).float().mean(dim=0).numpy(),
    }
    figures: dict[str, Any] = {"alive": int((~state.dead).sum()), "estimates": []}
    if not _testable(activations):
        return pa.table(columns), figures
    profile = concept_profile(codes, activations.tokens.text_id, corpus)
    concepts = [None if best is None else best.concept for best in profile.best]
    columns["concept"] = pa.array(concepts, pa.string())
    sentences = labelled_sentences(activations, concepts)
    found = detect(dictionary, activations, sentences, codes=codes, protocol=protocol, seed=seed)
    for score, detection in found.items():
        columns |= {
            f"{score}_outcome": pa.array(detection.outcomes, pa.string()),
            f"{score}_log_ratio": detection.log_ratio,
            f"{score}_order": detection.order,
            f"{score}_auroc": detection.auroc,
            f"{score}_precision": detection.average_precision,
        }
        columns["prevalence"] = detection.prevalence
        figures["estimates"] += [
            {
                "measure": name,
                "score": score,
                **estimate_record(estimate := measure(detection, over="sentences")),
                "note": estimate.note,
            }
            for name, measure in (
                ("concept-detection", concept_detection),
                ("detected-share", detected_share),
                ("detection-auroc", detection_auroc),
            )
        ]
    return pa.table(columns), figures


def concept_table(dictionary: Dictionary, activations: Activations, codes: CodeMatrix) -> pa.Table:
    """The best feature for every concept: what methods have in common and can be paired by.

    Of each concept and score, the feature with the highest AUROC on training texts; its figures
    on held-out texts (as ``pairing.best_of_concepts``, with S_CD and precision of the same one).
    """
    names = ("concept", "score", "feature", "auroc_train", "auroc", "precision", "order")
    records: dict[str, list[Any]] = {name: [] for name in names}
    if _testable(activations):
        cosine = torch.cat(
            [cosines(x, dictionary.atoms).cpu() for x in activations.chunks(_BLOCK_ROWS)]
        )
        scores: tuple[tuple[Score, CodeMatrix], ...] = (("cosine", cosine), ("codes", codes))
        for score, values in scores:
            profile = concept_profile(values, activations.tokens.text_id, activations.corpus)
            known = ~np.isnan(profile.train).all(axis=0)
            best = np.where(np.isnan(profile.train), -np.inf, profile.train).argmax(axis=0)
            detection = _of_concepts(score, profile.concepts, values[:, best], activations)
            for i, concept in enumerate(profile.concepts):
                record = (
                    concept,
                    score,
                    int(best[i]),
                    profile.train[best[i], i],
                    detection.auroc[i],
                    detection.average_precision[i],
                    detection.order[i],
                )
                missing = (concept, score, None, *[np.nan] * 4)
                for name, value in zip(names, record if known[i] else missing, strict=True):
                    records[name].append(value)
    return pa.table(records)


def _of_concepts(
    score: Score, concepts: tuple[str, ...], values: CodeMatrix, activations: Activations
) -> Detection:
    """Detection of each concept by the one column of values that is given for it."""
    sentences = labelled_sentences(activations, concepts)
    spans = zip(sentences.start.tolist(), sentences.stop.tolist(), strict=True)
    maxima = np.stack(
        [np.fmax.reduce(values[start:stop].double().numpy(), axis=0) for start, stop in spans]
    )
    return detection_of(score, "extended", sentences, maxima)


def _testable(activations: Activations) -> bool:
    """Whether any concept can be tested on held-out texts."""
    there = np.unique(activations.tokens.text_id)
    texts = [activations.corpus[int(i)] for i in there]
    return bool(activations.corpus.concepts) and any(
        text.split == "heldout" and text.label is not None for text in texts
    )
