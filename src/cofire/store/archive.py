"""A folder of checksummed parts under a manifest: the ground of runs and activation stores.

Every file is written under a temporary name, flushed to disk and renamed, and only then named in
the manifest with its checksum. A kill at any moment leaves a folder that opens and can go on.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cofire.errors import StoreError

MANIFEST = "manifest.json"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and rename it.

    Raises:
        StoreError: when the disk is full or the folder cannot be written; ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _disk_errors_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _disk_errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Writers in native code report a full disk in words, without an errno.
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise StoreError(
                f"The disk is full: {path} could not be written. Everything finished before is "
                "kept; free some space and run the same command again."
            ) from error
        if isinstance(error, OSError):
            raise StoreError(f"Cannot write {path}: {error.strerror or error}.") from error
        raise


class Archive:
    """One folder with a manifest.

    Args:
        path: the folder.
        manifest: its manifest, as plain JSON values.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(
        cls, path: Path, *, format: str, format_version: int, header: Mapping[str, Any]
    ) -> "Archive":
        """Start a new archive.

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(
                f"{path} exists and is no {format} folder; choose another output folder with -o, "
                "or remove it."
            )
        archive = cls(
            path,
            {
                "format": format,
                "format_version": format_version,
                "cofire_version": version("cofire"),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                **header,
                "parts": {},
            },
        )
        archive.save()
        return archive

    @classmethod
    def open(cls, path: Path, *, format: str, format_version: int) -> "Archive":
        """Open an archive of this format, of this or an older version.

        Raises:
            StoreError: when there is none, its manifest is damaged, or it is of a newer version.
        """
        file = path / MANIFEST
        if not file.is_file():
            raise StoreError(f"{path} is no {format} folder: it has no {MANIFEST}.")
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            found, found_version = manifest["format"], int(manifest["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{file} is damaged ({error}); restore it or start anew.") from error
        if found != format:
            raise StoreError(f"{path} is a {found} folder, but a {format} folder is needed here.")
        if found_version > format_version:
            raise StoreError(
                f"{path} was written by cofire {manifest.get('cofire_version', '?')} in format "
                f"version {found_version}; this cofire ({version('cofire')}) reads up to version "
                f"{format_version}. Upgrade cofire to open it."
            )
        return cls(path, manifest)

    @staticmethod
    def present(path: Path) -> bool:
        """Whether the folder has a manifest."""
        return (path / MANIFEST).is_file()

    def save(self) -> None:
        """Write the manifest."""
        text = json.dumps(self.manifest, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self.path / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))

    def has(self, part: str) -> bool:
        """Whether the part was written completely."""
        return part in self.manifest["parts"] and (self.path / part).is_file()

    def write(self, part: str, write: Callable[[Path], object]) -> None:
        """Write one part and name it in the manifest (``save`` makes that last)."""
        path = self.path / part
        write_atomically(path, write)
        self.manifest["parts"][part] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}

    def file(self, part: str) -> Path:
        """The file of one part, after checking it.

        Raises:
            StoreError: when it is missing or does not match its checksum.
        """
        path = self.path / part
        record = self.manifest["parts"].get(part)
        if record is None or not path.is_file():
            raise StoreError(
                f"{path} is missing: the folder is incomplete. Run the command that made it again; "
                "it goes on where it stopped."
            )
        if path.stat().st_size != record["bytes"] or sha256_of(path) != record["sha256"]:
            raise StoreError(
                f"{path} is corrupted: its checksum differs from the manifest. Delete this file "
                "and run the command that made it again; only this part is made anew."
            )
        return path
