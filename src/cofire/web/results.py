"""Results that other commands left in runs or in folders of their own; unknown ones are absent.

A result is a folder of JSON documents and Parquet tables: ``RUN/KIND``, ``RUN/KIND/SITE``, or a
folder whose manifest says ``cofire-KIND``; or one file of a run, ``structure/KIND-NAME.json`` or
``trees/SITE/NAME.json``. Nothing else is ever read.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cofire.interpret.wording import readable
from cofire.site import Site
from cofire.store.archive import MANIFEST
from cofire.web.records.results import DocumentCard, DocumentContent, ResultCard, TableContent
from cofire.web.refusals import UnknownError, UnreadableError
from cofire.web.stored_trees import with_parents

_MOST_JSON = 32 * 1024**2
"""Bytes of a JSON document that is given whole."""

_LINES_OF_A_FEATURE = 200
_FORMAT = re.compile(r"cofire-([a-z]{1,20})")
_NOT_RESULTS = ("run", "activations", "cell", "labels")
_ENDINGS = {".json": "json", ".parquet": "table"}
_READING_ERRORS = (OSError, ValueError, pa.ArrowException, RecursionError)
_STRUCTURE, _TREES = "structure", "trees"


@dataclass(frozen=True)
class _Place:
    """A result: its name in addresses, the folder it lies in, and its files."""

    name: str
    folder: Path
    files: tuple[Path, ...]


class Results:
    """Finds results and gives their documents.

    Args:
        paths: folders that may be, or hold, results of their own.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [path for path in paths if path.is_dir()]

    def cards(self, kind: str, runs: Mapping[str, Path]) -> list[ResultCard]:
        """All results of one kind.

        Args:
            kind: such as ``tree``.
            runs: folders of the runs by their keys.
        """
        found = [
            _card(place, kind, key)
            for key, path in runs.items()
            for place in _in_run(path, kind, key)
        ]
        return found + [
            _card(place, kind, None) for place in self._alone() if _kind(place.folder) == kind
        ]

    def document(
        self,
        kind: str,
        result: str,
        document: str,
        runs: Mapping[str, Path],
        *,
        offset: int,
        limit: int,
        where: Mapping[str, int],
    ) -> DocumentContent | TableContent:
        """One document, or some lines of a table.

        Args:
            kind: of the result.
            result: its name.
            document: name of the document.
            runs: as for ``cards``.
            offset: lines to skip.
            limit: lines to give.
            where: only lines with these whole numbers in these columns; other columns are ignored.

        Raises:
            UnknownError: when there is none of this name.
            UnreadableError: when it cannot be read.
        """
        places = [p for key, path in runs.items() for p in _in_run(path, kind, key)]
        places += [place for place in self._alone() if _kind(place.folder) == kind]
        for place in places:
            for file in place.files if place.name == result else ():
                if _document_name(place, file) == document:
                    return _content(result, document, file, offset, limit, where)
        raise UnknownError(f"There is no {document!r} in {result!r} here; /{kind}.json lists all.")

    def _alone(self) -> Iterator[_Place]:
        taken: set[str] = set()
        for path in self._paths:
            folders = [path, *(manifest.parent for manifest in sorted(path.glob(f"*/{MANIFEST}")))]
            for folder in folders:
                if _kind(folder) is None:
                    continue
                name, number = _slug(folder.resolve().name), 2
                while name in taken:
                    name, number = f"{_slug(folder.resolve().name)}-{number}", number + 1
                taken.add(name)
                yield _Place(name, folder, tuple(_documents(folder)))


def lines_of_feature(path: Path, site: Site, feature: int) -> dict[str, list[dict[str, Any]]]:
    """Lines about one feature in the tables that commands added to a run, by ``KIND/TABLE``.

    Tables that cannot be read are left out: the feature is shown without them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(path.glob(f"*/{site.name}/*.parquet")):
        try:
            if not _inside(path, file) or "feature" not in pq.read_schema(file).names:
                continue
            table = pq.read_table(file, filters=pc.field("feature") == feature)
        except _READING_ERRORS:
            continue
        if table.num_rows:
            lines = table.slice(0, _LINES_OF_A_FEATURE).to_pylist()
            found[f"{file.parent.parent.name}/{file.stem}"] = [_shown(line) for line in lines]
    return found


def kinds_of_run(path: Path) -> list[str]:
    """Kinds of results that stand in a run's folder."""
    try:
        names = sorted(folder.name for folder in path.iterdir() if folder.is_dir())
    except OSError:
        return []
    return [name for name in names if any(_in_run(path, name, ""))]


def _is_site(name: str) -> bool:
    return name.startswith("blocks.")


def _in_run(path: Path, kind: str, key: str) -> Iterator[_Place]:
    yield from _files_of_run(path, kind, key)
    folder = path / kind
    if _is_site(kind) or not folder.is_dir() or not _inside(path, folder):
        return
    if files := tuple(_documents(folder)):
        yield _Place(key, folder, files)
    for below in sorted(folder.glob("*/")):
        if below.is_dir() and _inside(path, below) and (files := tuple(_documents(below))):
            yield _Place(f"{key}~{_slug(below.name)}", below, files)


def _files_of_run(path: Path, kind: str, key: str) -> Iterator[_Place]:
    """Results of one file each: what features share, where they go, and their trees."""
    pattern = f"{_TREES}/*/*.json" if kind == "tree" else f"{_STRUCTURE}/{kind}-*.json"
    for file in sorted(path.glob(pattern)):
        if file.is_file() and _inside(path, file):
            parts = file.relative_to(path).with_suffix("").parts[1:]
            yield _Place("~".join([key, *map(_slug, parts)]), file.parent, (file,))


def _documents(folder: Path) -> Iterator[Path]:
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


def _document_name(place: _Place, file: Path) -> str:
    stem = _slug(file.stem)
    same = [other for other in place.files if _slug(other.stem) == stem]
    return stem if same[0] == file else f"{stem}~{same.index(file) + 1}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=+-]", "-", name)[:100] or "-"


def _kind(folder: Path) -> str | None:
    """The kind of a folder of its own, None when it is no result."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        match = _FORMAT.fullmatch(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if match is None or match[1] in _NOT_RESULTS else match[1]


def _card(place: _Place, kind: str, run: str | None) -> ResultCard:
    documents, problem = [], None
    for file in place.files:
        try:
            documents.append(_document_card(place, file))
        except _READING_ERRORS:
            problem = f"{file} cannot be read; run the command that made it again."
    return ResultCard(
        result=place.name,
        kind=kind,
        run=run,
        path=str(place.folder),
        created=_created(place.folder),
        documents=documents,
        problem=problem,
    )


def _document_card(place: _Place, file: Path) -> DocumentCard:
    table = None if file.suffix == ".json" else pq.read_metadata(file)
    columns = None if table is None else table.schema.to_arrow_schema().names
    return DocumentCard(
        document=_document_name(place, file),
        file=file.name,
        type="json" if table is None else "table",
        rows=None if table is None else table.num_rows,
        columns=None if columns is None else [readable(name) for name in columns],
        bytes=file.stat().st_size,
    )


def _created(folder: Path) -> str | None:
    try:
        created = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("created")
    except (OSError, ValueError, AttributeError):
        return None
    return created if isinstance(created, str) else None


def _content(
    result: str, document: str, file: Path, offset: int, limit: int, where: Mapping[str, int]
) -> DocumentContent | TableContent:
    try:
        if file.suffix == ".json":
            if file.stat().st_size > _MOST_JSON:
                raise UnreadableError(f"{file.name} is too large to be shown; open it yourself.")
            text = file.read_text(encoding="utf-8")
            content = _shown(with_parents(file, json.loads(text, parse_constant=lambda _: None)))
            return DocumentContent(result=result, document=document, content=content)
        table = pq.read_table(file)
    except _READING_ERRORS as error:
        raise UnreadableError(
            f"{file.name} is damaged or just being written; run the command that made it again."
        ) from error
    for column, number in where.items():
        if column in table.column_names and pa.types.is_integer(table[column].type):
            table = table.filter(pc.equal(table[column], number))
    return TableContent(
        result=result,
        document=document,
        columns=[readable(name) for name in table.column_names],
        found=table.num_rows,
        offset=offset,
        limit=limit,
        rows=[_shown(row) for row in table.slice(offset, limit).to_pylist()],
    )


def _shown(value: Any) -> Any:
    """The value with strings that can be looked at, and null for what is no number."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {readable(str(name)): _shown(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return value if isinstance(value, int | bool | None) else readable(str(value))
