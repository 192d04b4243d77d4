"""Datasets stream through the real ``datasets`` library, from folders and from local servers."""

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cofire.data import load_corpus
from cofire.data.hub import HubDataset
from cofire.errors import DataError, InputError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "reviews"
    folder.mkdir()
    for split, count in (("train", 5), ("test", 3)):
        rows = [
            {"text": f"{split} {number}", "label": f"l{number % 2}", "extra": number}
            for number in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_a_dataset_is_streamed(folder: Path) -> None:
    corpus = load_corpus(f"hf:{folder}", limit=4)
    assert [text.text for text in corpus] == [f"train {number}" for number in range(4)]
    assert corpus[3].label == "l1"
    assert corpus[3].source == f"{folder}::train[3]"
    assert {text.split for text in corpus} == {"train"}


def test_the_datasets_own_split_can_be_named(folder: Path) -> None:
    train = load_corpus(f"hf:{folder}:default:train", heldout=1, split="train")
    assert len(train) == 3
    assert [text.source for text in load_corpus(f"hf:{folder}::test")] == [
        f"{folder}::test[{number}]" for number in range(3)
    ]


def test_class_numbers_become_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    table = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features
    )
    table.to_parquet(tmp_path / "train.parquet")
    assert [text.label for text in load_corpus(f"hf:{tmp_path}")] == ["good", "bad", None]


def test_unknown_columns_splits_and_configurations_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"::train: has no column 'words' \(found 'text', 'label'"):
        load_corpus(f"hf:{folder}", text_column="words")
    with pytest.raises(DataError, match="Bad split: dev"):
        load_corpus(f"hf:{folder}::dev")
    with pytest.raises(DataError, match="Cannot read the dataset .*'zz' not found"):
        load_corpus(f"hf:{folder}:zz")
    with pytest.raises(DataError, match="Cannot read the dataset"):
        load_corpus(f"hf:{folder}/missing")


def test_bad_rows_of_a_dataset_are_named_or_skipped(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n{"text": ""}\n{"text": "c"}\n')
    with pytest.raises(DataError, match=r"::train\[1\]: 'text' is empty"):
        load_corpus(f"hf:{tmp_path}")
    assert len(load_corpus(f"hf:{tmp_path}", on_error="skip")) == 2


def test_a_dataset_file_that_breaks_off_is_reported(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(DataError, match="Cannot read the dataset"):
        load_corpus(f"hf:{tmp_path}")
    gc.collect()  # what the broken stream left open must not disturb another test


def test_dataset_names_are_read() -> None:
    assert HubDataset.parse("hf:imdb") == HubDataset("imdb")
    assert HubDataset.parse("a/b:c") == HubDataset("a/b", "c")
    assert HubDataset.parse("a/b:c:d").name == "a/b:c:d"
    with pytest.raises(InputError, match="write ID, ID:CONFIG or ID:CONFIG:SPLIT"):
        load_corpus("hf:a/b:c:d:e")
    with pytest.raises(InputError, match="write ID"):
        load_corpus("hf:")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'cofire\[hub\]'"):
        load_corpus("owner/name")


class _EmptyHub(BaseHTTPRequestHandler):
    """A hub that has no dataset at all."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def empty_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _error_of(source: str, **environment: str) -> str:
    code = (
        "import sys\n"
        "from cofire.data import load_corpus\n"
        "from cofire.errors import DataError\n"
        "try: load_corpus(sys.argv[1])\n"
        "except DataError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, source],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_hub_that_cannot_be_reached_is_reported(tmp_path: Path) -> None:
    message = _error_of("owner/name", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert message.startswith("Cannot read the dataset 'owner/name::train': Couldn't reach")
    assert "download the file and give its path" in message
    assert message.count("\n") == 1


def test_a_dataset_the_hub_does_not_have_is_reported(empty_hub: str, tmp_path: Path) -> None:
    message = _error_of("owner/name", HF_ENDPOINT=empty_hub, HF_HOME=str(tmp_path))
    assert message.startswith("Cannot read the dataset 'owner/name::train': ")
    assert "doesn't exist on the Hub" in message
