"""``partial_fit``: a stream of chunks, constant memory, old rows fading."""

import numpy as np
import pytest
import torch

from cofire.errors import InputError
from cofire.factorization import SemiNMF
from cofire.factorization.planted import plant, recovery
from cofire.factorization.streaming import BATCH_ROWS, FIRST_ROWS


@pytest.fixture(scope="module")
def stream():
    return plant(12_000, 120, 10, sparsity=0.05, code_density=0.2, overlap=0.3, noise=0.1)


def in_chunks(snmf, X, rows):
    for chunk in torch.split(X, rows):
        snmf.partial_fit(chunk)
    return snmf


def test_one_pass_nearly_reaches_the_full_fit_on_new_rows(stream):
    X, held_out = stream.X[:10_000], stream.X[10_000:]

    def loss(snmf):
        rebuilt = snmf.inverse_transform(snmf.transform(held_out))
        return float((held_out - rebuilt).square().sum() / held_out.square().sum())

    full = SemiNMF(10, sparsity=0.05).fit(X)
    streamed = in_chunks(SemiNMF(10, sparsity=0.05), X, 1000)
    assert loss(streamed) <= 1.05 * loss(full)
    assert recovery(torch.from_numpy(streamed.components_), stream.atoms).mean() > 0.95


def test_each_batch_is_measured_before_it_is_learned(stream):
    snmf = in_chunks(SemiNMF(10, sparsity=0.05), stream.X, 2000)
    assert snmf.stop_reason_ == "streaming"
    records = [record for record in snmf.history_ if record.phase == "stream"]
    assert snmf.n_iter_ == len(records) == 5
    assert snmf.relative_loss_ == pytest.approx(records[-1].relative_loss, rel=1e-6)
    assert snmf.objective_[-1] == records[-1].objective


def test_large_chunks_are_cut_into_batches(stream):
    snmf = SemiNMF(10, sparsity=0.05).partial_fit(stream.X)
    assert snmf.n_iter_ == -(-(len(stream.X) - FIRST_ROWS) // BATCH_ROWS)


def test_the_same_chunks_give_the_same_bits(stream):
    first, second = (in_chunks(SemiNMF(10, sparsity=0.05), stream.X, 3000) for _ in range(2))
    assert np.array_equal(first.components_, second.components_)


def test_goes_on_from_a_fit(stream):
    snmf = SemiNMF(10, sparsity=0.05).fit(stream.X[:6000])
    fitted = snmf.components_.copy()
    in_chunks(snmf, stream.X[6000:], 1000)
    cosines = (snmf.components_ * fitted).sum(axis=1)
    assert cosines.min() > 0.95
    snmf.fit(stream.X[:6000])
    assert np.array_equal(snmf.components_, fitted)


def test_follows_a_stream_that_changes(stream):
    other = plant(12_000, 120, 10, sparsity=0.05, code_density=0.2, noise=0.1, seed=5)
    snmf = in_chunks(SemiNMF(10, sparsity=0.05), stream.X[:4000], 1000)
    before = recovery(torch.from_numpy(snmf.components_), other.atoms).mean()
    in_chunks(snmf, other.X, 1000)
    assert recovery(torch.from_numpy(snmf.components_), other.atoms).mean() > before + 0.3


def test_a_penalty_is_honoured(stream):
    plain = in_chunks(SemiNMF(10, sparsity=0.05), stream.X, 3000)
    sparse = in_chunks(SemiNMF(10, sparsity=0.05, code_penalty=0.1), stream.X, 3000)
    assert sparse.history_[-1].code_density < plain.history_[-1].code_density
    assert sparse.code_penalty_ > 0


def test_the_first_chunk_needs_a_row_for_each_atom(stream):
    with pytest.raises(InputError, match="n_samples=4 rows"):
        SemiNMF(10, sparsity=0.05).partial_fit(stream.X[:4])
    snmf = SemiNMF(10, sparsity=0.05).partial_fit(stream.X[:2000])
    snmf.partial_fit(stream.X[:1])
    assert np.isfinite(snmf.components_).all()
    with pytest.raises(InputError, match="expecting 120 features"):
        snmf.partial_fit(stream.X[:, :5])


def test_settings_changed_on_the_way_are_refused(stream):
    snmf = SemiNMF(10, sparsity=0.05).partial_fit(stream.X[:1000])
    before = snmf.components_.copy()
    snmf.set_params(sparsity=0.2, max_active=3)
    with pytest.raises(InputError, match="and sparsity, max_active changed since"):
        snmf.partial_fit(stream.X[1000:2000])
    assert np.array_equal(snmf.components_, before)
    snmf.set_params(sparsity=0.05, max_active=None, dtype="float64")
    with pytest.raises(InputError, match="and dtype changed since"):
        snmf.partial_fit(stream.X[1000:2000])
    snmf.set_params(dtype="float32")
    snmf.set_params(sparsity=0.05, max_active=None, tol=0.1).partial_fit(stream.X[1000:2000])
    snmf.set_params(sparsity=0.2).fit(stream.X[:1000]).partial_fit(stream.X[1000:2000])
    assert (np.count_nonzero(snmf.components_, axis=1) > 6).all()
