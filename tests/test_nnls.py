"""Codes are the exact, deterministic optimum of nonnegative least squares."""

import warnings

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from cofire import active_set
from cofire.active_set import finish_codes, wide_gram
from cofire.code_descent import _descend_in_operations, descend_codes
from cofire.code_kernel import descend_block
from cofire.errors import ConvergenceWarning, InputError
from cofire.nnls import DEFAULT_TOL, kkt_residual, nonnegative_codes


def problem(rows=40, channels=30, features=12, seed=0, dtype=torch.float64):
    """Correlated atoms of different norms, and rows that are partly made of them."""
    generator = torch.Generator().manual_seed(seed)
    D = torch.randn(features, channels, generator=generator) + 0.5
    D *= torch.logspace(-1, 1, features)[:, None]
    C = torch.rand(rows, features, generator=generator) * (
        torch.rand(rows, features, generator=generator) < 0.4
    )
    X = C @ D + 0.3 * torch.randn(rows, channels, generator=generator)
    return X.to(dtype), D.to(dtype)


def test_agrees_with_scipys_active_set_method():
    X, D = problem()
    expected = np.stack([nnls(D.numpy().T, row)[0] for row in X.numpy()])
    codes = nonnegative_codes(X, D, tol=1e-9).numpy()
    np.testing.assert_allclose(
        codes * np.linalg.norm(D, axis=1), expected * np.linalg.norm(D, axis=1), atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize("features", [5, 30, 45])  # 45 atoms in 30 channels: not independent
def test_reaches_the_stated_tolerance(dtype, penalty, features):
    X, D = problem(features=features, dtype=dtype)
    codes = nonnegative_codes(X, D, penalty=penalty)
    assert codes.dtype == dtype
    assert (codes >= 0).all()
    assert kkt_residual(X, D, codes, penalty=penalty).max() < 2 * DEFAULT_TOL


def test_no_nearby_nonnegative_codes_are_better():
    X, D = problem()
    codes = nonnegative_codes(X, D, penalty=0.2, tol=1e-9)

    def objective(C):
        return 0.5 * (X - C @ D).square().sum(dim=1) + 0.2 * C.sum(dim=1)

    best = objective(codes)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 1e-1, 10.0):
        moved = codes + size * torch.randn(codes.shape, generator=generator, dtype=codes.dtype)
        assert (objective(moved.clamp(min=0)) >= best - 1e-9).all()


def test_the_batch_size_does_not_matter():
    X, D = problem(rows=101, dtype=torch.float32)
    whole = nonnegative_codes(X, D)
    for batch_rows in (1, 7, 100):
        scale = torch.linalg.vector_norm(D, dim=1)
        part = nonnegative_codes(X, D, batch_rows=batch_rows)
        torch.testing.assert_close(part * scale, whole * scale, rtol=1e-4, atol=1e-4)


def test_the_same_call_gives_the_same_bits():
    X, D = problem(dtype=torch.float32)
    assert torch.equal(nonnegative_codes(X, D), nonnegative_codes(X, D))


def test_zero_atoms_and_zero_rows_get_zero_codes():
    X, D = problem()
    D[3] = 0
    X[5] = 0
    codes = nonnegative_codes(X, D)
    assert (codes[:, 3] == 0).all()
    assert (codes[5] == 0).all()
    assert kkt_residual(X, D, codes).max() < DEFAULT_TOL


def test_identical_atoms_share_one_code():
    X, D = problem(features=3)
    codes = nonnegative_codes(X, torch.cat([D, 2 * D]), tol=1e-8)
    expected = nonnegative_codes(X, D, tol=1e-8)
    torch.testing.assert_close(codes[:, :3] + 2 * codes[:, 3:], expected, rtol=0, atol=1e-5)


def test_scaling_an_atom_scales_its_code_back():
    X, D = problem()
    scale = torch.linspace(0.1, 5, len(D), dtype=D.dtype)
    torch.testing.assert_close(
        nonnegative_codes(X, D * scale[:, None], tol=1e-9) * scale,
        nonnegative_codes(X, D, tol=1e-9),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_large_penalty_leaves_nothing():
    X, D = problem()
    assert (nonnegative_codes(X, D, penalty=1e6) == 0).all()


def test_half_precision_is_computed_in_single():
    X, D = problem(dtype=torch.float32)
    for narrow in (torch.bfloat16, torch.float16):
        codes = nonnegative_codes(X.to(narrow), D)
        assert codes.dtype == torch.float32
        assert torch.equal(codes, nonnegative_codes(X.to(narrow).float(), D))


def test_no_rows_give_no_codes():
    X, D = problem()
    assert nonnegative_codes(X[:0], D).shape == (0, len(D))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"penalty": -1.0}, "penalty must be >= 0"),
        ({"tol": 0.0}, "tol > 0"),
    ],
)
def test_bad_arguments_are_named(change, words):
    X, D = problem()
    with pytest.raises(InputError, match=words):
        nonnegative_codes(**{"X": X, "D": D, **change})


def test_atoms_of_another_width_are_named(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would object first
    X, D = problem()
    with pytest.raises(InputError, match="30 channels but atoms 7"):
        nonnegative_codes(X, D[:, :7])


def test_warns_of_rows_that_are_given_up(monkeypatch):
    monkeypatch.setattr(active_set, "_MOST_STEPS", 1)
    X, D = problem(features=45)
    with pytest.warns(ConvergenceWarning, match="did not reach the tolerance"):
        nonnegative_codes(X, D, tol=1e-14, max_rounds=1)


def test_rows_made_of_dependent_atoms_are_finished_in_float32():
    """Systems of the codes in use are nearly singular here; rounding must not break them."""
    generator = torch.Generator().manual_seed(2)
    D = torch.randn(300, 32, generator=generator)
    X = torch.rand(50, 300, generator=generator) @ D
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = nonnegative_codes(X, D, penalty=0.01)
    assert float(kkt_residual(X, D, codes, penalty=0.01).max()) < 2 * DEFAULT_TOL


@pytest.mark.parametrize(("channels", "features"), [(6, 60), (16, 256), (24, 1600)])
@pytest.mark.parametrize("penalty", [0.0, 0.1, 1.0])
def test_is_exact_with_many_more_atoms_than_channels(channels, features, penalty):
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(features, channels, generator=generator)
    D[1] = D[0]  # atoms that are the same leave a choice
    X = torch.randn(60, channels, generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = nonnegative_codes(X, D, penalty=penalty)
    assert float(kkt_residual(X, D, codes, penalty=penalty).max()) < 2 * DEFAULT_TOL


def test_the_finish_from_nothing_agrees_with_scipy():
    X, D = problem(rows=12, features=25)
    unit = D / D.norm(dim=1, keepdim=True)
    start = torch.zeros(25, 12)
    codes, given_up = finish_codes(
        start.to(X.dtype), unit @ X.T, wide_gram(unit), torch.full((12,), 1e-9), most=30
    )
    assert given_up == 0
    for row, code in zip(X, codes.T, strict=True):
        np.testing.assert_allclose(code, nnls(unit.T.numpy(), row.numpy())[0], atol=2e-6)


@given(seed=st.integers(0, 10_000), features=st.integers(1, 40), penalty=st.floats(0, 2))
@settings(max_examples=30, deadline=None)
def test_coordinate_descent_never_raises_the_objective(seed, features, penalty):
    X, D = problem(features=features, seed=seed)
    D = D / torch.linalg.vector_norm(D, dim=1, keepdim=True)
    codes = torch.rand(features, len(X), dtype=X.dtype)

    def objective():
        return 0.5 * (X - codes.T @ D).square().sum() + penalty * codes.sum()

    before = objective()
    for _ in range(3):
        descend_codes(codes, D @ X.T - penalty, D @ D.T, sweeps=1)
        assert objective() <= before * (1 + 1e-12)
        before = objective()


def test_residual_sees_a_code_that_is_off():
    X, D = problem()
    codes = nonnegative_codes(X, D, tol=1e-9)
    norms = torch.linalg.vector_norm(D, dim=1)
    codes[0, 2] += 0.1 * X[0].norm() / norms[2]
    residual = kkt_residual(X, D, codes)
    assert residual[0] >= 0.0999
    assert residual[1:].max() < 1e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [20, 700])  # fewer than a chunk; more, and no multiple of it
def test_the_compiled_loop_does_what_the_operations_of_other_devices_do(dtype, rows):
    generator = torch.Generator().manual_seed(0)
    codes = torch.rand(5, rows, generator=generator, dtype=dtype)
    step = torch.randn(5, rows, generator=generator, dtype=dtype)
    mutual = torch.randn(5, 5, generator=generator, dtype=dtype)
    compiled = codes.clone()
    descend_block(compiled, step.clone(), mutual)
    _descend_in_operations(codes, step.clone(), mutual)
    torch.testing.assert_close(compiled, codes)
    assert (codes == 0).any()
    assert (codes > 0).any()
