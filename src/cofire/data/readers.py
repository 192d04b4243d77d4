"""One reader a file format: an open file in, rows out.

A reader yields a `Record` for every row it can read and a `SkippedRow` for every one it cannot;
what concerns the whole file (no such column, not JSON at all) it raises as `DataError`. All but
JSON, whose format does not allow it, hold one row (Parquet: one batch) in memory at a time.
"""

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from typing import Any, TypeAlias

from cofire.corpus import SkippedRow
from cofire.data.rows import TEXT_COLUMNS, Columns, Record, Row, RowError, described
from cofire.errors import DataError

Reader: TypeAlias = Callable[[BufferedIOBase, str, Columns], Generator[Row]]

_PARQUET_BATCH = 1024  # rows decoded at a time
_CSV_FIELD_LIMIT = 2**31 - 1  # characters; csv's own 131072 is less than a long document


def plain_rows(stream: BufferedIOBase, name: str, columns: Columns) -> Generator[Row]:
    """Plain text, one text a line; blank lines are passed over."""
    _refuse_columns(columns, name, "is plain text")
    for line in _lines(stream):
        source = f"{name}:{line.number}"
        if line.problem is not None:
            yield SkippedRow(source, line.problem)
        elif line.text.strip():
            yield Record(source, {"text": line.text.rstrip("\r\n")})


def jsonl_rows(stream: BufferedIOBase, name: str, columns: Columns) -> Generator[Row]:
    """JSON Lines, one object a line; blank lines are passed over."""
    for line in _lines(stream):
        source = f"{name}:{line.number}"
        if line.problem is not None:
            yield SkippedRow(source, line.problem)
        elif line.text.strip():
            try:
                value = _json(line.text)
            except (ValueError, RecursionError) as error:
                yield SkippedRow(source, f"is not JSON ({_json_problem(error)})")
            else:
                yield _json_row(value, source)


def json_rows(stream: BufferedIOBase, name: str, columns: Columns) -> Generator[Row]:
    """A JSON list of objects, or an object that maps concepts to lists of sentences."""
    content = stream.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from behind a byte order mark.
        start = error.start + len(content) - len(error.object)
        line = content.count(b"\n", 0, start) + 1
        raise DataError(f"{name}:{line}: {_utf8_problem(error, start)}.") from error
    if not text.strip():
        return
    try:
        value = _json(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        hint = "; one object a line is called .jsonl" if "Extra data" in str(error) else ""
        raise DataError(f"{name}:{line}: is not JSON ({_json_problem(error)}){hint}.") from error
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield _json_row(item, f"{name}:[{index}]")
    elif isinstance(value, dict):
        yield from _concept_rows(value, name, columns)
    else:
        raise DataError(
            f"{name} must hold a list of objects, or an object of concepts with lists of "
            f"sentences; found {described(value)}."
        )


def csv_rows(
    stream: BufferedIOBase, name: str, columns: Columns, *, delimiter: str = ","
) -> Generator[Row]:
    """A table with a header row; a field in double quotes may hold line breaks."""
    problems: list[SkippedRow] = []  # bad bytes among the lines of the row being read

    def decoded() -> Iterator[str]:
        for line in _lines(stream):
            if line.problem is not None:
                problems.append(SkippedRow(f"{name}:{line.number}", line.problem))
            yield line.text

    csv.field_size_limit(max(_CSV_FIELD_LIMIT, csv.field_size_limit()))  # one for the process
    table = csv.reader(decoded(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        source = f"{name}:{table.line_num + 1}"
        problems.clear()
        row: Row | None = None
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            row = SkippedRow(source, f"is not a readable table row ({error})")
        else:
            if not cells:
                continue
            if header is not None and len(cells) == len(header):
                row = Record(source, dict(zip(header, cells, strict=True)))
            elif header is not None:
                row = SkippedRow(source, f"has {len(cells)} fields, the header names {len(header)}")
        if problems:
            row = problems[0]
        if row is not None and header is None:
            raise DataError(f"{row}.")
        if row is not None:
            yield row
        else:
            header = _header(cells, name, columns)


def parquet_rows(stream: BufferedIOBase, name: str, columns: Columns) -> Generator[Row]:
    """A Parquet table; only the columns in use are read. Rows are counted from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(stream) as file:
            found = find_columns(columns, file.schema_arrow.names, name)
            wanted = list(dict.fromkeys(found.values()))
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH, columns=wanted):
                values = [batch.column(column) for column in wanted]
                for index in range(batch.num_rows):
                    number += 1
                    source = f"{name}:{number}"
                    try:
                        cells = [value[index].as_py() for value in values]
                    except UnicodeDecodeError as error:
                        yield SkippedRow(source, _utf8_problem(error, error.start))
                    else:
                        yield Record(source, dict(zip(wanted, cells, strict=True)))
    except (pa.ArrowException, OSError) as error:
        place = f"{name}:{number + 1}" if number else name
        raise DataError(f"{place}: is not readable as Parquet ({one_line(error)}).") from error


READERS: dict[str, Reader] = {
    ".txt": plain_rows,
    ".md": plain_rows,
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": partial(csv_rows, delimiter="\t"),
    ".parquet": parquet_rows,
}
"""The reader of each file name ending."""


def find_columns(columns: Columns, names: list[str], name: str) -> dict[str, str]:
    """`Columns.find` for a source whose columns are known before its first row.

    Raises:
        DataError: when a column is missing, stands twice, or the choice is not clear.
    """
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise DataError(f"{name}: has two columns called {twice[0]!r}; rename one.")
    try:
        return columns.find(names)
    except RowError as error:
        raise DataError(f"{name}: {error}.") from error


def one_line(error: object, limit: int = 300) -> str:
    """The message of a foreign error, on one line, without a full stop and not too long."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= limit else text[:limit] + "..."


@dataclass(frozen=True)
class _Line:
    number: int  # from 1
    text: str  # line break included
    problem: str | None  # why the bytes are not UTF-8; text then holds stand-ins for them


def _lines(stream: BufferedIOBase) -> Iterator[_Line]:
    offset = 0
    for number, raw in enumerate(stream, start=1):
        body = raw.removeprefix(BOM_UTF8) if number == 1 else raw
        try:
            yield _Line(number, body.decode(), None)
        except UnicodeDecodeError as error:
            position = offset + len(raw) - len(body) + error.start
            text = body.decode(errors="surrogateescape")
            yield _Line(number, text, _utf8_problem(error, position))
        offset += len(raw)


def _utf8_problem(error: UnicodeDecodeError, position: int) -> str:
    byte = error.object[error.start]
    return f"byte 0x{byte:02x} at position {position} is not UTF-8; save the text as UTF-8"


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise ValueError(f"the key {key!r} stands twice in one object")
        record[key] = value
    return record


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return one_line(error)


def _json_row(value: Any, source: str) -> Row:
    if isinstance(value, dict):
        return Record(source, value)
    return SkippedRow(
        source, f'must be an object such as {{"text": "..."}}, found {described(value)}'
    )


def _concept_rows(concepts: dict[str, Any], name: str, columns: Columns) -> Generator[Row]:
    _refuse_columns(columns, name, "maps concepts to sentences")
    for column in TEXT_COLUMNS:
        if column in concepts:
            raise DataError(
                f"{name}: the key {column!r} looks like a column, not like a concept; write a "
                "list of objects, or an object of concepts with lists of sentences."
            )
    for concept, sentences in concepts.items():
        if not isinstance(sentences, list):
            yield SkippedRow(
                f"{name}:{concept}", f"must be a list of sentences, found {described(sentences)}"
            )
            continue
        for index, sentence in enumerate(sentences):
            yield Record(f"{name}:{concept}[{index}]", {"text": sentence, "label": concept})


def _header(cells: list[str], name: str, columns: Columns) -> list[str]:
    header = [cell.strip() for cell in cells]
    find_columns(columns, header, name)
    return header


def _refuse_columns(columns: Columns, name: str, why: str) -> None:
    if columns != Columns():
        raise DataError(
            f"{name} {why} and has no columns to choose; drop text_column and label_column."
        )
