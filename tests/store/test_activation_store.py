"""Activation stores give back what was written, shard by shard."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import builders
from cofire.activations import TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import StoreError
from cofire.site import Site
from cofire.store import ActivationStore
from cofire.store import activation_store as module

SITES = [Site(0, "mlp"), Site(2, "mlp")]


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.setattr(module, "_CHARACTERS_PER_SHARD", 12)
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
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER), corpus)
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


def test_shards_are_memory_maps(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER), corpus)
    data = ActivationStore.open(tmp_path / "s").activations(SITES[0])
    assert "shard-00000/blocks.0.mlp.hook_post.safetensors" in Path("/proc/self/maps").read_text()
    assert len(data.shards) > 1


def test_a_store_goes_on_where_it_stopped(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER), corpus, numbers={0})
    store = ActivationStore.open(tmp_path / "s")
    assert not store.complete
    assert 0 not in [number for number, _ in store.unfinished()]
    with pytest.raises(StoreError, match=r"is incomplete: 1 of .* it goes on where it stopped"):
        store.activations(SITES[0])
    fill(store, corpus)
    assert ActivationStore.open(tmp_path / "s").complete


def test_a_corrupted_shard_is_named_and_made_anew_alone(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER), corpus)
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
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER), corpus)
    store = ActivationStore.open(tmp_path / "s")
    with pytest.raises(StoreError, match=r"it holds blocks\.0\.mlp\.hook_post"):
        store.activations(Site(7, "mlp"))


def test_other_readers_can_read_the_token_table(tmp_path, corpus):
    fill(ActivationStore.create(tmp_path / "s", corpus, SITES, HEADER), corpus)
    table = pq.read_table(tmp_path / "s" / "shard-00000" / "tokens.parquet")
    assert table.column_names == ["text_id", "position", "token_id", "token"]
    assert table["token"][0].as_py() == "text"
