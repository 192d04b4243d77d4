"""Reconstruction figures and feature health on data where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import builders
from cofire.errors import InputError
from cofire.evaluation.fidelity import fidelity
from cofire.evaluation.health import health


def test_perfect_reconstruction_explains_everything():
    codes, atoms = torch.rand(50, 3), torch.randn(3, 8)
    measured = fidelity(codes @ atoms, codes, atoms)
    assert measured.explained_variance == pytest.approx(1)
    assert measured.relative_loss == pytest.approx(0, abs=1e-10)
    assert measured.rows == 50


def test_the_mean_row_explains_nothing():
    X = torch.randn(100, 5) + 3
    measured = fidelity(X, torch.zeros(100, 1), torch.zeros(1, 5), offset=X.mean(0))
    assert measured.explained_variance == pytest.approx(0, abs=1e-5)


def test_figures_match_the_plain_formula_across_blocks():
    torch.manual_seed(0)
    X, codes, atoms = torch.randn(20_000, 6), torch.rand(20_000, 2), torch.randn(2, 6)
    X64 = X.double()
    residual = (X64 - codes.double() @ atoms.double()).square().sum()
    measured = fidelity(X, codes, atoms)
    assert measured.relative_loss == pytest.approx(float(residual / X64.square().sum()))
    variance = (X64 - X64.mean(0)).square().sum()
    assert measured.explained_variance == pytest.approx(float(1 - residual / variance))


@pytest.mark.parametrize(("rows", "value"), [(4, 1.0), (3, 0.1), (1000, 0.1)])
def test_rows_that_do_not_vary_leave_explained_variance_missing(rows, value):
    X = (value + 0.37 * torch.arange(5)).expand(rows, 5)  # rounding leaves a variance of some
    assert fidelity(X, torch.zeros(rows, 1), torch.ones(1, 5)).explained_variance is None


def test_no_rows_is_an_error():
    with pytest.raises(InputError, match="at least one row"):
        fidelity(torch.zeros(0, 3), torch.zeros(0, 1), torch.ones(1, 3))


def test_dead_and_duplicate_features_are_found():
    atoms = torch.tensor([[1.0, 0, 0], [-1.0, 0.01, 0], [0, 1.0, 0], [0, 0, 0]])
    codes = torch.tensor([[1.0, 2.0, 0.0, 1.0]])
    found = health(atoms, codes)
    assert found.duplicate.tolist() == [True, True, False, False]
    assert found.dead.tolist() == [False, False, True, True]
    assert found.nearest[0] == 1


def test_a_single_atom_has_no_neighbour():
    found = health(torch.ones(1, 3), torch.ones(2, 1))
    assert found.nearest.tolist() == [0]
    assert not found.duplicate[0]


def test_some_rows_of_several_shards_are_measured_as_if_alone():
    torch.manual_seed(0)
    data = builders.activations()
    shards = tuple(data.X.split(20))
    codes, atoms = torch.rand(len(data), 2), torch.randn(2, 12)
    rows = np.random.default_rng(0).random(len(data)) < 0.4
    index = torch.from_numpy(rows)
    measured = fidelity(replace(data, shards=shards), codes, atoms, atoms[0], rows=rows)
    alone = fidelity(data.X[index], codes[index], atoms, atoms[0])
    assert measured.rows == alone.rows == rows.sum()
    for name in ("explained_variance", "relative_loss", "code_density"):
        assert getattr(measured, name) == pytest.approx(getattr(alone, name))
    with pytest.raises(InputError, match="at least one row"):
        fidelity(data, codes, atoms, rows=np.zeros(len(data), bool))
