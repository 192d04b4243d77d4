"""Labels that people gave to features, in a file of their own beside what was computed.

``labels.json`` in the run folder::

    {"format": "cofire-labels", "format_version": 1,
     "labels": {"blocks.9.mlp.hook_post": {"12": {"label": "weekdays", "edited": "2026-…"}}}}

It is not in the manifest: the run stays what the fit wrote, and a label is changed without touching
any checksum.
"""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cofire.errors import InputError, StoreError
from cofire.site import Site
from cofire.store.archive import write_atomically

FILE = "labels.json"
FORMAT = "cofire-labels"
FORMAT_VERSION = 1

_lock = threading.Lock()  # threads of one process that edit at once lose nothing


def read_labels(folder: Path, site: Site) -> dict[int, str]:
    """The labels that people gave to features of one site, by the features' numbers.

    Raises:
        StoreError: when the file is damaged, or a newer cofire wrote it.
    """
    records = _read(folder / FILE)["labels"].get(site.name, {})
    return {int(feature): record["label"] for feature, record in records.items()}


def write_label(folder: Path, site: Site, feature: int, label: str | None) -> None:
    """Give a feature a label, or take it back; the file is replaced as a whole.

    Args:
        folder: of the run.
        site: where the feature lives.
        feature: its number.
        label: None to go back to the label that cofire made.

    Raises:
        InputError: for an empty label.
        StoreError: when the file is damaged, or the folder cannot be written.
    """
    if label is not None and not label.strip():
        raise InputError("A label needs some text; None takes it back.")
    with _lock:
        found = _read(folder / FILE)
        records = found["labels"].setdefault(site.name, {})
        if label is None:
            records.pop(str(feature), None)
        else:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            records[str(feature)] = {"label": label.strip(), "edited": now}
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        write_atomically(folder / FILE, lambda file: file.write_text(text, encoding="utf-8"))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "labels": {}}
    except (OSError, ValueError) as error:
        raise _damaged(file) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _damaged(file)
    version = found.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreError(f"{file} is of format version {version}; upgrade cofire to use it.")
    if not _sound(found.get("labels")):
        raise _damaged(file)
    return found


def _sound(labels: Any) -> bool:
    return isinstance(labels, dict) and all(
        isinstance(records, dict)
        and all(
            feature.isdigit() and isinstance(record, dict) and isinstance(record.get("label"), str)
            for feature, record in records.items()
        )
        for records in labels.values()
    )


def _damaged(file: Path) -> StoreError:
    return StoreError(f"{file} is no file of labels; restore it, or remove it to lose all of them.")
