"""Starts are reproducible, cover the data, and cope with poor data."""

import pytest
import torch

from cofire.errors import InputError
from cofire.factorization.data import DataMatrix
from cofire.factorization.initialization import STARTS, initial_atoms, initial_codes, kmeans


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("start", STARTS)
def test_same_generator_same_start(planted, start):
    data = DataMatrix.of(planted.X)
    first, second = (initial_atoms(data, 10, start, generator()) for _ in range(2))
    assert first.shape == (10, 120)
    assert torch.equal(first, second)


def test_kmeans_finds_separate_groups():
    centres = 10 * torch.eye(6, 20)
    rows = centres.repeat_interleave(30, dim=0) + 0.1 * torch.randn(180, 20, generator=generator())
    found = kmeans(rows, 6, generator(1))
    distances = torch.cdist(centres, found).amin(dim=1)
    assert distances.max() < 0.2


def test_kmeans_with_fewer_distinct_rows_than_centres():
    rows = torch.eye(2, 5).repeat(10, 1)
    assert torch.isfinite(kmeans(rows, 7, generator())).all()


def test_singular_vectors_span_the_leading_directions():
    left, right = torch.randn(200, 4, generator=generator()), torch.eye(4, 30)
    data = DataMatrix.of(left @ right + 1e-3 * torch.randn(200, 30, generator=generator(1)))
    atoms = initial_atoms(data, 4, "svd", generator())
    torch.testing.assert_close(atoms[:, :4] @ atoms[:, :4].T, torch.eye(4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("start", STARTS)
def test_first_codes_are_positive(planted, start):
    data = DataMatrix.of(planted.X)
    atoms = initial_atoms(data, 10, start, generator())
    codes = initial_codes(data, atoms, start, generator())
    assert codes.shape == (800, 10)
    assert (codes > 0).all()


def test_unknown_start(planted):
    with pytest.raises(InputError, match=r"Unknown init 'pca'; use one of random, kmeans\+\+, svd"):
        initial_atoms(DataMatrix.of(planted.X), 10, "pca", generator())


def test_tiles_and_samples_across_shards(planted):
    whole, parts = DataMatrix.of(planted.X), DataMatrix.of(*planted.X.split([100, 1, 699]))
    assert parts.n_rows == 800
    assert parts.squared_norm == pytest.approx(whole.squared_norm, rel=1e-6)
    assert torch.equal(torch.cat([tile.X for tile in parts.tiles()]), planted.X)
    index = torch.tensor([700, 0, 100, 99, 101])
    assert torch.equal(parts.take(index), planted.X[index])
    assert torch.equal(parts.sample(50, generator()).X, whole.sample(50, generator()).X)
