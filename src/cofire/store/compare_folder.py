"""Comparison folders: a folder a cell of method × layer × k × sparsity × seed, each by itself.

Layout, format version 1::

    manifest.json               settings, model, data, hardware, the cells asked for, checksums
    activations/                the rows, where they were captured for this comparison
    cells/NAME/                 one folder a cell, format ``cofire-cell`` version 1
        manifest.json           the cell, its figures and finished stages, what failed, checksums
        dictionary.safetensors  atoms [features channels]; encoder tensors where there are
        features.parquet        health, concept, detection, steering; one line a feature
        concepts.parquet        the best feature for each concept; one line a concept and score
        rows.parquet            reconstruction of every held-out row
        losses.parquet          losses of every predicted token with things in its place
        halves.parquet          features found in one half of the training texts and in the other
        steering.parquet, steering_cells.parquet, continuations.parquet
        labels.parquet          what a language model called the features that are steered
        written.parquet         sentences it wrote for labels, and detection on them
        unfinished.jsonl        features steered so far, until all of them are
    answers.jsonl               every prompt and answer of the language model, where one is asked
    results.parquet, results.csv, tables.md, compare.html     of all cells; derived

A cell has a folder of its own so that a kill, or a second process at work on the same comparison,
touches no other cell.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file

from cofire.dictionary import Dictionary
from cofire.errors import StoreError
from cofire.evaluation.grid import GridCell
from cofire.store.archive import MANIFEST, damaged, write_atomically
from cofire.store.archive_folder import ArchiveFolder

CELLS, ACTIVATIONS = "cells", "activations"

_DICTIONARY = "dictionary.safetensors"


class CellFolder(ArchiveFolder):
    """What is kept of one cell. Opened or begun by ``CompareFolder.cell``."""

    format = "cofire-cell"
    required = MappingProxyType({"cell": dict, "stages": dict})

    @classmethod
    def begin(cls, path: Path, cell: GridCell) -> "CellFolder":
        """Start the folder of a cell without stages.

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        return cls._begin(path, {"cell": cell.record(), "stages": {}, "failure": None})

    def _check(self) -> None:
        try:
            _ = self.cell
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged(self.path, "the record of the cell is none") from error

    @property
    def cell(self) -> GridCell:
        """Which cell it is."""
        return GridCell.from_record(self._archive.manifest["cell"])

    @property
    def failure(self) -> str | None:
        """Why the cell could not be finished, in one sentence; None when nothing went wrong."""
        found: str | None = self._archive.manifest.get("failure")
        return found

    def has(self, stage: str) -> bool:
        """Whether a stage is finished and all of its files are there."""
        record = self._archive.manifest["stages"].get(stage)
        return record is not None and all(self._archive.has(part) for part in record["parts"])

    def holds(self, table: str) -> bool:
        """Whether there is a table of this name."""
        return self._archive.has(f"{table}.parquet")

    @property
    def steered(self) -> str | None:
        """The name of the last finished stage that steered features; None when there is none."""
        names = [name for name in self._archive.manifest["stages"] if name.startswith("steer")]
        return next((name for name in reversed(names) if self.has(name)), None)

    @property
    def drawn_stages(self) -> list[str]:
        """The last finished stage of each kind that took drawn features: steered, written about."""
        found: dict[str, str] = {}
        for name in self._archive.manifest["stages"]:
            kind = name.partition("-")[0]
            if kind in ("steer", "written") and self.has(name):
                found[kind] = name
        return list(found.values())

    def figures(self, stage: str) -> Mapping[str, Any]:
        """What a finished stage noted, plain JSON values."""
        record: Mapping[str, Any] = self._archive.manifest["stages"][stage]["figures"]
        return record

    def write_stage(
        self, stage: str, tables: Mapping[str, pa.Table], figures: Mapping[str, Any]
    ) -> None:
        """Keep the results of a stage; it counts as finished when all of it is on disk.

        Args:
            stage: its name.
            tables: by the name of the file, without its ending.
            figures: plain JSON values.

        Raises:
            StoreError: when the disk is full.
        """
        parts = {
            f"{name}.parquet": partial(pq.write_table, table) for name, table in tables.items()
        }
        self._finish(stage, parts, figures)

    def write_dictionary(self, dictionary: Dictionary, figures: Mapping[str, Any]) -> None:
        """Keep the dictionary: the stage ``fit``."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in dictionary.tensors().items()}
        self._archive.manifest["dictionary"] = dictionary.settings()
        self._finish("fit", {_DICTIONARY: partial(save_file, tensors)}, figures)

    def dictionary(self) -> Dictionary:
        """The dictionary of the stage ``fit``."""
        tensors = load_file(self._archive.file(_DICTIONARY))
        return Dictionary.from_parts(tensors, self._archive.manifest["dictionary"])

    def table(self, name: str) -> pa.Table:
        """One table of a finished stage.

        Raises:
            StoreError: when it is missing or damaged.
        """
        return pq.read_table(self._archive.file(f"{name}.parquet"))

    def note_failure(self, sentence: str | None) -> None:
        """Keep why the cell could not be finished; None when it could after all."""
        self._archive.manifest["failure"] = sentence
        self._archive.save()

    def _finish(self, stage: str, parts: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        for part, write in parts.items():
            self._archive.write(part, write)
        self._archive.manifest["stages"][stage] = {"parts": list(parts), "figures": dict(figures)}
        self._archive.save()


class CompareFolder(ArchiveFolder):
    """A stored comparison. Made by ``create``, found again by ``open``."""

    format = "cofire-compare"
    required = MappingProxyType({"cells": list, "config": dict})

    @classmethod
    def create(cls, path: Path, **header: Any) -> "CompareFolder":
        """Start a comparison without cells.

        Args:
            path: a folder that does not exist or is empty.
            header: entries of the manifest (config, environment).

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        return cls._begin(path, {**header, "cells": []})

    def _check(self) -> None:
        try:
            _ = self.cells
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged(self.path, "the record of a cell is none") from error

    @property
    def cells(self) -> list[GridCell]:
        """The cells asked for, in order."""
        return [GridCell.from_record(record) for record in self.manifest["cells"]]

    def plan(self, cells: Sequence[GridCell], **header: Any) -> None:
        """Say which cells there are to be; what is kept of others stays where it is.

        Args:
            cells: in order.
            header: further entries of the manifest, such as those known once there are rows.
        """
        records = [cell.record() for cell in cells]
        entries = {**header, "cells": records}
        if any(self.manifest.get(name) != value for name, value in entries.items()):
            self._archive.manifest.update(entries)
            self._archive.save()

    def cell(self, cell: GridCell) -> CellFolder:
        """The folder of a cell, begun when it is not there.

        Raises:
            StoreError: when it is damaged.
        """
        path = self.path / CELLS / cell.name
        if not CellFolder.present(path):
            return CellFolder.begin(path, cell)
        found = CellFolder.open(path)
        if found.cell != cell:
            raise StoreError(
                f"{path} holds {found.cell.variant} with other settings; move it away, and the "
                "same command makes the cell anew."
            )
        return found

    def lock(self, cell: GridCell) -> Path:
        """The file that a process locks while it is at work on a cell."""
        return self.path / CELLS / f".{cell.name}.lock"

    @property
    def rows_lock(self) -> Path:
        """The file that a process locks while it captures the rows."""
        return self.path / f".{ACTIVATIONS}.lock"

    def write_text(self, name: str, text: str) -> None:
        """Write a file that is derived from the cells, such as a table."""
        write_atomically(self.path / name, lambda file: file.write_bytes(text.encode("utf-8")))

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a table that is derived from the cells."""
        write_atomically(self.path / name, partial(pq.write_table, table))

    def discard(self) -> None:
        """Remove a comparison without cells, so that another can begin in its folder.

        Raises:
            StoreError: when there are cells or rows.
        """
        if any((self.path / name).exists() for name in (CELLS, ACTIVATIONS)):
            raise StoreError(f"{self.path} has results; remove it by hand if you mean to.")
        for file in (self.rows_lock, self.path / MANIFEST):
            file.unlink(missing_ok=True)
