"""Activations in several shards are never copied as a whole without need."""

import numpy as np
import pytest
import torch

import builders
from cofire.activations import Activations


@pytest.fixture
def data() -> Activations:
    whole = builders.activations()
    return Activations(tuple(torch.split(whole.X, 20)), whole.tokens, whole.corpus, whole.site)


def test_a_copy_of_all_rows_is_not_kept(data):
    assert torch.equal(data.X, torch.cat(data.shards))
    assert data.X is not data.X


def test_taking_rows_does_not_join_the_shards(data, monkeypatch):
    X, tokens = data.X, data.tokens

    def refuse(*_: object) -> None:
        raise AssertionError("joined the shards")

    monkeypatch.setattr(Activations, "X", property(refuse))
    taken = {}
    for name, rows in ORDERS.items():
        taken[name] = data.take(rows(len(data)))
    training = data.where_split("train")
    monkeypatch.undo()
    for name, rows in ORDERS.items():
        assert torch.equal(
            taken[name].X, X[torch.from_numpy(np.arange(len(data))[rows(len(data))])]
        )
        expected = [tokens.surface(row) for row in np.arange(len(data))[rows(len(data))]]
        found = taken[name]
        assert [found.tokens.surface(row) for row in range(len(found))] == expected
    splits = [data.corpus[int(i)].split for i in training.tokens.text_id]
    assert set(splits) == {"train"}
    assert len(training) < len(data)


ORDERS = {
    "mask": lambda n: np.arange(n) % 3 == 0,
    "ascending": lambda n: np.array([1, 2, n - 1]),
    "mixed": lambda n: np.array([n - 1, 0, 25, 0], dtype=np.int32),
    "from the end": lambda n: np.array([-1, -n]),
    "none": lambda n: np.zeros(n, dtype=bool),
    "first shard": lambda n: np.arange(n) < 20,
}


def test_a_shard_taken_whole_stays_what_it_was(data):
    taken = data.take(np.arange(len(data)) < 30)
    assert taken.shards[0] is data.shards[0]
    assert [len(shard) for shard in taken.shards] == [20, 10]


def test_a_row_that_does_not_exist(data):
    with pytest.raises(IndexError):
        data.take(np.array([len(data)]))


def test_as_an_array(data):
    one = builders.activations()
    view = np.asarray(one)
    assert np.shares_memory(view, one.X.numpy())
    own = np.array(one, copy=True)
    assert not np.shares_memory(own, one.X.numpy())
    assert np.array_equal(own, view)
    assert np.asarray(one, dtype=np.float64).dtype == np.float64
    assert np.array_equal(np.asarray(data), view)
    with pytest.raises(ValueError, match="without copying"):
        data.__array__(copy=False)
    half = Activations((one.X.bfloat16(),), one.tokens, one.corpus, one.site)
    assert np.asarray(half).dtype == np.float32
