"""What is done in one cell of a comparison, stage by stage; each stage is kept when it is done."""

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from cofire.activations import Activations
from cofire.config import CompareConfig
from cofire.corpus import Corpus
from cofire.device import resolve_device
from cofire.dictionary import Dictionary
from cofire.errors import ConvergenceWarning, InputError
from cofire.evaluation.best_features import concept_table, feature_table
from cofire.evaluation.equal_activity import at_equal_activity
from cofire.evaluation.grid import GridCell
from cofire.evaluation.judging import Judge
from cofire.evaluation.reconstruction import row_errors
from cofire.evaluation.replacing import replace_activations
from cofire.evaluation.stability import split_halves, stability
from cofire.evaluation.steered import SteeredFeature
from cofire.evaluation.steering_records import SteeringSettings
from cofire.jobs.compare_plan import RUN, method_settings, run_folders
from cofire.jobs.fitting import fit_estimator
from cofire.jobs.replacing import ROWS, mean_row, some_rows
from cofire.jobs.unsteered import UnsteeredTexts
from cofire.models import CaptureSettings, LanguageModel
from cofire.progress import SILENT, Progress
from cofire.registry import method_named
from cofire.store import Run
from cofire.store.compare_folder import CellFolder
from cofire.store.steering_tables import steering_tables

_OTHER_SEED = 1000
"""What the seed of the fit to the second half is higher by."""


class Stopwatch:
    """Time since it was made, by the clock and of the processor."""

    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """``seconds`` and ``processor_seconds``."""
        return {
            "seconds": time.perf_counter() - self._clock,
            "processor_seconds": time.process_time() - self._processor,
        }


@dataclass
class LayerRows:
    """The rows of one layer, and what every cell of the layer needs of them.

    Attributes:
        activations: all rows.
        training: rows of training texts.
        heldout: the others.
    """

    activations: Activations
    training: Activations = field(init=False)
    heldout: Activations = field(init=False)

    def __post_init__(self) -> None:
        self.training = self.activations.where_split("train")
        self.heldout = self.activations.where_split("heldout")


@dataclass(frozen=True)
class CellJob:
    """What all cells share.

    Attributes:
        config: the settings.
        steering: how features are steered; None when none are.
        model: opens the model when it is first needed.
        texts: held-out texts on which reconstructions are put in place; None for none.
        reading: how texts are read, as when the rows were captured.
        judge: opens the judge of continuations; None for none.
        unsteered: opens the model's own continuations, which the same judge scores.
        progress: shown while working.
    """

    config: CompareConfig
    steering: SteeringSettings | None
    model: Callable[[], LanguageModel]
    texts: Corpus | None
    reading: CaptureSettings
    judge: Callable[[], Judge] | None
    unsteered: Callable[[], UnsteeredTexts]
    progress: Progress = SILENT

    def stages(self, cell: GridCell) -> list[str]:
        """The stages a cell goes through."""
        stages = ["fit", "measure"]
        place = cell.seed - self.config.seed
        if self.texts is not None and place < self.config.loss_seeds:
            stages.append("loss")
        if cell.method != RUN and place < self.config.halves:
            stages.append("halves")
        if self.steering is not None and place < self.config.steer_seeds:
            stages.append(f"steer-{self.config.steer}")
        return stages

    def unfinished(self, folder: CellFolder) -> list[str]:
        """The stages that are still to be done."""
        return [stage for stage in self.stages(folder.cell) if not folder.has(stage)]

    def do(self, folder: CellFolder, rows: LayerRows) -> None:
        """Do what is left of a cell.

        Raises:
            CofireError: when a stage cannot be done; the stages before it are kept.
            KeyboardInterrupt: when the user stopped it.
        """
        for stage in self.unfinished(folder):
            with self.progress.task(f"{folder.cell.name}: {stage}", None, "") as advance:
                began = Stopwatch()
                if stage == "fit":
                    self._fit(folder, rows)
                elif stage == "measure":
                    self._measure(folder, rows, began)
                elif stage == "loss":
                    self._loss(folder, rows, began)
                elif stage == "halves":
                    self._halves(folder, rows, began)
                else:
                    self._steer(folder, rows, stage, began)
                advance(1)

    def _fit(self, folder: CellFolder, rows: LayerRows) -> None:
        cell = folder.cell
        if cell.method == RUN:
            folder.write_dictionary(*self._ready(cell, rows))
            return
        method_named(cell.method).check_texts(rows.activations.corpus)
        folder.write_dictionary(*self._fitted(cell, rows.training))

    def _fitted(self, cell: GridCell, rows: Activations) -> tuple[Dictionary, dict[str, Any]]:
        """A dictionary fitted to some training rows, and what is to be said of the fit."""
        method = method_named(cell.method)
        settings = method_settings(cell, self.config.device)
        if cell.n_components is not None:
            method.check_size(cell.n_components, *rows.shape)
        began = Stopwatch()
        estimator = method.estimator(settings)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            warnings.simplefilter("always", SklearnConvergenceWarning)
            fit_estimator(estimator, rows, method)
        if getattr(estimator, "stop_reason_", None) == "interrupted":
            raise KeyboardInterrupt
        times = began.read()
        provenance = {"method": method.name, **vars(settings)}
        dictionary = method.dictionary(estimator, rows.site, provenance)
        finite = all(bool(torch.isfinite(t).all()) for t in dictionary.tensors().values())
        if not finite:
            raise InputError(f"{cell.variant} gave atoms that are no finite numbers.")
        return dictionary, {
            **times,
            "sweeps": getattr(estimator, "n_iter_", None),
            "stop_reason": getattr(estimator, "stop_reason_", None),
            "warnings": [" ".join(str(warning.message).split()) for warning in caught],
        }

    def _ready(self, cell: GridCell, rows: LayerRows) -> tuple[Dictionary, dict[str, Any]]:
        """The dictionary of a run, and what the run says of its fit."""
        path = run_folders(self.config)[str(dict(cell.settings)["name"])]
        run = Run.open(path)
        dictionary = run.dictionary(cell.site)
        if dictionary.n_channels != rows.activations.shape[1]:
            raise InputError(
                f"{path} has features of {dictionary.n_channels} channels; the rows have "
                f"{rows.activations.shape[1]}. It is of another model."
            )
        names = ("seconds", "sweeps", "stop_reason")
        return dictionary, {name: run.figures(cell.site).get(name) for name in names}

    def _dictionary(self, folder: CellFolder) -> Dictionary:
        return folder.dictionary().to(resolve_device(self.config.device))

    def _measure(self, folder: CellFolder, rows: LayerRows, began: Stopwatch) -> None:
        """Health, reconstruction and detection."""
        dictionary = self._dictionary(folder)
        codes = dictionary.encode(rows.activations).cpu()
        protocol = self.config.protocol
        features, figures = feature_table(
            dictionary, rows.activations, codes, protocol=protocol, seed=self.config.seed
        )
        concepts = concept_table(dictionary, rows.activations, codes)
        tables = {"features": features, "concepts": concepts}
        if len(rows.heldout):
            held = rows.activations.tokens.text_id
            split = [text.split == "heldout" for text in rows.activations.corpus]
            errors = row_errors(dictionary, rows.heldout, codes=codes[np.array(split)[held]])
            fewer = self._equally_active(dictionary, folder.cell, rows)
            limited = None if fewer is None else row_errors(fewer, rows.heldout)
            missing = pa.nulls(len(errors.text_id), pa.float64())
            tables["rows"] = pa.table(
                {
                    "text_id": errors.text_id,
                    "unexplained": errors.unexplained,
                    "variance": errors.variance,
                    "active": errors.active,
                    "equal_unexplained": missing if limited is None else limited.unexplained,
                    "equal_active": missing if limited is None else limited.active,
                }
            )
        folder.write_stage("measure", tables, {**figures, **began.read()})

    def active(self, cell: GridCell) -> int:
        """Features active a row at which methods are compared."""
        if self.config.active is not None:
            return self.config.active
        numbers = [int(part) for part in self.config.k.split(",")]
        k = numbers[0] if cell.n_components is None else cell.n_components
        return max(1, round(k / 5))

    def _loss(self, folder: CellFolder, rows: LayerRows, began: Stopwatch) -> None:
        """What predictions lose when reconstructions take the activation's place."""
        if self.texts is None:
            return
        dictionary = self._dictionary(folder)
        tried = {"own": dictionary}
        fewer = self._equally_active(dictionary, folder.cell, rows)
        if fewer is not None:
            tried["equal"] = fewer
        found = replace_activations(
            self.model(),
            tried,
            self.texts,
            mean_row(rows.training),
            settings=self.reading,
            most_tokens=None,
            seed=self.config.seed,
        )
        own = found["own"]
        columns: dict[str, Any] = {"text_id": own.cross_entropy.text_id}
        missing = pa.nulls(len(own.cross_entropy.text_id), pa.float64())
        for name in ("cross_entropy", "divergence"):
            losses = getattr(own, name)
            parts = ("clean", "reconstructed", "mean_ablated", "zero_ablated")
            columns |= {f"{name}_{part}": getattr(losses, part) for part in parts}
            equal = getattr(found["equal"], name).reconstructed if "equal" in found else missing
            columns[f"{name}_equal"] = equal
        folder.write_stage("loss", {"losses": pa.table(columns)}, began.read())

    def _halves(self, folder: CellFolder, rows: LayerRows, began: Stopwatch) -> None:
        """Fit to each half of the training texts, and match the features found.

        The second fit has another seed, or what never looks at the data would agree with itself.
        """
        halves = split_halves(rows.activations, seed=self.config.seed)
        cells = folder.cell, replace(folder.cell, seed=folder.cell.seed + _OTHER_SEED)
        fitted = [self._fitted(cell, half)[0] for cell, half in zip(cells, halves, strict=True)]
        found = stability(fitted, seed=self.config.seed)
        null = np.full(len(found.agreement), np.nan)
        known = ~np.isnan(found.null_cosines).all(axis=0)
        null[known] = np.nanmean(found.null_cosines[:, known], axis=0)
        table = pa.table({"agreement": found.agreement, "null": null, "p_value": found.p_values})
        folder.write_stage("halves", {"halves": table}, {"p_value": found.p_value, **began.read()})

    def _equally_active(
        self, dictionary: Dictionary, cell: GridCell, rows: LayerRows
    ) -> Dictionary | None:
        """The dictionary with as many active features a row as the others; None where it cannot."""
        if dictionary.encoder == "linear":
            return None
        some = some_rows(rows.training, ROWS, self.config.seed)
        return at_equal_activity(dictionary, some, float(self.active(cell)))

    def _steer(self, folder: CellFolder, rows: LayerRows, stage: str, began: Stopwatch) -> None:
        """Steer some of the features that are alive, drawn at random."""
        from cofire.evaluation.described import describe_features
        from cofire.interpret.reading import read_features
        from cofire.jobs.steering import steer_dictionary

        if self.steering is None:
            return
        model = self.model()
        dictionary = self._dictionary(folder)
        chosen = drawn_features(
            folder.table("features").to_pylist(), self.config.steer, seed=self.config.seed
        )
        read = read_features(
            dictionary, rows.activations, model, n_contexts=1, window=1, progress=SILENT
        )
        described = describe_features(
            [read[feature] for feature in chosen], kind=self.description(folder.cell, model)
        )
        read_seconds = began.read()["seconds"]
        judge = None if self.judge is None else self.judge()
        kept: list[SteeredFeature] = []
        steered = steer_dictionary(
            model,
            dictionary,
            described,
            judge,
            settings=self.steering,
            controls=0,
            on_feature=kept.append,
            progress=self.progress,
        )
        floors: dict[tuple[str, tuple[str, ...]], float | None] = {}
        for one in described:
            if judge is not None and (one.label, one.words) not in floors:
                floors[one.label, one.words] = self.unsteered().score(judge, one.label, one.words)
        figures = {
            "features": list(chosen),
            "alive": folder.figures("measure")["alive"],
            "judge": steered.judge,
            "description": self.description(folder.cell, model),
            "settings": asdict(self.steering),
            "effect_target": steered.effect_target,
            "unsteered": [floors.get((one.label, one.words)) for one in described],
            "read_seconds": read_seconds,
            **began.read(),
        }
        folder.write_stage(stage, steering_tables(steered.features), figures)

    def description(self, cell: GridCell, model: LanguageModel) -> str:
        """What features are judged for; as published, by the half of the layers they are in."""
        if self.config.protocol == "published":
            return "output" if 2 * cell.site.layer >= model.n_layers else "input"
        return self.config.descriptions


def drawn_features(features: list[dict[str, Any]], n: int, *, seed: int) -> list[int]:
    """At most ``n`` features that are not dead, drawn at random; outcomes have no part in it.

    >>> drawn_features([{"feature": 0, "dead": False}, {"feature": 1, "dead": True}], 5, seed=0)
    [0]
    """
    alive = [row["feature"] for row in features if not row["dead"]]
    order = np.random.default_rng(seed).permutation(len(alive))[:n]
    return sorted(alive[place] for place in order.tolist())
