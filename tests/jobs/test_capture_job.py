"""Capturing into a store: resumable after a kill, refused when settings changed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from cofire import jobs
from cofire.config import CaptureConfig
from cofire.errors import DataError, InputError, StoreError
from cofire.site import Site
from cofire.store import ActivationStore
from cofire.store import activation_store as module


@pytest.fixture
def config(tiny_folder, tmp_path):
    return CaptureConfig(
        model=str(tiny_folder), layers="0,2", output=tmp_path / "acts", limit=60, device="cpu"
    )


def test_a_capture_fills_a_store(config):
    store = jobs.capture(config)
    assert store.complete
    assert store.sites == [Site(0, "mlp"), Site(2, "mlp")]
    data = store.activations(Site(2, "mlp"))
    assert len(data) == store.n_rows > 60
    assert set(data.tokens.text_id) == set(range(60))
    assert store.manifest["model"]["fingerprint"]


def test_the_middle_layer_is_the_default(config):
    store = jobs.capture(config.model_copy(update={"layers": None}))
    assert [site.layer for site in store.sites] == [1]


def test_a_second_capture_does_nothing(config):
    jobs.capture(config)
    manifest = (config.output / "manifest.json").read_bytes()
    jobs.capture(config)
    assert (config.output / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": "1"}, "begun for blocks.0"),
        ({"bos": False}, "begun with bos True, not False"),
    ],
)
def test_a_store_is_not_mixed_with_other_settings(config, change, message):
    jobs.capture(config)
    with pytest.raises(StoreError, match=message):
        jobs.capture(config.model_copy(update=change))


def test_a_store_is_not_mixed_with_other_texts(config, tmp_path):
    data = tmp_path / "texts.txt"
    data.write_text("one two\n")
    config = config.model_copy(update={"data": str(data)})
    jobs.capture(config)
    data.write_text("one three\n")
    with pytest.raises(StoreError, match="begun with other texts"):
        jobs.capture(config)


def test_a_killed_capture_goes_on_to_the_same_rows(config, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_SHARD_TOKENS", 75)
    whole = jobs.capture(config.model_copy(update={"output": tmp_path / "whole"}))
    code = (
        "from cofire.store import activation_store as m; m._SHARD_TOKENS = 75\n"
        "import time, cofire.store.activation_store as s\n"
        "write = s.ActivationStore.write_shard\n"
        "s.ActivationStore.write_shard = lambda *a, **k: (write(*a, **k), time.sleep(0.2))\n"
        "from cofire import jobs; from cofire.config import CaptureConfig\n"
        f"jobs.capture(CaptureConfig(**{config.resolved()!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    manifest = config.output / "manifest.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if manifest.exists():
            done = [s for s in json.loads(manifest.read_text())["shards"] if s["rows"] is not None]
            if len(done) >= 2:
                break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    half = ActivationStore.open(config.output)
    assert not half.complete
    kept = {path: path.stat().st_mtime_ns for path in config.output.glob("shard-00000/*")}
    store = jobs.capture(config)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    for site in store.sites:
        assert torch.equal(store.activations(site).X, whole.activations(site).X)


def test_a_layer_that_does_not_exist(config):
    with pytest.raises(InputError, match="Layer 7 does not exist: the model has 3 layers, 0 to 2"):
        jobs.capture(config.model_copy(update={"layers": "7"}))


def test_an_empty_text_is_named_or_skipped(config, tmp_path):
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": "one two"}\n{"text": "  "}\n{"text": "three"}\n')
    config = config.model_copy(update={"data": str(data), "limit": None})
    with pytest.raises(DataError, match=r"texts\.jsonl:2"):
        jobs.capture(config)
    store = jobs.capture(config.model_copy(update={"skip_bad_rows": True}))
    assert len(store.corpus) == 2


@pytest.mark.parametrize("damage", ["missing", "rotten"])
def test_texts_that_went_missing_are_written_again(config, damage):
    jobs.capture(config)
    texts = config.output / "texts.parquet"
    if damage == "missing":
        texts.unlink()
    else:
        texts.write_bytes(b"rot")
    store = jobs.capture(config)
    assert len(store.corpus) == 60
    assert len(ActivationStore.open(config.output).activations(Site(2, "mlp"))) > 60


def test_texts_that_were_cut_or_gave_no_token_are_named(config, tmp_path, caplog):
    data = tmp_path / "texts.jsonl"
    rows = ["{", '{"text": "<s>"}', *['{"text": "one two three four five"}'] * 12]
    data.write_text("\n".join(rows) + "\n")
    change = {"data": str(data), "limit": None, "max_length": 3, "skip_bad_rows": True}
    store = jobs.capture(config.model_copy(update=change))
    store = ActivationStore.open(store.path)
    assert len(store.truncated) == 12
    assert store.skipped == (0,)
    assert [row.source.split(":")[-1] for row in store.corpus.skipped] == ["1"]
    messages = [record.getMessage() for record in caplog.records]
    (cut,) = [message for message in messages if "cut at the longest length" in message]
    assert "12 of 13 texts" in cut
    assert cut.count("texts.jsonl:") == 10
    assert any("1 of 13 texts gave no token" in message for message in messages)
