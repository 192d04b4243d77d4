"""What all folders that are archives have in common: begun, opened and known by a manifest."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from cofire.store.archive import Archive

FolderType = TypeVar("FolderType", bound="ArchiveFolder")


class ArchiveFolder:
    """A folder of one format. Made by ``create`` of its class, found again by ``open``."""

    format: ClassVar[str]
    format_version: ClassVar[int] = 1
    required: ClassVar[Mapping[str, type]]
    """Entries that a manifest must have, with the type of each."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @classmethod
    def open(cls: type[FolderType], path: Path | str) -> FolderType:
        """Open a folder, finished or not; its parts are checked when they are read.

        Raises:
            StoreError: when it is of another format, is damaged or of a newer version.
        """
        archive = Archive.open(
            Path(path),
            format=cls.format,
            format_version=cls.format_version,
            required=cls.required,
        )
        found = cls(archive)
        found._check()
        return found

    @classmethod
    def _begin(
        cls: type[FolderType],
        path: Path,
        header: Mapping[str, Any],
        parts: Mapping[str, Callable[[Path], object]] = MappingProxyType({}),
    ) -> FolderType:
        archive = Archive.create(
            path,
            format=cls.format,
            format_version=cls.format_version,
            header=header,
            parts=parts,
        )
        return cls(archive)

    def _check(self) -> None:
        """Refuse a manifest whose entries are none of this format's."""

    @staticmethod
    def present(path: Path) -> bool:
        """Whether an archive was begun in this folder."""
        return Archive.present(path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._archive.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Settings, origin, hardware and parts, as plain JSON values."""
        return self._archive.manifest
