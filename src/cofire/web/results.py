"""Results of other commands as pages get them: what there is, JSON documents, lines of tables."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cofire.errors import CofireError
from cofire.interpret.wording import readable
from cofire.site import Site
from cofire.web.growing import Growing, growing
from cofire.web.records import LoneResult
from cofire.web.records.results import DocumentCard, DocumentContent, ResultCard, TableContent
from cofire.web.refusals import UnknownError, UnreadableError
from cofire.web.result_places import (
    ALONE,
    IN_RUNS,
    Place,
    manifest_of,
    results_alone,
    results_of_run,
)
from cofire.web.stored_trees import is_tree, read_tree

_PAGES: dict[str, Literal["weights", "comparisons", "path"]] = {
    "weights": "weights",
    "compare": "comparisons",  # /compare is another page
    "path": "path",
}

_MOST_JSON = 32 * 1024**2
"""Bytes of a JSON document that is given whole."""

_LINES_OF_A_FEATURE = 200
_READING_ERRORS = (OSError, ValueError, KeyError, TypeError, pa.ArrowException, RecursionError)


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
        return [_card(place) for place in self._places(kind, runs)]

    def alone(self) -> list[LoneResult]:
        """Results that are of no run."""
        return [
            LoneResult(page=_PAGES[kind], result=place.name, path=str(place.folder))
            for kind in ALONE
            for place in results_alone(self._paths, kind)
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
        place = next((one for one in self._places(kind, runs) if one.name == result), None)
        try:
            found = None if place is None else _content(place, document)
        except CofireError as error:
            raise UnreadableError(str(error)) from error
        except _READING_ERRORS as error:
            raise UnreadableError(
                f"{document} of {result} is damaged or just being written; run the command that "
                "made it again."
            ) from error
        if found is None:
            raise UnknownError(
                f"There is no {document!r} in {result!r} here; /{kind}.json lists all."
            )
        if isinstance(found, pa.Table):
            return _lines(result, document, found, offset, limit, where)
        return DocumentContent(result=result, document=document, content=_shown(found))

    def _places(self, kind: str, runs: Mapping[str, Path]) -> Iterator[Place]:
        for key, path in runs.items():
            yield from results_of_run(path, kind, key)
        yield from results_alone(self._paths, kind)


def lines_of_feature(path: Path, site: Site, feature: int) -> dict[str, list[dict[str, Any]]]:
    """Lines about one feature in the tables that commands added to a run, by ``KIND/TABLE``.

    Tables that cannot be read are left out: the feature is shown without them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(path.glob(f"*/{site.name}/*.parquet")):
        inside = file.resolve().is_relative_to(path.resolve())
        try:
            if not inside or "feature" not in pq.read_schema(file).names:
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
    return [kind for kind in IN_RUNS if any(results_of_run(path, kind, ""))]


def _card(place: Place) -> ResultCard:
    documents = []
    found, problem = _found_of(place)
    for name, file in place.files.items():
        try:
            documents.append(_document_card(name, file, place.folder))
        except _READING_ERRORS:
            problem = f"{file} cannot be read; run the command that made it again."
    for name in found.tables:
        if name not in place.files:
            unwritten = DocumentCard(
                document=name, file=None, type="table", rows=None, columns=None, bytes=None
            )
            documents.append(unwritten)
    created = manifest_of(place.folder).get("created")
    return ResultCard(
        result=place.name,
        kind=place.kind,
        run=place.run,
        path=str(place.folder),
        created=created if isinstance(created, str) else None,
        finished=found.finished,
        documents=documents,
        problem=problem,
    )


def _found_of(place: Place) -> tuple[Growing, str | None]:
    """What the folder says of its progress, and why it does not."""
    try:
        return growing(place.folder, place.kind), None
    except CofireError as error:
        return Growing(), str(error)


def _document_card(name: str, file: Path, folder: Path) -> DocumentCard:
    table = None if file.suffix == ".json" else pq.read_metadata(file)
    columns = None if table is None else table.schema.to_arrow_schema().names
    return DocumentCard(
        document=name,
        file=file.relative_to(folder).as_posix(),
        type="json" if table is None else "table",
        rows=None if table is None else table.num_rows,
        columns=None if columns is None else [readable(name) for name in columns],
        bytes=file.stat().st_size,
    )


def _content(place: Place, document: str) -> Any:
    """A table, or JSON values; None when there is no such document."""
    file = place.files.get(document)
    if file is None or file.suffix == ".parquet":
        live = _found_of(place)[0].tables.get(document)
        if live is not None:
            return pa.Table.from_pylist(list(live()))
        return None if file is None else pq.read_table(file)
    if is_tree(file):
        return read_tree(file).record
    if file.stat().st_size > _MOST_JSON:
        raise UnreadableError(f"{file.name} is too large to be shown; open it yourself.")
    return json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda _: None)


def _lines(
    result: str,
    document: str,
    table: pa.Table,
    offset: int,
    limit: int,
    where: Mapping[str, int],
) -> TableContent:
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
