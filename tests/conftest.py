"""Shape and type checks for every test, one thread for tiny matrices, a tiny model on disk."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

# Tiny matrices lose far more by sharing work between threads than they gain, and on a machine with
# other work a hundredfold; for processes that tests start, too. Before any import of torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background makes them ignore Ctrl-C, and with them every
# process that they start to see how it takes one.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Annotated cofire functions check shapes and types in the tests; before any import of cofire.
install_import_hook("cofire", "beartype.beartype")

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Chromium; one for all folders of tests, since a process can drive only one playwright."""
    pytest.importorskip("playwright", reason="needs playwright of the extra dev")
    from browsing import chromium

    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with its tokenizer, in a folder such as a hub gives."""
    from cofire.data import bundled_concepts
    from made_once import made_once
    from tiny_models import tiny_model, train_tokenizer

    def make(folder: Path) -> None:
        tiny_model("llama").save_pretrained(folder)
        train_tokenizer(text.text for text in bundled_concepts()).save_pretrained(folder)

    return made_once(tmp_path_factory, "tiny-llama", make)


@pytest.fixture(scope="session")
def patient_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Llama, built for texts long enough to be asked questions in."""
    folder = tmp_path_factory.mktemp("models") / "patient-llama"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = 2048
    (folder / "config.json").write_text(json.dumps(config))
    return folder
