"""Sentences that a language model writes for features' labels, and detection on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cofire.dictionary import Dictionary
from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.detection import detect
from cofire.evaluation.detection_records import Protocol
from cofire.evaluation.detection_sentences import written_corpus, written_sentences
from cofire.interpret.llm_labels import LabelSentences, write_sentences
from cofire.llm import ChatModel
from cofire.models import CaptureSettings, LanguageModel, capture_activations


@dataclass(frozen=True)
class Writing:
    """Who writes sentences, and how they are read.

    Attributes:
        model: the language model.
        prompts: folder of a user's own prompts.
        reading: how texts go through the model, as when the rows were captured.
    """

    model: ChatModel
    prompts: Path | None
    reading: CaptureSettings

    def test(
        self,
        model: LanguageModel,
        dictionary: Dictionary,
        described: Sequence[DescribedFeature],
        *,
        protocol: Protocol,
        seed: int,
    ) -> tuple[pa.Table, dict[str, Any]]:
        """Test features on five sentences with and five without what they are said to be.

        As published, the sentences are written for the label and nobody checks them. Those that did
        not come, and features none of whose sentences came, are missing.

        Args:
            model: the model the dictionary was made of; it reads the sentences.
            dictionary: of the cell.
            described: the features, and their labels.
            protocol, seed: of ``detect``.

        Returns:
            A line a feature; and who wrote, and how many sentences are missing.
        """
        found = write_sentences([one.label for one in described], self.model, prompts=self.prompts)
        written: list[LabelSentences | None] = [None] * dictionary.n_features
        for about, one in zip(described, found, strict=True):
            written[about.feature] = one
        chosen = [one.feature for one in described]
        columns: dict[str, Any] = {
            "feature": np.array(chosen, dtype=np.int64),
            "label": pa.array([one.label for one in found], pa.string()),
            "activating": pa.array([one.activating for one in found], pa.list_(pa.string())),
            "neutral": pa.array([one.neutral for one in found], pa.list_(pa.string())),
            "problem": pa.array([one.problem for one in found], pa.string()),
        }
        corpus = written_corpus(written)
        if len(corpus):
            site = dictionary.site
            rows = capture_activations(model, corpus, [site], self.reading)[site]
            sentences = written_sentences(rows, written)
            codes = dictionary.encode(rows).cpu()
            tested = detect(dictionary, rows, sentences, codes=codes, protocol=protocol, seed=seed)
            for score, detection in tested.items():
                outcomes = [detection.outcomes[feature] for feature in chosen]
                columns |= {
                    f"{score}_outcome": pa.array(outcomes, pa.string()),
                    f"{score}_order": detection.order[chosen],
                    f"{score}_auroc": detection.auroc[chosen],
                }
        else:
            scores = ("cosine",) if protocol == "published" else ("cosine", "codes")
            columns |= {
                f"{one}_{name}": np.full(len(chosen), np.nan)
                for one in scores
                for name in ("order", "auroc")
            }
        figures = {
            "written_by": self.model.name,
            "sentences": sum(len(one.activating) + len(one.neutral) for one in found),
            "sentences_missing": sum(one.missing for one in found),
        }
        return pa.table(columns), figures
