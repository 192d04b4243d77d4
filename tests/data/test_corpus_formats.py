"""Every format reads back what was written in it."""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofire.corpus import Corpus, Text
from cofire.data import load_corpus

FIELDS = ("text", "label", "group", "detail", "split")


def _records(corpus: Corpus) -> list[dict[str, str | None]]:
    return [{field: getattr(text, field) for field in FIELDS} for text in corpus]


def _write_jsonl(path: Path, corpus: Corpus) -> None:
    lines = (json.dumps(record, ensure_ascii=False) for record in _records(corpus))
    path.write_bytes("\n".join(lines).encode())


def _write_jsonl_gz(path: Path, corpus: Corpus) -> None:
    lines = (json.dumps(record) for record in _records(corpus))
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def _write_json(path: Path, corpus: Corpus) -> None:
    path.write_text(json.dumps(_records(corpus), indent=1), encoding="utf-8")


def _write_table(path: Path, corpus: Corpus, delimiter: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, FIELDS, delimiter=delimiter)
        table.writeheader()
        table.writerows(_records(corpus))


def _write_csv(path: Path, corpus: Corpus) -> None:
    _write_table(path, corpus, ",")


def _write_tsv(path: Path, corpus: Corpus) -> None:
    _write_table(path, corpus, "\t")


def _write_parquet(path: Path, corpus: Corpus) -> None:
    schema = pa.schema([(field, pa.string()) for field in FIELDS])
    pq.write_table(pa.Table.from_pylist(_records(corpus), schema=schema), path)


WRITERS: dict[str, Callable[[Path, Corpus], None]] = {
    ".jsonl": _write_jsonl,
    ".jsonl.gz": _write_jsonl_gz,
    ".json": _write_json,
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".parquet": _write_parquet,
}

_characters = st.characters(exclude_categories=["Cs"])
_names = st.none() | st.text(_characters, min_size=1).map(str.strip).filter(bool)
# Not mapped to a Corpus here: the type checks of the tests draw random items, which strategies may
# not do.
_texts = st.lists(
    st.builds(
        Text,
        st.text(_characters, min_size=1).filter(str.strip),
        label=_names,
        group=_names,
        detail=_names,
        split=st.sampled_from(["train", "heldout"]),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("ending", WRITERS)
@given(texts=_texts)
def test_a_written_corpus_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, ending: str, texts: list[Text]
) -> None:
    corpus = Corpus(texts)
    path = tmp_path_factory.getbasetemp() / f"roundtrip{ending}"
    WRITERS[ending](path, corpus)
    loaded = load_corpus(path)
    assert _records(loaded) == _records(corpus)
    assert loaded.fingerprint == corpus.fingerprint
    assert loaded.skipped == ()


def test_plain_text_is_a_text_a_line_with_blank_lines_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n\r\n  second, indented \n   \nl\xc3\xa4st")
    corpus = load_corpus(path)
    assert [text.text for text in corpus] == ["first", "  second, indented ", "läst"]
    assert [text.source for text in corpus] == [f"{path}:{line}" for line in (1, 3, 5)]
    assert {text.label for text in corpus} == {None}


def test_a_gzipped_text_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.TXT.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert [text.text for text in load_corpus(str(path))] == ["one", "two"]


def test_standard_input_is_plain_text() -> None:
    code = (
        "from cofire.data import load_corpus\n"
        "for text in load_corpus('-', limit=2): print(text.source, text.text)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"a b\n\nc d\ne f\n", capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines() == ["stdin:1 a b", "stdin:3 c d"]


def test_a_json_mapping_gives_concepts(tmp_path: Path) -> None:
    path = tmp_path / "concepts.json"
    path.write_text('{"weekday": ["On Monday.", "On Friday."], "neutral": ["Well."]}')
    corpus = load_corpus(path)
    assert corpus.concepts == ["weekday"]
    assert [(text.label, text.text) for text in corpus] == [
        ("weekday", "On Monday."),
        ("weekday", "On Friday."),
        ("neutral", "Well."),
    ]
    assert corpus[1].source == f"{path}:weekday[1]"


def test_sources_name_the_place_in_every_format(tmp_path: Path) -> None:
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text('{"text": "a"}\n\n{"text": "b"}\n')
    table = tmp_path / "a.csv"
    table.write_text('text,label\n"a\nover two lines",x\n\nb,y\n')
    listed = tmp_path / "a.json"
    listed.write_text('[{"text": "a"}, {"text": "b"}]')
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), parquet)
    sources = {path: [text.source for text in load_corpus(path)] for path in tmp_path.iterdir()}
    assert sources == {
        jsonl: [f"{jsonl}:1", f"{jsonl}:3"],
        table: [f"{table}:2", f"{table}:5"],
        listed: [f"{listed}:[0]", f"{listed}:[1]"],
        parquet: [f"{parquet}:1", f"{parquet}:2"],
    }


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_columns_can_be_chosen_and_others_are_left_alone(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    row = {"prompt": "no", "sentence": "yes", "topic": "t", "label": "no", "n": "7"}
    if ending == ".jsonl":
        path.write_text(json.dumps(row))
    elif ending == ".csv":
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    (text,) = load_corpus(path, text_column="sentence", label_column="topic")
    assert (text.text, text.label) == ("yes", "t")


def test_a_label_column_can_serve_as_the_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"label": "a cat", "group": "g"}')
    (text,) = load_corpus(path, text_column="label")
    assert (text.text, text.label, text.group) == ("a cat", None, "g")


def test_prompt_columns_spaced_headers_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt, label ,split\r\nhello, greeting ,heldout\r\nbye,,\r\n")
    corpus = load_corpus(path)
    assert [(text.text, text.label, text.split) for text in corpus] == [
        ("hello", "greeting", "heldout"),
        ("bye", None, "train"),
    ]


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_byte_order_mark_before_json_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    record = b'{"text": "hello"}'
    path.write_bytes(b"\xef\xbb\xbf" + (record if ending == ".jsonl" else b"[" + record + b"]"))
    assert load_corpus(path)[0].text == "hello"


def test_whole_numbers_serve_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "classes.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": [0, 1, None]}), path)
    assert [text.label for text in load_corpus(path)] == ["0", "1", None]


def test_dictionary_encoded_and_large_strings_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "encoded.parquet"
    columns = {
        "text": pa.array(["a", "b"], pa.large_string()),
        "label": pa.array(["x", "x"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)
    assert [(text.text, text.label) for text in load_corpus(path)] == [("a", "x"), ("b", "x")]


def test_parquet_rows_are_counted_across_batches_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    texts = [f"text {number}" for number in range(1, 3001)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=700)
    corpus = load_corpus(path)
    assert [text.text for text in corpus] == texts
    assert corpus[2999].source == f"{path}:3000"


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nnot reached\n')
    assert [text.text for text in load_corpus(path, limit=2)] == ["a", "b"]


def test_the_limit_counts_texts_of_the_split(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,split\na,train\nb,heldout\nc,\nd,heldout\ne,heldout\n")
    held = load_corpus(path, split="heldout", limit=2)
    assert [text.text for text in held] == ["b", "d"]
    assert [text.text for text in load_corpus(path, split="train")] == ["a", "c"]


def test_importing_loads_no_heavy_library() -> None:
    code = (
        "import sys, cofire.data\n"
        "cofire.data.bundled_concepts()\n"
        "heavy = {'numpy', 'torch', 'pyarrow', 'datasets', 'transformers'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode().strip()) == (0, "")


def test_a_csv_cell_may_be_a_long_document(tmp_path: Path) -> None:
    long = "word " * 60_000
    path = tmp_path / "long.csv"
    path.write_text(f"text,label\n{long},law\n", encoding="utf-8")
    (text,) = load_corpus(path)
    assert (text.text, text.label) == (long, "law")


def test_whole_numbers_kept_as_floats_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "gaps.parquet"
    labels = pa.array([1.0, None, float("nan"), 2.0])
    pq.write_table(pa.table({"text": ["a", "b", "c", "d"], "label": labels}), path)
    assert [text.label for text in load_corpus(path)] == ["1", None, None, "2"]
