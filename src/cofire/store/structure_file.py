"""Results about the structure of a run's features: JSON files in ``structure/`` of its folder.

A file keeps the settings it was made with and the checksums of what it was made from. Its parts are
kept one by one, so that the same command goes on after an interrupt; under other settings, or with
another run in the folder, it is begun anew.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cofire.errors import StoreError
from cofire.site import Site
from cofire.store.archive import write_atomically
from cofire.store.run import Run

FORMAT = "cofire-structure"
FORMAT_VERSION = 1

_FOLDER = "structure"


class StructureFile:
    """One result. Made by ``begin``, found again by ``stored``.

    Attributes:
        path: the JSON file.
        record: everything in it: ``kind``, ``name``, ``settings``, ``made_from`` and the parts.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record

    @classmethod
    def begin(
        cls,
        run: Run,
        kind: str,
        name: str,
        *,
        sites: Sequence[Site],
        settings: Mapping[str, Any],
    ) -> "StructureFile":
        """Go on with a file of this kind and name, or begin it when there is none that fits.

        Args:
            run: what the result is about.
            kind: ``core``, ``reuse``, ``flow`` or another.
            name: tells results of a kind apart; part of the file's name.
            sites: layers it is made from.
            settings: what decides the result, as plain JSON values.
        """
        path = run.path / _FOLDER / f"{kind}-{name}.json"
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "name": name,
            "settings": json.loads(json.dumps(dict(settings))),
            "made_from": {
                part: record["sha256"]
                for part, record in run.manifest["parts"].items()
                if any(part.startswith(f"{site.name}/") for site in sites)
            },
        }
        begun = _read(path)
        if begun is not None and all(begun.get(key) == value for key, value in header.items()):
            return cls(path, begun)
        return cls(path, {**header, "parts": {}})

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """A part of the result: as it was kept, or made and kept now.

        Args:
            name: of the part.
            make: gives plain JSON values.
        """
        parts = self.record["parts"]
        if name not in parts:
            # As it will be read again: no tuple, no number as a key.
            parts[name] = json.loads(json.dumps(make(), allow_nan=False))
            text = json.dumps(self.record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
            write_atomically(self.path, lambda file: file.write_text(text, encoding="utf-8"))
        return parts[name]


def stored(run: Run, kind: str) -> list[StructureFile]:
    """The results of one kind that a run's folder holds, by name; not those of other features.

    Raises:
        StoreError: when one is of a newer format.
    """
    found = []
    for path in sorted((run.path / _FOLDER).glob(f"{kind}-*.json")):
        record = _read(path)
        if record is not None and record.get("kind") == kind and _is_of(run, record):
            found.append(StructureFile(path, record))
    return found


def _is_of(run: Run, record: Mapping[str, Any]) -> bool:
    """Whether the run still has what a result was made from."""
    parts = run.manifest["parts"]
    made_from = record.get("made_from", {})
    return all(part in parts and parts[part]["sha256"] == made_from[part] for part in made_from)


def _read(path: Path) -> dict[str, Any] | None:
    """The record of a file; None where there is none, or it is no such file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return None
    if int(record.get("format_version", 0)) > FORMAT_VERSION:
        raise StoreError(
            f"{path} is of format version {record['format_version']}; this cofire reads up to "
            f"version {FORMAT_VERSION}. Upgrade cofire to open it."
        )
    return record
