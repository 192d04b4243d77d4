"""Where commands leave their results: files and folders of a run, or folders of their own.

::

    RUN/trees/SITE/NAME.json         trees, their factors beside them
    RUN/structure/KIND-NAME.json     core, reuse, flow, stack
    RUN/steering/SITE/*.parquet      steering
    FOLDER/manifest.json             of the format cofire-KIND: compare, weights, path
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cofire.store.archive import MANIFEST
from cofire.store.slug import slug
from cofire.web.stored_trees import FOLDER as TREES

IN_RUNS = ("tree", "core", "reuse", "flow", "stack", "steering")
"""Kinds of results that stand in a run's folder."""

ALONE = ("weights", "compare", "path")
"""Kinds of results that have a folder of their own."""

_PATTERNS = {  # files of a run that are a result each
    "tree": f"{TREES}/*/*.json",
    "core": "structure/core-*.json",
    "reuse": "structure/reuse-*.json",
    "flow": "structure/flow-*.json",
    "stack": "structure/stack-*.json",
}
_BELOW = {"weights": "heads"}  # a folder of further documents
_DEPTHS = ("*/", "*/*/")  # how far below a folder results are looked for
_ENDINGS = (".json", ".parquet")


@dataclass(frozen=True)
class Place:
    """A result.

    Attributes:
        name: in addresses.
        kind: of the result.
        run: the key of the run it is of; None for one of its own.
        folder: where it lies.
        files: its documents by their names.
    """

    name: str
    kind: str
    run: str | None
    folder: Path
    files: Mapping[str, Path]


def results_of_run(path: Path, kind: str, key: str) -> Iterator[Place]:
    """The results of one kind in a run's folder.

    Args:
        path: the run's folder.
        kind: of the results.
        key: of the run.
    """
    if kind in _PATTERNS:
        for file in sorted(path.glob(_PATTERNS[kind])):
            if file.is_file() and _inside(path, file):
                own = {slug(file.stem): file}
                yield Place(name_in_run(key, path, file), kind, key, file.parent, own)
    elif kind in IN_RUNS:
        for folder in sorted((path / kind).glob("*/")):
            if _inside(path, folder) and (files := _documents(folder)):
                yield Place(f"{key}~{slug(folder.name)}", kind, key, folder, files)


def name_in_run(key: str, path: Path, file: Path) -> str:
    """The name of a result that is one file of a run.

    Args:
        key: of the run.
        path: the run's folder.
        file: of the result.
    """
    parts = file.relative_to(path).with_suffix("").parts[1:]
    return "~".join([key, *map(slug, parts)])


def results_alone(paths: Sequence[Path], kind: str) -> Iterator[Place]:
    """The results of one kind that have a folder of their own.

    Args:
        paths: folders that may be, or hold, some.
        kind: of the results.
    """
    taken: set[str] = set()
    for path in paths:
        below = sorted(found for depth in _DEPTHS for found in path.glob(f"{depth}{MANIFEST}"))
        folders = [path, *(manifest.parent for manifest in below)]
        for folder in folders:
            if kind_of(folder) != kind:
                continue
            own = name = slug(folder.resolve().name)
            number = 2
            while name in taken:
                name, number = f"{own}-{number}", number + 1
            taken.add(name)
            yield Place(name, kind, None, folder, _documents(folder, _BELOW.get(kind)))


def kind_of(folder: Path) -> str | None:
    """The kind of a folder of its own, None when it is no result."""
    found = str(manifest_of(folder).get("format", "")).removeprefix("cofire-")
    return found if found in ALONE else None


def manifest_of(folder: Path) -> Mapping[str, Any]:
    """The manifest of a folder; empty where there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _documents(folder: Path, below: str | None = None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    prefixed = [("", folder)] if below is None else [("", folder), (f"{below}-", folder / below)]
    for prefix, place in prefixed:
        for file in _files(place):
            own = name = slug(f"{prefix}{file.stem}")
            number = 2
            while name in found:
                name, number = f"{own}~{number}", number + 1
            found[name] = file
    return found


def _files(folder: Path) -> Iterator[Path]:
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return
    for file in files:
        seen = file.suffix in _ENDINGS and not file.name.startswith(".")
        if seen and file.is_file() and _inside(folder, file):
            yield file


def _inside(folder: Path, file: Path) -> bool:
    """Whether a file really lies in the folder, and is no link out of it."""
    return file.resolve().is_relative_to(folder.resolve())
