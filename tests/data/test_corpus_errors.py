"""What cannot be used is refused, or skipped on request, with the place and the reason."""

import gzip
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cofire.corpus import SkippedRow
from cofire.data import load_corpus
from cofire.errors import DataError, InputError

# content of rows.jsonl's second line, what is said about it
BAD_RECORDS = [
    pytest.param(b"{text: 1}", "is not JSON (Expecting property name", id="not JSON"),
    pytest.param(b'"a"', "must be an object such as", id="not an object"),
    pytest.param(b"[" * 100_000, "nested too deeply", id="deep"),
    pytest.param(b'{"text": "a", "text": "b"}', "'text' stands twice", id="key twice"),
    pytest.param(b'{"words": "a", "id": 1}', "(found 'words', 'id')", id="no text column"),
    pytest.param(b"{}", "(found none)", id="no columns"),
    pytest.param(b'{"text": "a", "prompt": "b"}', "choose one with text_column", id="two texts"),
    pytest.param(b'{"text": 7}', "'text' must be a text, found int 7", id="number"),
    pytest.param(b'{"text": null}', "'text' must be a text, found nothing", id="null"),
    pytest.param(b'{"text": " \\n"}', "'text' is empty", id="blank"),
    pytest.param(b'{"text": "a\\ud800"}', "surrogate pair at character 1", id="surrogate"),
    pytest.param(b'{"text": "a", "label": "\\udfff"}', "'label' holds half of", id="label"),
    pytest.param(b'{"text": "a", "label": 0.5}', "must be a name, found float 0.5", id="float"),
    pytest.param(b'{"text": "a", "group": ["b"]}', "'group' must be a name", id="list"),
    pytest.param(
        b'{"text": "a", "split": "test"}',
        "'split' must be train or heldout, found str 'test'",
        id="split",
    ),
    pytest.param(b'{"text": "caf\xe9"}', "byte 0xe9 at position 30 is not UTF-8", id="bytes"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_RECORDS)
def test_a_bad_json_line_is_named_or_skipped(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line + b'\n{"text": "also"}')
    with pytest.raises(DataError) as caught:
        load_corpus(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    assert reason in message
    assert message.count("\n") == 0

    corpus = load_corpus(path, on_error="skip")
    assert [text.text for text in corpus] == ["good", "also"]
    (skipped,) = corpus.skipped
    assert skipped.source == f"{path}:2"
    assert reason in skipped.reason


BAD_TABLE_ROWS = [
    pytest.param(b"only one", "has 1 fields, the header names 2", id="short"),
    pytest.param(b"a,b,c", "has 3 fields, the header names 2", id="long"),
    pytest.param(b'"a" b,c', "is not a readable table row", id="quotes"),
    pytest.param(b"  ,x", "'text' is empty", id="blank"),
    pytest.param(b'"two\nl\xefnes",x', "byte 0xef at position 24 is not UTF-8", id="bytes"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_TABLE_ROWS)
def test_a_bad_table_row_is_named_or_skipped(tmp_path: Path, row: bytes, reason: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,label\ngood,x\n" + row + b"\nalso,y\n")
    with pytest.raises(DataError) as caught:
        load_corpus(path)
    assert str(caught.value).startswith(f"{path}:")
    assert reason in str(caught.value)
    corpus = load_corpus(path, on_error="skip")
    assert [text.text for text in corpus] == ["good", "also"]
    assert len(corpus.skipped) == 1


def test_an_open_quote_is_reported_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text\ngood\n"never closed\nand on\n')
    with pytest.raises(DataError, match=r"rows\.csv:3: is not a readable table row"):
        load_corpus(path)
    assert len(load_corpus(path, on_error="skip")) == 1


def test_bad_bytes_in_plain_text_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    content = b"\xef\xbb\xbffine\ncaf\xe9\nfine"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"latin\.txt:2: byte 0xe9 at position 11 is not UTF-8"):
        load_corpus(path)
    assert content[11] == 0xE9
    assert len(load_corpus(path, on_error="skip")) == 2


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bad_bytes_in_a_json_file_are_located(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "latin.json"
    content = mark + b'{"a":\n ["caf\xe9"]}'
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"latin\.json:2: byte 0xe9 at position {content.index(0xE9)} is not"
    ):
        load_corpus(path, on_error="skip")


def test_a_bad_parquet_row_is_named_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    broken = pa.array([b"good", b"caf\xe9", b"also"]).view(pa.string())
    pq.write_table(pa.table({"text": broken, "n": [1, 2, 3]}), path)
    with pytest.raises(DataError, match=r"rows\.parquet:2: byte 0xe9 at position 3 is not UTF-8"):
        load_corpus(path)
    corpus = load_corpus(path, on_error="skip")
    assert [text.text for text in corpus] == ["good", "also"]
    with pytest.raises(DataError, match=r"rows\.parquet:1: 'n' must be a text, found int 1"):
        load_corpus(path, text_column="n")


def test_bad_items_of_a_json_list_and_mapping_are_named(tmp_path: Path) -> None:
    listed = tmp_path / "list.json"
    listed.write_text('[{"text": "good"}, "a", {"text": ""}]')
    assert [row.source for row in load_corpus(listed, on_error="skip").skipped] == [
        f"{listed}:[1]",
        f"{listed}:[2]",
    ]
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"animal": ["A cat.", 3], "food": "Bread."}')
    corpus = load_corpus(mapping, on_error="skip")
    assert [text.text for text in corpus] == ["A cat."]
    assert corpus.skipped == (
        SkippedRow(f"{mapping}:animal[1]", "'text' must be a text, found int 3"),
        SkippedRow(f"{mapping}:food", "must be a list of sentences, found str 'Bread.'"),
    )


def test_skipping_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{}\n[]\n')
    with caplog.at_level(logging.WARNING, "cofire"):
        load_corpus(path, on_error="skip")
    (message,) = caplog.messages
    assert message.startswith(f"Skipped 2 rows of {path}, the first: {path}:2: has no 'text'")


# file name, content, what is said about the file
BAD_FILES = [
    pytest.param("a.txt", b"", "is empty", id="empty"),
    pytest.param("a.txt", b"\n  \n", "holds no texts", id="blank"),
    pytest.param("a.json", b" \n", "holds no texts", id="blank json"),
    pytest.param("a.json", b"[]", "holds no texts", id="empty list"),
    pytest.param("a.csv", b"text,label\n", "holds no texts", id="header only"),
    pytest.param("a.txt.gz", gzip.compress(b""), "holds no texts", id="empty gzip"),
    pytest.param("a.json", b'{"a": [1,\n}', ":2: is not JSON (Expecting value", id="bad json"),
    pytest.param(
        "a.json", b'{"text": "a"}\n{"text": "b"}', "one object a line is called .jsonl", id="lines"
    ),
    pytest.param("a.json", b'{"a": ["x"], "a": ["y"]}', "'a' stands twice", id="concept twice"),
    pytest.param("a.json", b'"text"', "must hold a list of objects, or an object", id="string"),
    pytest.param("a.json", b'{"text": ["a"]}', "looks like a column", id="columns"),
    pytest.param("a.csv", b"a;b\nc;d\n", "column (found 'a;b')", id="semicolons"),
    pytest.param("a.csv", b"text,label,label\n", "two columns called 'label'", id="twice"),
    pytest.param("a.csv", b"text,prompt\na,b\n", "choose one with text_column", id="both"),
    pytest.param("a.csv", b"te\xe9t\na\n", ":1: byte 0xe9 at position 2 is not", id="header"),
    pytest.param("a.csv", b'"text" x,y\n', ":1: is not a readable table row", id="bad header"),
    pytest.param("a.parquet", b"PAR1 but no more", "is not readable as Parquet", id="no parquet"),
    pytest.param("a.docx", b"text", "'.docx'; known are .txt", id="ending"),
    pytest.param("a", b"text", "cannot tell the format from the ending ''", id="no ending"),
    pytest.param("a.parquet.gz", b"text", "all but .parquet also with .gz", id="packed parquet"),
    pytest.param("a.txt.gz", b"no gzip", "Cannot read", id="no gzip"),
    pytest.param("a.txt.gz", gzip.compress(b"abc\n" * 99)[:-12], "Cannot read", id="cut gzip"),
]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, content: bytes, reason: str, on_error: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_corpus(path, on_error=on_error)
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert message.endswith(".")
    assert "\n" not in message


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text"] * 2), path)
    with pytest.raises(DataError, match="two columns called 'text'"):
        load_corpus(path)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(9000)]}), path)
    content = bytearray(path.read_bytes())
    content[10:2000] = bytes(1990)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not readable as Parquet"):
        load_corpus(path)


def test_a_file_without_a_usable_row_names_the_first_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"words": "a"}\n{"words": "b"}\n')
    with pytest.raises(DataError, match=r"no usable row: 2 were skipped, the first: .*jsonl:1: "):
        load_corpus(path, on_error="skip")


def test_a_split_without_texts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("a\nb\n")
    with pytest.raises(DataError, match=r"has no heldout texts; mark some in a split column"):
        load_corpus(path, split="heldout")


@pytest.mark.parametrize("name", ["conceptz", "missing/rows.jsonl", "./owner/name", "rows.xyz", ""])
def test_a_missing_file_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"There is no file .* a source is 'concepts'|is a folder"):
        load_corpus(name)


@pytest.mark.parametrize("name", ["a sentence instead of a name " * 20, "a\0b", "file.txt/a.txt"])
def test_what_cannot_be_a_file_name_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("a")
    with pytest.raises(DataError, match=r"^(Cannot read|There is no file) "):
        load_corpus(name)


def test_a_missing_file_in_a_folder_that_exists_is_no_dataset_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    with pytest.raises(DataError, match="There is no file texts/news"):
        load_corpus("texts/news")


def test_a_path_object_is_always_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concepts", "-", "owner/name"):
        with pytest.raises(DataError, match="There is no file"):
            load_corpus(Path(name))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; give one file, or hf:"):
        load_corpus(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("a")
    path.chmod(0)
    with pytest.raises(DataError, match="Cannot read .*: Permission denied"):
        load_corpus(path)


@pytest.mark.parametrize("content", ["a\n", '{"a": ["b"]}'])
def test_columns_cannot_be_chosen_where_there_are_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("rows.json" if content.startswith("{") else "rows.txt")
    path.write_text(content)
    with pytest.raises(DataError, match="has no columns to choose; drop text_column"):
        load_corpus(path, text_column="text")


def test_a_chosen_column_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,topic\na,b\n")
    with pytest.raises(DataError, match=r"no column 'sentence' \(found 'text', 'topic'\)"):
        load_corpus(path, text_column="sentence", on_error="skip")
    with pytest.raises(DataError, match="no column 'concept'"):
        load_corpus(path, label_column="concept")
    with pytest.raises(InputError, match="both 'text'; name two columns"):
        load_corpus(path, text_column="text", label_column="text")


OPTIONS = [
    ({"limit": 0}, "limit must be 1 or more texts; got 0"),
    ({"on_error": "ignore"}, "on_error must be raise or skip; got 'ignore'"),
    ({"split": "test"}, "split must be train or heldout; got 'test'"),
    ({"heldout": 1.5}, "a whole number a label, such as 5, or a fraction"),
    ({"heldout": 0}, "got 0"),
    ({"heldout": True}, "got True"),
]


def test_options_outside_their_range_are_refused() -> None:
    # In a process of its own, for here the type checks of the tests would speak first.
    code = (
        "import json, sys\n"
        "from cofire.data import load_corpus\n"
        "from cofire.errors import InputError\n"
        "for options in json.load(sys.stdin):\n"
        "    try: load_corpus('concepts', **options)\n"
        "    except InputError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([options for options, _ in OPTIONS]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(OPTIONS)
    for line, (_, reason) in zip(lines, OPTIONS, strict=True):
        assert reason in line
