"""The client against ``transformers serve``, a real server of a real (tiny, random) model."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.import_utils import is_serve_available

from chat_serving import free_port
from cofire import jobs
from cofire.config import FitConfig, LabelConfig
from cofire.errors import EndpointError
from cofire.llm import EndpointModel, JournaledModel, LocalModel

pytestmark = pytest.mark.skipif(
    not is_serve_available(),
    reason="transformers serve needs fastapi, uvicorn and openai (extra dev)",
)

PROMPTS = ["Hello", "What day comes after Monday?", "Rain.", "One, two", "Hello again"]


@pytest.fixture(scope="module")
def server(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """Address of a running ``transformers serve``."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    code = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", code, "serve", str(chat_folder), "--device", "cpu"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        deadline = time.monotonic() + 180
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_the_server_says_what_the_same_model_says_here(server, chat_folder, tmp_path):
    remote = EndpointModel(str(chat_folder), base_url=server, max_tokens=8, concurrency=3)
    kept = JournaledModel(remote, tmp_path / "journal.jsonl")
    found = kept.complete(PROMPTS)
    local = LocalModel(
        AutoModelForCausalLM.from_pretrained(chat_folder),
        AutoTokenizer.from_pretrained(chat_folder),
        max_tokens=8,
    )
    assert [a.error for a in found] == [None] * len(PROMPTS)
    assert [a.text.strip() for a in found] == [a.text for a in local.complete(PROMPTS)]
    again = JournaledModel(remote, tmp_path / "journal.jsonl").complete(PROMPTS)
    assert [a.tries for a in again] == [0] * len(PROMPTS)


def test_a_model_the_server_does_not_have_is_said_so(server):
    with pytest.raises(EndpointError, match="does not know the model 'another'"):
        EndpointModel("another", base_url=server, retries=0).complete(["a"])


def test_an_address_without_its_path_is_said_so(server, chat_folder):
    model = EndpointModel(str(chat_folder), base_url=server.removesuffix("/v1"))
    with pytest.raises(EndpointError, match="mostly in /v1"):
        model.complete(["a"])


def test_features_of_a_run_are_labelled_through_the_server(
    server, chat_folder, tiny_folder, tmp_path, monkeypatch
):
    run = jobs.fit(
        FitConfig(
            model=str(tiny_folder),
            layers="1",
            limit=200,
            n_components=4,
            sparsity=0.1,
            max_iter=5,
            device="cpu",
            output=tmp_path / "run",
        )
    )
    config = LabelConfig(
        run=run.path, features="0-1", llm_base_url=server, llm_model=str(chat_folder)
    )
    asked = []
    complete = EndpointModel.complete

    def noted(self, prompts, **options):
        asked.extend(prompts)
        return complete(self, prompts, **options)

    monkeypatch.setattr(EndpointModel, "complete", noted)
    (labels,) = jobs.label(config).values()
    assert [(one.feature, one.kind) for one in labels] == [
        (feature, kind) for feature in (0, 1) for kind in ("input", "output")
    ]
    for one in labels:  # a random model writes nonsense: read as a label, or missing and said why
        assert (one.label is None) == (one.problem is not None)
        assert one.answer is not None
    assert sorted(asked) == sorted(one.prompt for one in labels)
    assert jobs.label(config) == {run.sites[0]: labels}
    assert len(asked) == len(labels)  # nothing was asked twice
