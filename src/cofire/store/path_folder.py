"""Path folders: the points of a k path or sparsity path, each kept as soon as it is finished.

Layout, format version 1::

    manifest.json            settings, model, data, hardware, the figures of every point, checksums
    atoms-00.safetensors     atoms [features channels] of point 0, a tensor a seed: "0", "1", ...
    path.json, path.csv      the same figures for other programs; written anew after every point
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import load_file, save_file

from cofire.errors import StoreError
from cofire.evaluation.knee import Suggestion, suggest_k
from cofire.evaluation.path_points import PathPoint, PathSolution, PathStep
from cofire.site import Site
from cofire.store.archive import MANIFEST, damaged, write_atomically
from cofire.store.archive_folder import ArchiveFolder

_JSON, _CSV = "path.json", "path.csv"


class PathFolder(ArchiveFolder):
    """A stored path. Made by ``create``, found again by ``open``."""

    format = "cofire-path"
    required = MappingProxyType({"steps": list, "points": list, "config": dict, "site": str})

    @classmethod
    def create(
        cls, path: Path, *, steps: Sequence[PathStep], site: Site, **header: Any
    ) -> "PathFolder":
        """Start a path without points.

        Args:
            path: a folder that does not exist or is empty.
            steps: the points that will be filled, in order.
            site: where the rows were read.
            header: further entries of the manifest (config, model, capture, corpus, environment).

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        return cls._begin(
            path,
            {
                **header,
                "site": site.name,
                "steps": [asdict(step) for step in steps],
                "points": [],
            },
        )

    def _check(self) -> None:
        try:
            if len(self.points) > len(self.steps):
                raise damaged(self.path, "it has more points than steps")
        except TypeError as error:
            raise damaged(self.path, "the record of a point is none") from error

    @property
    def site(self) -> Site:
        """Where the rows were read."""
        return Site.parse(self.manifest["site"])

    @property
    def steps(self) -> list[PathStep]:
        """The points asked for."""
        return [PathStep(**record) for record in self.manifest["steps"]]

    @property
    def points(self) -> list[PathPoint]:
        """The figures of the finished points, in order."""
        return [PathPoint(**record) for record in self.manifest["points"]]

    @property
    def varies(self) -> str:
        """The name of the setting that differs: ``n_components`` or ``sparsity``."""
        numbers = {step.n_components for step in self.steps}
        return "n_components" if len(numbers) == len(self.steps) else "sparsity"

    @property
    def suggestion(self) -> Suggestion | None:
        """Which k the points suggest; None for a sparsity path."""
        return suggest_k(self.points) if self.varies == "n_components" else None

    def solutions(self) -> list[PathSolution]:
        """The finished points with their atoms, up to the first whose atoms are missing.

        Raises:
            StoreError: when a file of atoms is damaged.
        """
        found = []
        for number, point in enumerate(self.points):
            if not self._archive.has(_part(number)):
                break
            atoms = load_file(self._archive.file(_part(number)))
            found.append(PathSolution(point, tuple(atoms[name] for name in sorted(atoms, key=int))))
        return found

    def write_point(self, number: int, solution: PathSolution) -> None:
        """Keep one more point; points after it, from atoms that were lost, are forgotten.

        Raises:
            StoreError: when the disk is full.
        """
        tensors = {str(i): atoms.contiguous() for i, atoms in enumerate(solution.atoms)}
        self._archive.write(_part(number), partial(save_file, tensors))
        points = self._archive.manifest["points"]
        points[number:] = [asdict(solution.point)]
        self._archive.save()
        self._write_listings()

    def discard(self) -> None:
        """Remove a path without points, so that another can begin in its folder.

        Raises:
            StoreError: when a point was finished.
        """
        if self.points:
            raise StoreError(f"{self.path} has finished points; remove it by hand if you mean to.")
        (self.path / MANIFEST).unlink(missing_ok=True)
        (self.path / _part(0)).unlink(missing_ok=True)

    def _write_listings(self) -> None:
        points = [asdict(point) for point in self.points]
        suggestion = self.suggestion
        whole = {
            "site": self.manifest["site"],
            "varies": self.varies,
            "points": points,
            "suggestion": None if suggestion is None else asdict(suggestion),
        }
        _write_text(self.path / _JSON, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
        table = StringIO()
        writer = csv.DictWriter(table, [field.name for field in fields(PathPoint)])
        writer.writeheader()
        writer.writerows(points)
        _write_text(self.path / _CSV, table.getvalue())


def _part(number: int) -> str:
    return f"atoms-{number:02d}.safetensors"


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write_bytes(text.encode("utf-8")))
