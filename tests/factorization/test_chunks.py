"""Data larger than memory: the same result as in memory, from files and from any iterable."""

import logging

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import InputError, StoreError
from cofire.factorization import MultiplicativeUpdates, SemiNMF
from cofire.factorization.code_blocks import CodesInMemory, CodesOnDisk, stacked
from cofire.rows_on_disk import RowsOnDisk
from cofire.site import Site


def on_disk(X, folder, cuts):
    """The same rows as Activations with shards on disk."""
    shards = []
    for number, part in enumerate(torch.split(X, cuts)):
        save_file({"activations": part.contiguous()}, folder / f"{number}.safetensors")
        shards.append(RowsOnDisk.open(folder / f"{number}.safetensors", "activations"))
    column = np.zeros(len(X), dtype=np.int32)
    tokens = TokenTable(column, column, column, column, ("a",))
    return Activations(tuple(shards), tokens, Corpus([Text("a")]), Site(0, "mlp"))


class Chunks:
    """Reads the rows anew each time; counts how often."""

    def __init__(self, X, rows):
        self.X, self.rows, self.passes = X, rows, 0

    def __iter__(self):
        self.passes += 1
        yield from torch.split(self.X, self.rows)


@pytest.mark.parametrize("solver", ["bcd", "pgd", "mu"])
def test_from_disk_as_in_memory(planted, tmp_path, solver):
    if solver == "mu":
        solver = MultiplicativeUpdates(patience=20)
    options = {"sparsity": 0.05, "solver": solver, "tol": 1e9 if solver != "bcd" else None}
    inside = SemiNMF(10, **options)
    outside = SemiNMF(10, **options)
    codes = inside.fit_transform(planted.X)
    codes_outside = outside.fit_transform(on_disk(planted.X, tmp_path, 300))
    assert outside.relative_loss_ == pytest.approx(inside.relative_loss_, rel=1e-4)
    np.testing.assert_allclose(outside.components_, inside.components_, atol=1e-3)
    torch.testing.assert_close(codes_outside, codes, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", [list, tuple, "iterable", "arrays"])
def test_any_iterable_that_can_be_read_again(planted, kind):
    whole = SemiNMF(10, sparsity=0.05).fit(planted.X)
    if kind == "iterable":
        chunks = Chunks(planted.X, 190)
    elif kind == "arrays":
        chunks = [part.numpy() for part in torch.split(planted.X, 190)]
    else:
        chunks = kind(torch.split(planted.X, 190))
    snmf = SemiNMF(10, sparsity=0.05).fit(chunks)
    assert snmf.relative_loss_ == pytest.approx(whole.relative_loss_, rel=1e-4)
    np.testing.assert_allclose(snmf.components_, whole.components_, atol=1e-3)
    assert snmf.n_features_in_ == 120
    np.testing.assert_allclose(snmf.transform(chunks), whole.transform(planted.X), atol=0.05)


def test_every_sweep_is_one_pass(planted):
    chunks = Chunks(planted.X, 100)
    snmf = SemiNMF(10, sparsity=0.05).fit(chunks)
    repairs = sum(record.phase == "penalised" for record in snmf.history_) // 5
    # first chunk, checks, rows of the start, sweeps, rows for every repair, codes at the end
    assert chunks.passes <= 1 + 1 + 1 + snmf.n_iter_ + repairs + 1


def test_what_can_be_read_once_only_is_refused(planted):
    with pytest.raises(InputError, match="can be read only once"):
        SemiNMF(10).fit(part for part in torch.split(planted.X, 100))
    for nothing in (range(0), [planted.X[:0]]):
        with pytest.raises(InputError, match="without any chunk that has rows"):
            SemiNMF(10).fit(nothing)


def test_chunks_without_rows_are_passed_over(planted):
    X, none = planted.X, planted.X[:0]
    with_gaps = SemiNMF(10, sparsity=0.05).fit([none, X[:300], none, X[300:], none])
    plain = SemiNMF(10, sparsity=0.05).fit([X[:300], X[300:]])
    assert np.array_equal(with_gaps.components_, plain.components_)


def test_chunks_of_another_width_are_named(planted):
    with pytest.raises(InputError, match="Chunk 1 of X has 7 channels, the ones before it 120"):
        SemiNMF(10, sparsity=0.05).fit([planted.X[:400], planted.X[400:, :7]])


def test_chunks_that_change_are_noticed(planted):
    class Shrinking(Chunks):
        def __iter__(self):
            self.passes += 1
            yield from torch.split(self.X if self.passes < 5 else self.X[:500], 100)

    with pytest.raises(InputError, match="must give the same rows every time"):
        SemiNMF(10, sparsity=0.05).fit(Shrinking(planted.X, 100))


def test_a_chunk_with_nan_is_refused(planted):
    spoiled = planted.X.clone()
    spoiled[500, 3] = torch.nan
    with pytest.raises(InputError, match=r"NaN in row 500 \(1 of 800"):
        SemiNMF(10, sparsity=0.05).fit(list(torch.split(spoiled, 190)))


def test_a_shard_that_goes_missing_is_named(planted, tmp_path):
    data = on_disk(planted.X, tmp_path, 300)
    (tmp_path / "1.safetensors").unlink()
    with pytest.raises(StoreError, match=r"1\.safetensors cannot be read"):
        SemiNMF(10, sparsity=0.05).fit(data)
    with pytest.raises(StoreError, match="cannot be read"):
        RowsOnDisk.open(tmp_path / "1.safetensors", "activations")
    save_file({"activations": torch.zeros(3)}, tmp_path / "1.safetensors")
    with pytest.raises(StoreError, match="should hold a matrix of floats"):
        RowsOnDisk.open(tmp_path / "1.safetensors", "activations")


def test_float16_that_overflowed_is_explained(planted):
    with pytest.raises(InputError, match="float16 ends at 65504; bfloat16 does not"):
        SemiNMF(10, sparsity=0.05).fit((1e6 * planted.X).half())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda X: torch.cat([X, torch.zeros(5, 120)]), "5 of 805 rows are all zero"),
        (lambda X: X * (torch.arange(120) != 7), "1 of 120 channels are zero in all rows"),
        (lambda X: X[:1].expand(800, -1), "so that no feature can tell rows apart"),
    ],
)
def test_odd_data_is_fitted_and_pointed_out(planted, caplog, change, words):
    with caplog.at_level(logging.INFO, "cofire"):
        snmf = SemiNMF(10, sparsity=0.05).fit(change(planted.X))
    assert words in caplog.text
    assert np.isfinite(snmf.components_).all()


def test_rows_that_are_the_same_are_pointed_out_at_the_fit_only(planted, caplog):
    X = planted.X[:1].expand(800, -1)
    with caplog.at_level(logging.WARNING, "cofire"):
        snmf = SemiNMF(2, sparsity=0.05).fit(X)
        snmf.transform(X)
        snmf.transform(X[:3])
    assert len(caplog.records) == 1
    assert snmf.relative_loss_ > 1e-3  # under the sparsity limit nothing explains everything


def test_codes_on_disk_are_those_written():
    generator = torch.Generator().manual_seed(0)
    blocks = [torch.rand(4, rows, generator=generator) for rows in (7, 7, 2)]
    for codes in (CodesInMemory(), CodesOnDisk(torch.device("cpu"))):
        assert codes.read(0) is None
        for number, block in enumerate(blocks):
            codes.write(number, block.clone())
        codes.write(1, 2 * blocks[1])
        assert codes.n_blocks == 3
        expected = torch.cat([blocks[0], 2 * blocks[1], blocks[2]], dim=1).T
        assert torch.equal(stacked(codes), expected)


def test_a_stream_takes_one_matrix_at_a_time(planted):
    chunks = Chunks(planted.X.repeat(12, 1), 1000)
    with pytest.raises(InputError, match="one chunk at a time"):
        SemiNMF(10, sparsity=0.05).partial_fit(chunks)
