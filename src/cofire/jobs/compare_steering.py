"""Steering in a cell of a comparison: drawn features, what they are said to be, and their judge."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cofire.activations import Activations
from cofire.dictionary import Dictionary
from cofire.evaluation.described import DescribedFeature, describe_features
from cofire.evaluation.judging import Judge
from cofire.evaluation.steered import SteeredFeature
from cofire.evaluation.steering_records import SteeringSettings
from cofire.interpret.llm_labels import FeatureLabel, LabelKind, label_features
from cofire.interpret.reading import read_features
from cofire.jobs.steering import steer_dictionary
from cofire.jobs.unsteered import UnsteeredTexts
from cofire.llm import ChatModel
from cofire.models import LanguageModel
from cofire.progress import Progress
from cofire.store.compare_folder import CellFolder
from cofire.store.label_table import SCHEMA
from cofire.store.steering_results import UnfinishedSteering, settings_record
from cofire.store.steering_tables import steering_tables


@dataclass(frozen=True)
class Naming:
    """Who says what features are.

    Attributes:
        model: the language model that names them; None for offline labels.
        prompts: folder of a user's own prompts.
    """

    model: ChatModel | None = None
    prompts: Path | None = None

    def describe(
        self,
        dictionary: Dictionary,
        activations: Activations,
        model: LanguageModel,
        chosen: list[int],
        kind: str,
    ) -> tuple[list[DescribedFeature], list[FeatureLabel]]:
        """What some features are said to be, and the labels that the language model wrote.

        A feature whose label is missing keeps its offline description; away from MLP neurons, where
        no promoted tokens are known, every label is written from contexts.

        Args:
            dictionary: of the cell.
            activations: all rows at its site.
            model: the model the rows are of.
            chosen: which features.
            kind: ``input`` or ``output``.
        """
        shown: dict[str, Any] = {} if self.model is not None else {"n_contexts": 1, "window": 1}
        read = read_features(dictionary, activations, model, **shown)
        features = [read[feature] for feature in chosen]
        if self.model is None:
            return describe_features(features, kind=kind), []
        by: LabelKind = (
            "output" if kind == "output" and any(one.vocabulary for one in features) else "input"
        )
        labels = label_features(features, self.model, kind=by, prompts=self.prompts)
        found = describe_features(features, kind=kind, labels=[one.label for one in labels])
        return found, labels


@dataclass(frozen=True)
class CellSteering:
    """How the features of every cell are steered and judged.

    Attributes:
        settings: prompts, targets, sampling.
        judge: opens the judge of continuations; None for none.
        unsteered: opens the model's own continuations, which the same judge scores.
    """

    settings: SteeringSettings
    judge: Callable[[], Judge] | None
    unsteered: Callable[[], UnsteeredTexts]

    def steer(
        self,
        folder: CellFolder,
        model: LanguageModel,
        dictionary: Dictionary,
        described: list[DescribedFeature],
        progress: Progress,
    ) -> tuple[dict[str, pa.Table], dict[str, Any]]:
        """Tables and figures of a cell's steered features.

        Every feature is kept as soon as it is steered, so that neither a kill nor a judge that
        fails costs what was steered; ``forget`` removes that when the stage is written.

        Raises:
            CofireError: when the judge cannot answer at all.
        """
        judge = None if self.judge is None else self.judge()
        unfinished, key = UnfinishedSteering(folder.path), settings_record(self.settings)
        about = {one.feature: one for one in described}
        done: list[SteeredFeature] = [
            replace(one, about=about[one.feature])
            for one in unfinished.read(key)
            if one.feature in about
        ]
        steered = steer_dictionary(
            model,
            dictionary,
            described,
            judge,
            settings=self.settings,
            controls=0,
            done=done,
            on_feature=lambda one: unfinished.add(one, key),
            progress=progress,
        )
        floors: dict[tuple[str, tuple[str, ...]], float | None] = {}
        for one in described:
            if judge is not None and (one.label, one.words) not in floors:
                floors[one.label, one.words] = self.unsteered().score(judge, one.label, one.words)
        figures = {
            "judge": steered.judge,
            "texts": sum(one.n_texts for one in steered.features),
            "not_judged": None if judge is None else sum(one.missing for one in steered.features),
            "settings": asdict(self.settings),
            "effect_target": steered.effect_target,
            "unsteered": [floors.get((one.label, one.words)) for one in described],
        }
        return steering_tables(steered.features), figures

    @staticmethod
    def forget(folder: CellFolder) -> None:
        """Remove what was kept while the features were steered."""
        UnfinishedSteering(folder.path).remove()


def label_tables(labels: list[FeatureLabel]) -> dict[str, pa.Table]:
    """The table of labels; none when no language model wrote any."""
    records = [asdict(one) for one in labels]
    return {"labels": pa.Table.from_pylist(records, schema=SCHEMA)} if records else {}


def label_figures(naming: Naming, labels: list[FeatureLabel]) -> dict[str, Any]:
    """Who wrote labels, and how many are missing; empty when no language model was asked."""
    if naming.model is None:
        return {}
    missing = sum(one.missing for one in labels)
    return {"labels_by": naming.model.name, "labels": len(labels), "labels_missing": missing}


def drawn_features(features: list[dict[str, Any]], n: int, *, seed: int) -> list[int]:
    """At most ``n`` features that are not dead, drawn at random; outcomes have no part in it.

    >>> drawn_features([{"feature": 0, "dead": False}, {"feature": 1, "dead": True}], 5, seed=0)
    [0]
    """
    alive = [row["feature"] for row in features if not row["dead"]]
    order = np.random.default_rng(seed).permutation(len(alive))[:n]
    return sorted(alive[place] for place in order.tolist())
