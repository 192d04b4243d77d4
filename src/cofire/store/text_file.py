"""The texts of a corpus as a Parquet file, the same in activation stores and runs."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cofire.corpus import Corpus, SkippedRow, Text
from cofire.errors import StoreError
from cofire.store.archive import Archive

TEXTS = "texts.parquet"

_SCHEMA = pa.schema([(field.name, pa.string()) for field in fields(Text)])


def text_writer(corpus: Corpus) -> Callable[[Path], object]:
    """What writes the texts, for ``Archive.write``: a column a field of ``Text``."""
    table = pa.Table.from_pylist([asdict(text) for text in corpus], schema=_SCHEMA)
    return partial(pq.write_table, table)


def read_texts(archive: Archive, skipped: Iterable[SkippedRow] = ()) -> Corpus:
    """Read what ``text_writer`` wrote.

    Args:
        archive: the folder.
        skipped: rows of the source that were left out, for ``Corpus.skipped``.

    Raises:
        StoreError: when the texts are missing or damaged.
    """
    table = pq.read_table(archive.file(TEXTS))
    missing = set(_SCHEMA.names) - set(table.column_names)
    if missing:
        raise StoreError(
            f"{archive.path / TEXTS} has no column {min(missing)}: another version of cofire wrote "
            "it. Run the command that made the folder again, into a new folder."
        )
    return Corpus((Text(**row) for row in table.select(_SCHEMA.names).to_pylist()), skipped=skipped)


def restore_texts(archive: Archive, corpus: Corpus) -> bool:
    """Write the texts again when they are missing or damaged; tells whether they were.

    Raises:
        StoreError: when the folder was begun with other texts.
    """
    known = archive.manifest.get("corpus") or {}
    if known.get("sha256") != corpus.fingerprint:
        raise StoreError(
            f"{archive.path} was begun with other texts; choose another folder with -o, or remove "
            "it."
        )
    try:
        archive.file(TEXTS)
    except StoreError:
        archive.write(TEXTS, text_writer(corpus))
        archive.save()
        return True
    return False
