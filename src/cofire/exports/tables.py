"""A site of a run as plain tables: features, contexts, neurons, tokens, concepts, texts, codes.

Codes are in long form, a line a code that is not 0: row, text_id, position, token, feature, code.
In CSV, lists (the tokens of a context) are JSON in one cell and a missing value is an empty cell;
tokens are written as they are, so a spreadsheet may take one such as ``=`` for a formula.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import torch

from cofire.exports.folder import write_about
from cofire.exports.source import RunSite
from cofire.progress import SILENT, Progress
from cofire.store.archive import write_atomically
from cofire.store.token_file import token_table

TableForm: TypeAlias = Literal["csv", "parquet"]

_BLOCK_ROWS = 8192

_CODES = pa.schema(
    [
        ("row", pa.int64()),
        ("text_id", pa.int32()),
        ("position", pa.int32()),
        ("token", pa.string()),
        ("feature", pa.int32()),
        ("code", pa.float32()),
    ]
)


def write_tables(
    source: RunSite, folder: Path, form: TableForm, *, progress: Progress = SILENT
) -> None:
    """Write all tables of one site.

    Args:
        source: what to write.
        folder: where, already there.
        form: ``csv`` or ``parquet``.
        progress: shown while working.

    Raises:
        StoreError: when a file cannot be written, or the run is damaged.
    """
    for name, table in _tables(source).items():
        writing = partial(_write, table=table, form=form)
        write_atomically(folder / f"{name}.{form}", writing)
    rows = len(source.tokens)
    with progress.task("Writing codes", rows, "row") as advance:

        def write_codes(path: Path) -> None:
            with _writer(path, _CODES, form) as writer:
                for n_rows, block in _code_blocks(source):
                    writer.write_table(block)
                    advance(n_rows)

        write_atomically(folder / f"codes.{form}", write_codes)
    write_about(folder, {**source.facts(), "rows": rows})


def _tables(source: RunSite) -> dict[str, pa.Table]:
    tables = source.run.tables(source.site)
    labels = pa.array([feature.label for feature in source.features], pa.string())
    features = tables["features"]
    place = features.column_names.index("label")
    tables["features"] = features.set_column(place, "label", labels)
    tables["texts"] = pa.Table.from_pylist(
        [{"text_id": number, **asdict(text)} for number, text in enumerate(source.run.corpus)]
    )
    rows = token_table(source.tokens)
    tables["rows"] = rows.add_column(0, "row", pa.array(range(rows.num_rows), pa.int64()))
    return tables


def _code_blocks(source: RunSite) -> Iterator[tuple[int, pa.Table]]:
    """Tables of the codes that are not 0, and how many rows each is about."""
    tokens, codes = source.tokens, source.codes
    pieces = pa.array(tokens.pieces, pa.string())
    for start in range(0, len(codes), _BLOCK_ROWS):
        block = codes[start : start + _BLOCK_ROWS]
        places = torch.nonzero(block)
        rows = (places[:, 0] + start).numpy()
        columns = [
            pa.array(rows, pa.int64()),
            pa.array(tokens.text_id[rows], pa.int32()),
            pa.array(tokens.position[rows], pa.int32()),
            pieces.take(pa.array(tokens.piece[rows])),
            pa.array(places[:, 1].numpy(), pa.int32()),
            pa.array(block[places[:, 0], places[:, 1]].float().numpy()),
        ]
        yield len(block), pa.table(columns, schema=_CODES)


def _write(path: Path, table: pa.Table, form: TableForm) -> None:
    flat = table if form == "parquet" else _flat(table)
    with _writer(path, flat.schema, form) as writer:
        writer.write_table(flat)


def _writer(path: Path, schema: pa.Schema, form: TableForm) -> Any:
    return pq.ParquetWriter(path, schema) if form == "parquet" else pc.CSVWriter(path, schema)


def _flat(table: pa.Table) -> pa.Table:
    """The table with lists as JSON, and tokens of a dictionary as text."""
    for place, column in enumerate(table.schema):
        if pa.types.is_list(column.type):
            cells = [json.dumps(c, ensure_ascii=False) for c in table.column(place).to_pylist()]
            table = table.set_column(place, column.name, pa.array(cells, pa.string()))
        elif pa.types.is_dictionary(column.type):
            table = table.set_column(place, column.name, table.column(place).cast(pa.string()))
    return table
