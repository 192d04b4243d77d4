"""A folder of checksummed parts under a manifest: the ground of runs and activation stores.

Every file is written under a temporary name, flushed to disk and renamed, and only then named in
the manifest with its checksum. A folder gets its manifest when it is usable: the parts it cannot do
without are there before. Until then it holds the file ``.cofire-begun``, by which a folder that a
kill left half made is told from one with a user's own files. So a kill at any moment leaves a
folder that the same command goes on with.
"""

import errno
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cofire.errors import StoreError

MANIFEST = "manifest.json"

_BEGUN = ".cofire-begun"
_TEMPORARY = re.compile(r"\..+\.(?P<process>\d+)(?:@(?P<host>.+))?\.tmp")
_STALE_SECONDS = 3600  # no file takes an hour to write


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and rename it.

    Raises:
        StoreError: when the disk is full or the folder cannot be written; ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}@{_host()}.tmp")
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


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node()) or "-"


def _left_behind(path: Path) -> bool:
    """Whether a file is a temporary one of a process that is gone, or an hour old."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    try:
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            return True
    except OSError:  # its process has just renamed or removed it
        return False
    # Folders are shared between machines; of another one's processes only the age is known.
    return match["host"] in (None, _host()) and not _alive(int(match["process"]))


def _alive(process: int) -> bool:
    if os.name == "nt":  # there os.kill ends a process whatever the signal: go by the age alone
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to somebody else, or is no number of a process
        return True
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed processes left, as far as the folder allows it."""
    with suppress(OSError):
        for pattern in (".*.tmp", "*/.*.tmp"):
            for path in folder.glob(pattern):
                if _left_behind(path):
                    with suppress(OSError):
                        path.unlink()


def _free_for(path: Path, parts: Iterable[str]) -> bool:
    """Whether an archive may be begun here: nothing there, or only what a killed begin left."""
    if not path.exists():
        return True
    if not path.is_dir():
        return False
    names = {file.name for file in path.iterdir() if not _TEMPORARY.fullmatch(file.name)}
    return not names or (_BEGUN in names and names <= {_BEGUN, *parts})


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


def damaged(folder: Path, what: str) -> StoreError:
    """The error of a manifest that cannot be used."""
    return StoreError(f"{folder / MANIFEST} is damaged ({what}); restore it or start anew.")


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
        cls,
        path: Path,
        *,
        format: str,
        format_version: int,
        header: Mapping[str, Any],
        parts: Mapping[str, Callable[[Path], object]] = MappingProxyType({}),
    ) -> "Archive":
        """Start a new archive, or start one again that was killed before it had a manifest.

        Args:
            path: the folder.
            format: name of the format.
            format_version: its version.
            header: further entries of the manifest, as plain JSON values.
            parts: parts the folder cannot do without, each with what writes it; they are there
                before the manifest is.

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        if not _free_for(path, parts):
            raise StoreError(
                f"{path} exists and is no {format} folder; choose another output folder with -o, "
                "or remove it."
            )
        _sweep(path)
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
        write_atomically(path / _BEGUN, lambda file: file.write_text(format, encoding="utf-8"))
        for part, write in parts.items():
            archive.write(part, write)
        archive.save()
        with suppress(OSError):
            (path / _BEGUN).unlink()
        return archive

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        format: str,
        format_version: int,
        required: Mapping[str, type] = MappingProxyType({}),
    ) -> "Archive":
        """Open an archive of this format, of this or an older version.

        Files that a killed process left half written are removed.

        Args:
            path: the folder.
            format: name of the format.
            format_version: newest version that can be read.
            required: entries that the manifest must have, with the type of each.

        Raises:
            StoreError: when there is none, its manifest is damaged, or it is of a newer version.
        """
        file = path / MANIFEST
        if not path.exists():
            raise StoreError(f"{path} is no {format} folder: there is no such folder.")
        if not file.is_file():
            raise StoreError(f"{path} is no {format} folder: it has no {MANIFEST}.")
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            found, found_version = manifest["format"], int(manifest["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, str(error)) from error
        except OSError as error:
            raise StoreError(f"Cannot read {file}: {error.strerror or error}.") from error
        if found != format:
            raise StoreError(f"{path} is a {found} folder, but a {format} folder is needed here.")
        if found_version > format_version:
            raise StoreError(
                f"{path} was written by cofire {manifest.get('cofire_version', '?')} in format "
                f"version {found_version}; this cofire ({version('cofire')}) reads up to version "
                f"{format_version}. Upgrade cofire to open it."
            )
        for key, kind in {"parts": dict, **required}.items():
            if not isinstance(manifest.get(key), kind):
                raise damaged(path, f"it has no proper {key!r}")
        for part, record in manifest["parts"].items():
            if not isinstance(record, dict) or not {"sha256", "bytes"} <= set(record):
                raise damaged(path, f"it has no checksum of {part}")
        _sweep(path)
        with suppress(OSError):
            (path / _BEGUN).unlink(missing_ok=True)
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
        """Write one part and name it in the manifest (``save`` makes that last).

        A part that is written anew is named no more just before it is replaced, so that a kill
        before ``save`` leaves it to be made again rather than corrupted.
        """
        path = self.path / part

        before = self.manifest["parts"].get(part)

        def write_and_forget(file: Path) -> None:
            write(file)
            if self.manifest["parts"].pop(part, None) is not None:
                self.save()

        try:
            write_atomically(path, write_and_forget)
        except BaseException:
            if before is not None and part not in self.manifest["parts"]:
                self.manifest["parts"][part] = before
                self.save()
            raise
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
