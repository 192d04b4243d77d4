"""An export's folder, which is there as a whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cofire.errors import InputError, StoreError
from cofire.store.archive import write_atomically

ABOUT = "cofire.json"
"""What an export says of itself, in each format that has no place of its own for it."""


def check_free(path: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        InputError: when it does, or is a file.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"{path} exists already; choose another folder with -o, or remove it first."
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, renamed to ``path`` when all of it is written.

    Raises:
        InputError: when ``path`` holds something.
        StoreError: when it cannot be written; nothing is left behind then.
    """
    check_free(path)
    filling = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            filling.mkdir(parents=True)
        except OSError as error:
            raise StoreError(f"Cannot write {path}: {error.strerror or error}.") from error
        yield filling
        try:
            os.replace(filling, path)
        except OSError as error:
            raise StoreError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON; NaN is refused, as many readers do not know it.

    Raises:
        StoreError: when the file cannot be written.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))


def write_about(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``cofire.json``: which cofire wrote the export, and the facts."""
    write_json(folder / ABOUT, {"cofire": version("cofire"), **facts})
