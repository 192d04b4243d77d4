"""``solver="mu"`` follows the published steps, checked against a transcription in NumPy.

The transcription is in the paper's letters and orientation: A ≈ Z Y, A neurons × tokens.
"""

import numpy as np
import pytest
import torch

from cofire.errors import ConvergenceWarning, InputError
from cofire.factorization import MultiplicativeUpdates, SemiNMF
from cofire.factorization.parameters import seeded_generator

pytestmark = pytest.mark.filterwarnings("ignore::cofire.errors.ConvergenceWarning")

K, SHARE = 6, 0.1


def published(A, Y, iterations):
    d, k = A.shape[0], Y.shape[0]
    keep = int(np.ceil(SHARE * d))
    losses, best = [], None
    for _ in range(iterations):
        Z = A @ Y.T @ np.linalg.inv(Y @ Y.T + 1e-6 * np.eye(k))
        for column in Z.T:
            column[np.argsort(-np.abs(column))[keep:]] = 0
        norms = np.linalg.norm(Y, axis=1)
        Y = Y / norms[:, None]
        Z = Z * norms
        B, P = Z.T @ A, Z.T @ Z
        plus, minus = (lambda M: np.maximum(M, 0)), (lambda M: np.maximum(-M, 0))
        Y = Y * np.sqrt((plus(B) + minus(P) @ Y) / (minus(B) + plus(P) @ Y + 1e-6))
        losses.append(np.linalg.norm(A - Z @ Y) ** 2)
        if best is None or losses[-1] < best[0]:
            best = (losses[-1], Z, Y)
    return losses, best


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(0)
    return rng.standard_normal((40, K)) @ rng.random((K, 90)) + 0.5 * rng.standard_normal((40, 90))


def first_codes(n_rows, seed):
    return torch.rand(n_rows, K, generator=seeded_generator(seed)).double().numpy()


@pytest.mark.parametrize("seed", [0, 3])
def test_every_loss_and_the_best_snapshot_agree(A, seed):
    losses, (loss, Z, Y) = published(A, first_codes(90, seed).T, 60)
    assert np.argmin(losses) < 59 or seed == 0  # the loss does wander
    snmf = SemiNMF(K, sparsity=SHARE, solver="mu", max_iter=60, random_state=seed, dtype="float64")
    codes = snmf.fit_transform(A.T)
    np.testing.assert_allclose(snmf.objective_, losses, rtol=1e-7)
    assert snmf.reconstruction_err_ == pytest.approx(loss**0.5, rel=1e-8)
    scale = np.linalg.norm(Z, axis=0)
    np.testing.assert_allclose(snmf.components_, (Z / scale).T, atol=1e-7)
    np.testing.assert_allclose(codes, (scale[:, None] * Y).T, atol=1e-7 * codes.max())


def test_single_precision_stays_close(A):
    losses, _ = published(A, first_codes(90, 0).T, 15)
    snmf = SemiNMF(K, sparsity=SHARE, solver="mu", max_iter=15).fit(A.T)
    np.testing.assert_allclose(snmf.objective_, losses, rtol=1e-3)


def test_patience_counts_iterations_without_an_absolute_gain(A):
    solver = MultiplicativeUpdates(patience=5)
    snmf = SemiNMF(K, sparsity=SHARE, solver=solver, tol=1e9, max_iter=50).fit(A.T)
    assert (snmf.stop_reason_, snmf.n_iter_) == ("patience", 6)


def test_the_scripts_values_are_the_defaults():
    solver = MultiplicativeUpdates()
    assert (solver.patience, solver.default_max_iter, solver.default_tol) == (1500, 2000, 1e-4)


@pytest.mark.parametrize("init", ["kmeans++", "svd", np.eye(K, 40)])
def test_other_starts_begin_with_codes_that_can_grow(A, init):
    snmf = SemiNMF(K, sparsity=SHARE, solver="mu", init=init, max_iter=20).fit(A.T)
    assert snmf.relative_loss_ < 1
    assert snmf.history_[-1].code_density > 0.5


def test_an_interrupt_keeps_the_best_so_far(A):
    def interrupt(record):
        if record.iteration == 4:
            raise KeyboardInterrupt

    snmf = SemiNMF(K, sparsity=SHARE, solver="mu", callback=interrupt).fit(A.T)
    assert snmf.stop_reason_ == "interrupted"
    assert snmf.reconstruction_err_**2 == pytest.approx(snmf.objective_.min(), rel=1e-6)


@pytest.mark.parametrize("unit", [1e-12, 1e15])
def test_ends_well_at_both_ends_of_float32(A, unit):
    """Its small constants are absolute, as published, so the loss may differ; it stays finite."""
    X = A.T / np.linalg.norm(A, axis=0).max()
    atoms = X[:K] * 1e30
    for init in ("random", atoms):
        snmf = SemiNMF(K, sparsity=SHARE, solver="mu", max_iter=50, init=init)
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            snmf.fit(X * unit)
        assert np.isfinite(snmf.objective_).all()
        assert unit < 1 or snmf.relative_loss_ < 0.9
        assert np.isfinite(snmf.components_).all()


def test_has_no_streaming_form(A):
    with pytest.raises(InputError, match="has no partial_fit"):
        SemiNMF(K, sparsity=SHARE, solver="mu").partial_fit(A.T)
