"""What is done in one cell of a comparison, stage by stage; each stage is kept when it is done."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from cofire.errors import CofireError, ConvergenceWarning, InputError
from cofire.evaluation.best_features import concept_table, feature_table
from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.equal_activity import at_equal_activity
from cofire.evaluation.grid import GridCell
from cofire.evaluation.reconstruction import row_errors
from cofire.evaluation.replacing import replace_activations
from cofire.evaluation.stability import split_halves, stability
from cofire.jobs.compare_plan import RUN, method_settings, run_folders
from cofire.jobs.compare_steering import (
    CellSteering,
    Naming,
    drawn_features,
    label_figures,
    label_tables,
)
from cofire.jobs.compare_written import Writing
from cofire.jobs.fitting import fit_estimator
from cofire.jobs.replacing import ROWS, mean_row, some_rows
from cofire.models import CaptureSettings, LanguageModel
from cofire.progress import SILENT, Progress
from cofire.registry import method_named
from cofire.store import Run
from cofire.store.compare_folder import CellFolder

# What a stage may fail of without stopping others; a program's own mistakes stay mistakes.
FAILURES = (CofireError, ArithmeticError, MemoryError, RuntimeError, ValueError)

# Without a dictionary there is nothing to go on with; features are drawn among those alive.
_NEEDS = {
    "measure": ("fit",),
    "loss": ("fit",),
    "halves": ("fit",),
    "steer": ("fit", "measure"),
    "written": ("fit", "measure"),
}

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
        model: opens the model when it is first needed.
        texts: held-out texts on which reconstructions are put in place; None for none.
        reading: how texts are read, as when the rows were captured.
        naming: who says what drawn features are.
        steering: how features are steered and judged; None when none are.
        writing: who writes sentences for what features are said to be; None for none.
        progress: shown while working.
    """

    config: CompareConfig
    model: Callable[[], LanguageModel]
    texts: Corpus | None
    reading: CaptureSettings
    naming: Naming
    steering: CellSteering | None
    writing: Writing | None
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
        if self.writing is not None and place < self.config.steer_seeds:
            stages.append(f"written-{self.config.written}")
        return stages

    def unfinished(self, folder: CellFolder) -> list[str]:
        """The stages that are still to be done."""
        return [stage for stage in self.stages(folder.cell) if not folder.has(stage)]

    def do(self, folder: CellFolder, rows: LayerRows) -> dict[str, Exception]:
        """Do what is left of a cell.

        Returns:
            What went wrong, by stage. Stages that need what such a stage would have given are left
            out; the others are done.

        Raises:
            KeyboardInterrupt: when the user stopped it.
        """
        failed: dict[str, Exception] = {}
        for stage in self.unfinished(folder):
            if not all(folder.has(needed) for needed in _NEEDS.get(stage.partition("-")[0], ())):
                continue
            with self.progress.task(f"{folder.cell.name}: {stage}", None, "") as advance:
                try:
                    self._do(folder, rows, stage)
                except FAILURES as error:
                    failed[stage] = error
                advance(1)
        return failed

    def _do(self, folder: CellFolder, rows: LayerRows, stage: str) -> None:
        began = Stopwatch()
        if stage == "fit":
            self._fit(folder, rows)
        elif stage == "measure":
            self._measure(folder, rows, began)
        elif stage == "loss":
            self._loss(folder, rows, began)
        elif stage == "halves":
            self._halves(folder, rows, began)
        elif stage.startswith("steer"):
            self._steer(folder, rows, stage, began)
        else:
            self._write(folder, rows, stage, began)

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
        if self.steering is None:
            return
        described, dictionary, figures, tables = self._described(folder, rows, self.config.steer)
        figures["read_seconds"] = began.read()["seconds"]
        steered, found = self.steering.steer(
            folder, self.model(), dictionary, described, self.progress
        )
        folder.write_stage(stage, {**tables, **steered}, {**figures, **found, **began.read()})
        self.steering.forget(folder)

    def _write(self, folder: CellFolder, rows: LayerRows, stage: str, began: Stopwatch) -> None:
        """Test some of the features on sentences written for what they are said to be."""
        if self.writing is None:
            return
        described, dictionary, figures, _ = self._described(folder, rows, self.config.written)
        table, found = self.writing.test(
            self.model(),
            dictionary,
            described,
            protocol=self.config.protocol,
            seed=self.config.seed,
        )
        folder.write_stage(stage, {"written": table}, {**figures, **found, **began.read()})

    def _described(
        self, folder: CellFolder, rows: LayerRows, n: int
    ) -> tuple[list[DescribedFeature], Dictionary, dict[str, Any], dict[str, pa.Table]]:
        """Drawn features and what they are said to be; figures and tables that tell of that."""
        model, dictionary = self.model(), self._dictionary(folder)
        chosen = drawn_features(folder.table("features").to_pylist(), n, seed=self.config.seed)
        kind = self.description(folder.cell, model)
        described, labels = self.naming.describe(dictionary, rows.activations, model, chosen, kind)
        figures = {
            "features": list(chosen),
            "alive": folder.figures("measure")["alive"],
            "description": kind,
            **label_figures(self.naming, labels),
        }
        return described, dictionary, figures, label_tables(labels)

    def description(self, cell: GridCell, model: LanguageModel) -> str:
        """What features are judged for; as published, by the half of the layers they are in."""
        if self.config.protocol == "published":
            return "output" if 2 * cell.site.layer >= model.n_layers else "input"
        return self.config.descriptions
