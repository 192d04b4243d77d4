"""Activation stores give back what was written, shard by shard."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import builders
from cofire.activations import TokenTable
from cofire.corpus import Corpus, SkippedRow, Text
from cofire.errors import StoreError
from cofire.rows_on_disk import RowsOnDisk
from cofire.site import Site
from cofire.store import ActivationStore
from cofire.store import activation_store as module

SITES = [Site(0, "mlp"), Site(2, "mlp")]


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.setattr(
        module, "_SHARD_TOKENS", 24
    )  # a text is not ASCII: 14 characters count as 14
    return Corpus(Text(f"text {i} <b>é\n", label="x", split="train") for i in range(5))


def shard(corpus, start, stop) -> tuple[TokenTable, dict[Site, torch.Tensor]]:
    table = builders.token_table([text.text for text in corpus[start:stop]])
    table = TokenTable(
        table.text_id + start, table.position, table.token_id, table.piece, table.pieces
    )
    rows = {
        site: torch.randn(
            len(table), 4 + site.layer, generator=torch.Generator().manual_seed(start)
        )
        for site in SITES
    }
    return table, rows


def fill(store, corpus, numbers=None):
    for number, (start, stop) in store.unfinished():
        if numbers is None or number in numbers:
            store.write_shard(number, *shard(corpus, start, stop))


def test_rows_tokens_and_texts_come_back(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    store = ActivationStore.open(tmp_path / "s")
    assert len(store.manifest["shards"]) > 1
    assert list(store.corpus) == list(corpus)
    assert store.sites == SITES
    data = store.activations(SITES[1])
    parts = [shard(corpus, *s["texts"]) for s in store.manifest["shards"]]
    assert torch.equal(data.X, torch.cat([rows[SITES[1]] for _, rows in parts]))
    assert len(data) == store.n_rows
    for text_id, text in enumerate(corpus):
        rows = np.flatnonzero(data.tokens.text_id == text_id)
        assert "".join(data.tokens.surface(row) for row in rows) == text.text


HEADER = {"model": {"name": "m"}, "capture": {}}


def mapped():
    return "shard-00000/blocks.0.mlp.hook_post.safetensors" in Path("/proc/self/maps").read_text()


def test_rows_are_mapped_only_while_they_are_read(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    data = ActivationStore.open(tmp_path / "s").activations(SITES[0])
    assert len(data.shards) > 1
    assert not mapped()
    rows = data.shards[0][1:3]
    assert mapped()
    assert torch.equal(rows, data.X[1:3])
    del rows
    assert not mapped()


def test_chosen_rows_stay_on_disk(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    data = ActivationStore.open(tmp_path / "s").activations(SITES[0])
    mask = np.arange(len(data)) % 3 == 1
    some = data.take(mask)
    assert all(isinstance(shard, RowsOnDisk) for shard in some.shards)
    assert torch.equal(some.X, data.X[torch.from_numpy(mask)])
    again = some.take(np.arange(len(some)) % 2 == 0)
    assert torch.equal(again.X, some.X[::2])


def test_a_shard_of_another_width_is_named(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    data = ActivationStore.open(tmp_path / "s").activations(SITES[0])
    path = data.shards[1].path
    save_file({"activations": torch.zeros(len(data.shards[1]), 3)}, path)
    with pytest.raises(StoreError, match="has changed"):
        data.shards[1][:2]
    manifest = tmp_path / "s" / "manifest.json"
    record = json.loads(manifest.read_text())
    name = str(path.relative_to(tmp_path / "s"))
    content = path.read_bytes()
    record["parts"][name] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    manifest.write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"has 3 channels but .* has"):
        ActivationStore.open(tmp_path / "s").activations(SITES[0])


def test_a_store_goes_on_where_it_stopped(tmp_path, corpus):
    fill(
        ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40),
        corpus,
        numbers={0},
    )
    store = ActivationStore.open(tmp_path / "s")
    assert not store.complete
    assert 0 not in [number for number, _ in store.unfinished()]
    with pytest.raises(StoreError, match=r"is incomplete: 1 of .* it goes on where it stopped"):
        store.activations(SITES[0])
    fill(store, corpus)
    assert ActivationStore.open(tmp_path / "s").complete


def test_a_corrupted_shard_is_named_and_made_anew_alone(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    broken = tmp_path / "s" / "shard-00001" / "blocks.2.mlp.hook_post.safetensors"
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    with pytest.raises(StoreError, match=r"shard-00001/blocks\.2.*corrupted"):
        ActivationStore.open(tmp_path / "s").activations(SITES[1])
    broken.unlink()
    store = ActivationStore.open(tmp_path / "s")
    assert [number for number, _ in store.unfinished()] == [1]
    fill(store, corpus)
    assert len(store.activations(SITES[1])) == store.n_rows


def test_an_unknown_site_lists_what_there_is(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    store = ActivationStore.open(tmp_path / "s")
    with pytest.raises(StoreError, match=r"it holds blocks\.0\.mlp\.hook_post"):
        store.activations(Site(7, "mlp"))


def test_other_readers_can_read_the_token_table(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40), corpus)
    table = pq.read_table(tmp_path / "s" / "shard-00000" / "tokens.parquet")
    assert table.column_names == ["text_id", "position", "token_id", "token"]
    assert table["token"][0].as_py() == "text"


@pytest.mark.parametrize("row_bytes", [4, 2048 * 4, 32 * 14_336 * 4])
def test_a_shard_fits_in_memory_however_wide_the_rows(row_bytes):
    corpus = Corpus(Text("word " * 40) for _ in range(3000))
    slices = module.shard_slices(corpus, row_bytes)
    assert [stop for _, stop in slices[:-1]] == [start for start, _ in slices[1:]]
    assert (slices[0][0], slices[-1][1]) == (0, 3000)
    tokens = [50 * (stop - start) for start, stop in slices]
    assert max(tokens) * row_bytes <= 512 * 2**20
    assert max(tokens) <= 65_536


def test_a_text_larger_than_a_shard_goes_alone():
    corpus = Corpus([Text("a"), Text("\u65e5" * 10_000), Text("b"), Text("c")])
    slices = module.shard_slices(corpus, 512 * 2**20 // 1000)
    assert slices == [(0, 1), (1, 2), (2, 4)]


def test_what_was_left_out_is_kept(tmp_path):
    skipped = [SkippedRow("x.jsonl:3", "no text")]
    corpus = Corpus([Text("one two"), Text("three")], skipped=skipped)
    store = ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40)
    store.write_shard(0, *shard(corpus, 0, 2), truncated=[0], skipped=[1])
    store = ActivationStore.open(tmp_path / "s")
    assert (store.truncated, store.skipped) == ((0,), (1,))
    assert list(store.corpus.skipped) == skipped


@pytest.mark.parametrize("key", ["shards", "sites", "corpus", "parts"])
def test_a_manifest_without_what_it_needs_is_damaged(tmp_path, corpus, key):
    store = ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40)
    del store.manifest[key]
    store._archive.save()
    with pytest.raises(StoreError, match="is damaged"):
        ActivationStore.open(tmp_path / "s")


def test_texts_are_written_again_only_for_the_same_corpus(tmp_path, corpus):
    ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER, row_bytes=40)
    (tmp_path / "s" / "texts.parquet").write_bytes(b"rot")
    store = ActivationStore.open(tmp_path / "s")
    with pytest.raises(StoreError, match=r"texts\.parquet is corrupted"):
        _ = store.corpus
    with pytest.raises(StoreError, match="other texts"):
        store.restore_texts(Corpus([Text("other")]))
    assert store.restore_texts(corpus)
    assert not store.restore_texts(corpus)
    assert list(ActivationStore.open(tmp_path / "s").corpus) == list(corpus)
