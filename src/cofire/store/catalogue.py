"""What there is below a folder: runs, paths, comparisons, weights and activation stores."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cofire.errors import InputError
from cofire.evaluation.grid import GridCell
from cofire.store.activation_store import ActivationStore
from cofire.store.archive import MANIFEST
from cofire.store.compare_folder import CELLS, CompareFolder
from cofire.store.path_folder import PathFolder
from cofire.store.run import Run
from cofire.store.text_file import TEXTS
from cofire.store.weights_folder import WeightsFolder, part_name

_DEPTH = 3  # folders below the one asked about


def catalogue(folder: Path) -> list[dict[str, Any]]:
    """One record a run, path, comparison, weights folder or store, oldest first.

    Raises:
        InputError: when there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; name the folder that holds your runs.")
    records = []
    for depth in range(_DEPTH + 1):
        for path in folder.glob("/".join(["*"] * depth + [MANIFEST])):
            record = _describe(path)
            if record is not None:
                records.append(record)
    return sorted(records, key=lambda record: record["created"])


def _describe(path: Path) -> dict[str, Any] | None:
    """The record of one manifest; None for a file of that name which is not cofire's."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _damaged(path) if _looks_like_ours(path.parent) else None
    kind = manifest.get("format") if isinstance(manifest, dict) else None
    try:
        if kind == Run.format:
            done = sum(1 for record in manifest["sites"].values() if record)
            total = len(manifest["sites"])
            config = manifest["config"]
            what = f"{config['method']} k={_features(manifest)} layers {config['layers']}"
        elif kind == ActivationStore.format:
            done = sum(1 for shard in manifest["shards"] if shard["rows"] is not None)
            total = len(manifest["shards"])
            what = ", ".join(manifest["sites"])
        elif kind == PathFolder.format:
            done, total = len(manifest["points"]), len(manifest["steps"])
            what = f"path of {total} points at {manifest['site']}"
        elif kind == CompareFolder.format:
            total = len(manifest["cells"])
            done = sum(_cell_done(path.parent, record) for record in manifest["cells"])
            methods = dict.fromkeys(record["method"] for record in manifest["cells"])
            what = f"{', '.join(methods)} in {total} cells"
        elif kind == WeightsFolder.format:
            names = [part_name(*one) for one in manifest["wanted"]]
            done = sum(f"{name}.json" in manifest["parts"] for name in names)
            total = len(names)
            what = f"weights {manifest['config']['matrix']} k={manifest['config']['n_components']}"
        else:
            return None
        return {
            "path": str(path.parent),
            "kind": kind.removeprefix("cofire-"),
            "model": manifest["model"]["name"],
            "what": what,
            "state": "complete" if done == total else f"{done} of {total} done",
            "created": manifest["created"],
        }
    except (KeyError, TypeError, AttributeError):
        return _damaged(path)


def _cell_done(folder: Path, record: dict[str, Any]) -> bool:
    """Whether a cell of a comparison was measured, by its own manifest."""
    name = GridCell.from_record(record).name
    try:
        manifest = json.loads((folder / CELLS / name / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "measure" in manifest["stages"] and manifest["failure"] is None


def _features(manifest: Mapping[str, Any]) -> Any:
    """How many features a layer; a method of labels makes one a concept, whatever was asked."""
    for record in manifest["sites"].values():
        made = (record or {}).get("dictionary", {}).get("provenance", {})
        if "n_components" in made:
            return made["n_components"]
    return manifest["config"]["n_components"]


def _looks_like_ours(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.yaml", TEXTS)) or any(
        folder.glob("shard-*")
    )


def _damaged(path: Path) -> dict[str, Any]:
    return {
        "path": str(path.parent),
        "kind": "?",
        "model": "?",
        "what": "unreadable manifest",
        "state": "damaged",
        "created": "",
    }
