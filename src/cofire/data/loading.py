"""Load texts from a file, standard input, the bundled corpus or a dataset hub."""

import gzip
import logging
import os
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cofire.corpus import Corpus, SkippedRow, Split, Text
from cofire.data.heldout import check_amount, hold_out
from cofire.data.hub import HUB_PREFIX, HubDataset, hub_rows, looks_like_hub_id
from cofire.data.readers import READERS, Reader, jsonl_rows, one_line, plain_rows
from cofire.data.rows import Columns, Row, RowError, text_of
from cofire.errors import DataError, InputError

OnError: TypeAlias = Literal["raise", "skip"]

BUNDLED = "concepts"
"""The source that means the bundled corpus."""

STDIN = "-"
"""The source that means standard input."""

_logger = logging.getLogger(__name__)


def load_corpus(
    source: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    split: Split | None = None,
    heldout: int | float | None = None,
    seed: int = 0,
    limit: int | None = None,
    on_error: OnError = "raise",
) -> Corpus:
    """Read texts, with their labels and splits where the source has them.

    Sources:

    - ``concepts``: the bundled corpus, see `bundled_concepts`.
    - a file, by its ending: ``.txt``, ``.md`` (a text a line); ``.jsonl``, ``.ndjson`` (an object a
      line); ``.json`` (a list of objects, or an object that maps concepts to lists of sentences);
      ``.csv``, ``.tsv`` (with a header row); ``.parquet``. All but Parquet also as ``.gz``. UTF-8.
    - ``-``: plain text on standard input.
    - ``owner/name``, ``owner/name:CONFIG`` or ``owner/name:CONFIG:SPLIT``: a Hugging Face dataset,
      streamed (extra ``hub``); SPLIT is the dataset's own split, ``train`` unless named. Ids of
      another form, and dataset folders, are written ``hf:ID``.

    A row has a ``text`` or ``prompt`` and may have a ``label``, ``group``, ``detail`` and ``split``
    (``train`` or ``heldout``, as in `Text`); other columns are left alone. The label ``neutral`` is
    reserved: it is no concept, and texts labelled neutral only serve as negatives of every concept.
    A text without any label may be about anything, so it counts neither for nor against a concept.
    Lines and rows are counted from 1 in `Text.source`, places in brackets from 0. Rows are read one
    by one and reading stops at the limit; only ``.json`` files are read whole.

    Args:
        source: where the texts are. A path object always means a file.
        text_column: the column of the text, when it is not ``text`` or ``prompt``.
        label_column: the column of the label, when it is not ``label``.
        split: keep the texts of this split only.
        heldout: texts to hold out of each label when the source does not say itself: a whole
            number, or a fraction between 0 and 1; see `hold_out`.
        seed: decides which ones.
        limit: stop after so many texts. Counted before ``heldout`` chooses among them, but after
            ``split`` when the source marks its splits itself.
        on_error: what a row that cannot be used does: ``raise`` an error, or ``skip`` it, which
            names it in `Corpus.skipped` and logs a warning.

    Raises:
        InputError: when an argument is outside what is described here.
        DataError: when the source cannot be read, has no texts, or has a row that cannot be used.
    """
    _check_options(split, heldout, limit, on_error)
    columns = Columns(text_column, label_column)
    name, rows = _open_rows(source, columns)
    with closing(rows):
        texts, skipped = _read(
            rows, columns, limit, on_error, None if heldout is not None else split
        )
    if skipped:
        _logger.warning("Skipped %d rows of %s, the first: %s.", len(skipped), name, skipped[0])
    corpus = Corpus(texts, skipped=skipped)
    if heldout is not None:
        corpus = hold_out(corpus, heldout, seed=seed)
    if split is not None:
        corpus = Corpus((text for text in corpus if text.split == split), skipped=skipped)
    if not corpus:
        raise DataError(_nothing_left(name, split, skipped))
    return corpus


def bundled_concepts(split: Split | None = None) -> Corpus:
    """The labelled sentences that come with cofire.

    English sentences written for cofire, by concept, some of each held out; and neutral ones (label
    ``neutral``) that are about none of the concepts.

    Args:
        split: keep the texts of this split only.
    """
    return load_corpus(BUNDLED, split=split)


def _check_options(
    split: str | None, heldout: int | float | None, limit: int | None, on_error: str
) -> None:
    if split is not None and split not in get_args(Split):
        raise InputError(f"split must be train or heldout; got {split!r}.")
    if heldout is not None:
        check_amount(heldout)
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more texts; got {limit}.")
    if on_error not in get_args(OnError):
        raise InputError(f"on_error must be raise or skip; got {on_error!r}.")


def _read(
    rows: Iterable[Row], columns: Columns, limit: int | None, on_error: OnError, split: Split | None
) -> tuple[list[Text], list[SkippedRow]]:
    texts: list[Text] = []
    skipped: list[SkippedRow] = []
    for row in rows:
        try:
            text = _text(row, columns)
        except RowError as error:
            problem = SkippedRow(row.source, str(error))
            if on_error == "raise":
                raise DataError(f"{problem}.") from error
            skipped.append(problem)
            continue
        if split is None or text.split == split:
            texts.append(text)
            if len(texts) == limit:
                break
    return texts, skipped


def _text(row: Row, columns: Columns) -> Text:
    if isinstance(row, SkippedRow):
        raise RowError(row.reason)
    return text_of(row, columns)


def _nothing_left(name: str, split: str | None, skipped: list[SkippedRow]) -> str:
    if skipped:
        return f"{name} has no usable row: {len(skipped)} were skipped, the first: {skipped[0]}."
    if split is not None:
        return f"{name} has no {split} texts; mark some in a split column, or hold some out."
    return f"{name} holds no texts."


def _open_rows(source: str | os.PathLike[str], columns: Columns) -> tuple[str, Generator[Row]]:
    if isinstance(source, str):
        if source == BUNDLED:
            resource = resources.files("cofire.data") / "concepts.jsonl"
            name = resource.name
            return name, _stream_rows(lambda: resource.open("rb"), jsonl_rows, name, columns)
        if source == STDIN:
            stdin = nullcontext(sys.stdin.buffer)  # not ours to close
            return "stdin", _stream_rows(lambda: stdin, plain_rows, "stdin", columns)
        if _is_hub(source):
            dataset = HubDataset.parse(source)
            return dataset.name, hub_rows(dataset, columns)
    path = Path(source).expanduser()
    name = str(source)
    reader = _reader(path, name)
    packed = path.suffix.lower() == ".gz"
    opener = partial(gzip.open, path) if packed else partial(path.open, "rb")
    return name, _stream_rows(opener, reader, name, columns)


def _is_hub(source: str) -> bool:
    if source.startswith(HUB_PREFIX):
        return True
    path = Path(source)
    # A known ending, or a folder that exists, says that a missing file is meant.
    is_file = os.path.exists(path) or path.parent.is_dir() or _ending(path) in READERS
    return looks_like_hub_id(source) and not is_file


def _ending(path: Path) -> str:
    stem = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return stem.suffix.lower()


def _reader(path: Path, name: str) -> Reader:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"There is no file {name}; a source is 'concepts', a file, '-' for standard input, "
            "or a Hugging Face dataset such as owner/name."
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            f"{name} is a folder; give one file, or hf:{name} when it is a dataset folder."
        )
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise DataError(f"{name} is empty.")
    ending = _ending(path)
    packed_table = ending == ".parquet" and path.suffix.lower() == ".gz"
    if ending not in READERS or packed_table:
        raise DataError(
            f"{name}: cannot tell the format from the ending {''.join(path.suffixes)!r}; "
            f"known are {', '.join(READERS)}, all but .parquet also with .gz."
        )
    return READERS[ending]


def _stream_rows(
    open_stream: Callable[[], AbstractContextManager[Any]],
    reader: Reader,
    name: str,
    columns: Columns,
) -> Generator[Row]:
    try:
        with open_stream() as stream:
            yield from reader(stream, name, columns)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return DataError(f"Cannot read {name}: {one_line(reason)}.")
