"""Sweeps over a sample of rows: they pay, cost nothing where they cannot, and leave no trace."""

import logging

import numpy as np
import pytest
import torch

from cofire.factorization import BlockCoordinateDescent, ProjectedGradient, SemiNMF
from cofire.factorization.bcd import CoordinateDescent
from cofire.factorization.data import DataMatrix
from cofire.factorization.planted import plant
from cofire.factorization.sampled import improved_on_sample


@pytest.fixture(scope="module")
def many():
    """8,400 rows, more than four samples; 100 channels, 12 atoms that share neurons."""
    return plant(8400, 100, 12, sparsity=0.05, code_density=0.2, overlap=0.3, noise=0.1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def improved(data, atoms, sweeps=4, seed=0):
    return improved_on_sample(
        data,
        atoms,
        [CoordinateDescent(code_sweeps=4, atom_sweeps=2)] * sweeps,
        penalty=0.0,
        kept=torch.full((len(atoms),), 5),
        generator=generator(seed),
    )


def never(*_, **__):
    raise AssertionError("atoms were improved on a sample")


def random_atoms(X, count=12):
    atoms = torch.zeros(count, X.shape[1])
    atoms.scatter_(1, torch.rand(atoms.shape, generator=generator()).topk(5).indices, 1.0)
    return atoms / atoms.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("solver", [BlockCoordinateDescent, ProjectedGradient])
@pytest.mark.parametrize("init", ["kmeans++", "random", "svd"])
def test_the_first_sweep_over_all_rows_ends_lower(solver, init):
    hard = plant(8400, 120, 40, sparsity=0.05, code_density=0.2, overlap=0.5, noise=0.2).X

    def first_loss(**settings):
        snmf = SemiNMF(40, sparsity=0.05, init=init, solver=solver(**settings), device="cpu")
        return snmf.fit(hard).history_[0].relative_loss

    assert first_loss() < first_loss(sample_sweeps=0)


def test_atoms_stay_sparse_and_of_norm_one(many):
    data = DataMatrix.of(many.X)
    atoms = random_atoms(many.X)
    given = atoms.clone()
    found = improved(data, atoms)
    assert torch.equal(atoms, given)
    assert (found.count_nonzero(dim=1) <= 5).all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(12))
    assert not torch.equal(found, atoms)


def test_the_same_generator_gives_the_same_atoms(many):
    data, atoms = DataMatrix.of(many.X), random_atoms(many.X)
    assert torch.equal(improved(data, atoms), improved(data, atoms))
    assert not torch.equal(improved(data, atoms), improved(data, atoms, seed=1))


@pytest.mark.parametrize("init", ["kmeans++", "random", "svd"])
def test_few_rows_are_not_sampled(many, init, monkeypatch):
    few = SemiNMF(12, sparsity=0.05, init=init, device="cpu").fit(many.X[:8000])
    monkeypatch.setattr("cofire.factorization.descent.improved_on_sample", never)
    again = SemiNMF(12, sparsity=0.05, init=init, device="cpu").fit(many.X[:8000])
    np.testing.assert_array_equal(few.components_, again.components_)
    with pytest.raises(AssertionError, match="improved on a sample"):
        SemiNMF(12, sparsity=0.05, init=init, device="cpu").fit(many.X)


def test_rows_that_weigh_nothing_are_not_looked_at(many):
    weights = torch.ones(len(many.X), dtype=torch.float64)
    weights[4200:] = 0
    spoiled = many.X.clone()
    spoiled[4200:] = 50 * torch.randn(4200, 100, generator=generator())
    one, other = (
        SemiNMF(12, sparsity=0.05, device="cpu").fit(X, sample_weight=weights)
        for X in (many.X, spoiled)
    )
    np.testing.assert_allclose(one.components_, other.components_, atol=1e-3)


def test_given_atoms_are_begun_with_as_they_are(many, monkeypatch):
    monkeypatch.setattr("cofire.factorization.descent.improved_on_sample", never)
    snmf = SemiNMF(12, sparsity=0.05, init=many.atoms.numpy(), device="cpu").fit(many.X)
    assert snmf.relative_loss_ < 0.1


def test_the_log_speaks_of_all_rows_only(many, caplog):
    """A channel that no row of the sample happens to use is not said to be silent."""
    X = many.X.clone()
    X[:, 7] = 0
    X[5, 7] = 1.0
    with caplog.at_level(logging.INFO):
        SemiNMF(12, sparsity=0.05, device="cpu").fit(X)
    assert "channels are zero" not in caplog.text
