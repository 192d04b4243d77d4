"""The estimator: what it takes, what it gives back, what it refuses."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import ConvergenceWarning, InputError
from cofire.factorization import BlockCoordinateDescent, SemiNMF
from cofire.nnls import DEFAULT_TOL, kkt_residual
from cofire.site import Site


@pytest.fixture
def X(planted):
    return planted.X.numpy()


@pytest.fixture(scope="module")
def fitted(planted):
    return SemiNMF(10, sparsity=0.05).fit(planted.X.numpy())


def in_two_shards(X):
    n = len(X)
    column = np.zeros(n, dtype=np.int32)
    tokens = TokenTable(column, column, column, column, ("a",))
    rows = torch.from_numpy(X)
    return Activations((rows[:300], rows[300:]), tokens, Corpus([Text("a")]), Site(0, "mlp"))


def test_the_same_seed_gives_the_same_bits(X):
    first, second = (SemiNMF(10, sparsity=0.05, random_state=7).fit(X) for _ in range(2))
    assert np.array_equal(first.components_, second.components_)
    assert np.array_equal(first.objective_, second.objective_)
    other = SemiNMF(10, sparsity=0.05, random_state=8).fit(X)
    assert not np.array_equal(first.components_, other.components_)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(3)])
def test_other_random_states(X, random_state):
    assert SemiNMF(10, sparsity=0.05, random_state=random_state).fit(X).relative_loss_ < 0.2


def test_arrays_give_arrays_and_tensors_give_tensors(X, fitted):
    assert isinstance(fitted.transform(X), np.ndarray)
    codes = fitted.transform(torch.from_numpy(X))
    assert isinstance(codes, torch.Tensor)
    assert np.array_equal(fitted.transform(X), codes.numpy())
    assert isinstance(fitted.inverse_transform(codes), torch.Tensor)
    np.testing.assert_allclose(
        fitted.inverse_transform(codes.numpy()),
        codes.numpy() @ fitted.components_,
        rtol=1e-5,
        atol=1e-7,
    )


def test_activations_in_shards_fit_like_one_array(X, fitted):
    acts = in_two_shards(X)
    snmf = SemiNMF(10, sparsity=0.05)
    codes = snmf.fit_transform(acts)
    assert isinstance(codes, torch.Tensor)
    assert codes.shape == (len(X), 10)
    assert snmf.relative_loss_ == pytest.approx(fitted.relative_loss_, rel=1e-3)
    torch.testing.assert_close(codes, snmf.transform(acts))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_types(X, fitted, dtype):
    narrow = torch.from_numpy(X).to(dtype)
    snmf = SemiNMF(10, sparsity=0.05)
    codes = snmf.fit_transform(narrow)
    assert codes.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert snmf.relative_loss_ == pytest.approx(fitted.relative_loss_, rel=5e-3)
    held = SemiNMF(10, sparsity=0.05, dtype=str(dtype).removeprefix("torch.")).fit(X)
    assert held.relative_loss_ == pytest.approx(fitted.relative_loss_, rel=5e-3)


@pytest.mark.parametrize("solver", ["bcd", "pgd"])
@pytest.mark.parametrize("exponent", [-40, 40])
def test_the_unit_of_the_data_changes_nothing(X, solver, exponent):
    unit = np.float32(2.0**exponent)
    options = {"sparsity": 0.05, "solver": solver}
    plain, scaled = SemiNMF(10, **options).fit(X), SemiNMF(10, **options).fit(unit * X)
    assert np.array_equal(scaled.components_, plain.components_)
    assert scaled.relative_loss_ == pytest.approx(plain.relative_loss_, rel=1e-6)
    codes = plain.transform(X[:50])
    np.testing.assert_allclose(scaled.transform(unit * X[:50]) / unit, codes, rtol=1e-4, atol=1e-6)


def test_weights_of_any_size_and_an_enormous_row_leave_atoms_alive(X):
    heavy = SemiNMF(10, sparsity=0.05).fit(X, sample_weight=np.full(len(X), 1e30))
    assert heavy.relative_loss_ < 0.2
    outlier = SemiNMF(10, sparsity=0.05).fit(np.concatenate([X, 1e12 * X[:1]]))
    assert outlier.relative_loss_ < 0.05


def test_whole_numbers_and_data_frames(X):
    whole = np.round(20 * X).astype(np.int16)
    snmf = SemiNMF(10, sparsity=0.05)
    expected = snmf.fit_transform(whole.astype(np.float64))
    np.testing.assert_array_equal(snmf.fit_transform(whole).shape, expected.shape)
    frame = pd.DataFrame(whole, columns=[f"neuron{i}" for i in range(whole.shape[1])])
    snmf.fit(frame)
    assert list(snmf.feature_names_in_[:2]) == ["neuron0", "neuron1"]
    assert list(snmf.get_feature_names_out()[:2]) == ["seminmf0", "seminmf1"]


def test_input_is_never_changed(X):
    given = X.copy()
    given.setflags(write=False)
    SemiNMF(10, sparsity=0.05).fit(given).transform(given)
    assert np.array_equal(X, given)


def test_fit_transform_equals_transform(X):
    snmf = SemiNMF(10, sparsity=0.05)
    assert np.array_equal(snmf.fit_transform(X), snmf.transform(X))


def test_unseen_rows_are_encoded_exactly(planted, fitted):
    new = planted.codes[:50].flip(0) @ planted.atoms
    codes = fitted.transform(new)
    atoms = torch.from_numpy(fitted.components_)
    assert kkt_residual(new, atoms, codes, penalty=fitted.code_penalty_).max() < 2 * DEFAULT_TOL
    relative = (new - fitted.inverse_transform(codes)).square().sum() / new.square().sum()
    assert relative < 0.02
    assert (fitted.transform(0 * new) == 0).all()


def test_atoms_to_start_from(planted):
    snmf = SemiNMF(10, sparsity=0.05, init=planted.atoms.numpy()).fit(planted.X)
    cosines = (torch.from_numpy(snmf.components_) * planted.atoms).sum(dim=1)
    assert (cosines > 0.95).all()


def test_atoms_to_start_from_may_be_narrow_or_learned(planted):
    for atoms in (planted.atoms.bfloat16(), planted.atoms.clone().requires_grad_()):
        assert SemiNMF(10, sparsity=0.05, init=atoms).fit(planted.X).stop_reason_ == "converged"


@pytest.mark.parametrize("solver", ["bcd", "pgd"])
@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_atoms_of_any_unit_are_the_same_start(planted, solver, unit):
    options = {"sparsity": 0.05, "solver": solver}
    snmf = SemiNMF(10, **options, init=planted.atoms.numpy()).fit(planted.X)
    again = SemiNMF(10, **options, init=planted.atoms.numpy() * unit).fit(planted.X)
    np.testing.assert_allclose(again.objective_, snmf.objective_, rtol=1e-4)


def test_clones_draw_their_own_random_numbers(X):
    snmf = SemiNMF(10, sparsity=0.05, random_state=np.random.RandomState(3))
    copy = clone(snmf).fit(X)
    assert np.array_equal(snmf.fit(X).components_, copy.components_)


def test_callback_sees_the_history_and_clones_share_it(X):
    seen = []
    snmf = SemiNMF(10, sparsity=0.05, callback=seen.append)
    copy = clone(snmf)
    assert copy.callback is snmf.callback
    assert copy.get_params() == snmf.get_params()
    copy.fit(X)
    assert seen == copy.history_


def test_a_fitted_estimator_can_be_stored(X, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.transform(X), fitted.transform(X))


def spoiled(value):
    def spoil(X):
        X = X.copy()
        X[17, 3] = value
        return X

    return spoil


@pytest.mark.parametrize(
    ("options", "change", "words"),
    [
        ({}, spoiled(np.nan), r"NaN in row 17 \(1 of 800"),
        ({}, spoiled(np.inf), r"\(inf\) in row 17"),
        ({}, lambda X: 0 * X, "All values of X are zero"),
        ({}, lambda X: 1e20 * X, "values too large for squares in float32 in row 0"),
        ({}, lambda X: 1e-20 * X, "so small .* that their squares vanish in float32"),
        ({}, lambda X: X[:0], "0 sample"),
        ({}, lambda X: X[:, :0], "0 feature"),
        ({}, lambda X: X[0], "Reshape your data"),
        ({}, lambda X: X[None], "2 dimensions"),
        ({}, lambda X: X + 1j, "Complex data not supported"),
        ({}, lambda X: [["a", "b"]] * 20, "must hold numbers"),
        ({}, lambda X: [[1.0, 2.0], [3.0]] * 20, "all rows must be equally long"),
        ({}, lambda X: np.where(X > 9, X, pd.NA), r"missing values \(pandas\.NA\); fill"),
        ({}, lambda X: torch.from_numpy(X).to_sparse(), r"pass X.to_dense\(\)"),
        ({}, lambda X: X[:9], "n_components=10 is more than the n_samples=9 rows"),
        ({"n_components": 0}, None, "n_components must be a whole number from 1 on; got 0"),
        ({"sparsity": 0.0}, None, "sparsity is the fraction"),
        ({"sparsity": 1.5}, None, "sparsity is the fraction"),
        ({"max_iter": 0}, None, "max_iter must be a whole number from 1 on"),
        ({"tol": -1.0}, None, "tol must be"),
        ({"code_penalty": -0.1}, None, "code_penalty must be"),
        ({"code_penalty": float("nan")}, None, "code_penalty must be"),
        ({"solver": "newton"}, None, "Unknown solver 'newton'; use one of bcd, pgd, mu"),
        ({"init": "nndsvd"}, None, "cannot start from init='nndsvd'"),
        ({"init": np.ones((3, 4))}, None, r"init must be atoms of shape \(10, 120\)"),
        ({"init": np.full((10, 120), np.nan)}, None, "init holds NaN"),
        ({"init": np.ones((0, 120))}, None, "init holds no atoms"),
        ({"init": np.array([["a"]])}, None, "init must be one of .*; got ndarray"),
        ({"random_state": -1}, None, r"from 0 to 2\*\*32 - 1, .* got -1"),
        ({"solver": "mu", "code_penalty": 0.03}, None, "has no code_penalty"),
        ({"device": "tpu"}, None, "Unknown device"),
        ({"dtype": "int8"}, None, "Unknown number type"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(X, options, change, words):
    data = X if change is None else change(X)
    with pytest.raises(InputError, match=words) as caught:
        SemiNMF(**{"n_components": 10, "sparsity": 0.05, **options}).fit(data)
    assert "\n" not in str(caught.value)


def test_after_a_fit_that_was_refused_it_is_still_unfitted(X):
    snmf = SemiNMF(3)
    with pytest.raises(InputError, match="All values of X are zero"):
        snmf.fit(0 * X)
    with pytest.raises(NotFittedError):
        snmf.transform(X)


def test_a_stream_is_not_spread_over_processes(X):
    with pytest.raises(InputError, match="partial_fit runs in one process"):
        SemiNMF(10, sparsity=0.05, distributed=True).partial_fit(X)


def test_svd_has_no_more_atoms_than_channels():
    X = np.random.default_rng(0).standard_normal((30, 4))
    with pytest.raises(InputError, match="at most 4 atoms"):
        SemiNMF(5, sparsity=1.0, init="svd").fit(X)


def test_rows_of_another_width_are_refused(X, fitted):
    with pytest.raises(InputError, match="expecting 120 features"):
        fitted.transform(X[:, :7])
    with pytest.raises(InputError, match="10 features"):
        fitted.inverse_transform(np.ones((2, 3)))


def test_more_atoms_than_directions_still_work():
    X = np.repeat(np.eye(3), 10, axis=0)
    snmf = SemiNMF(8, sparsity=0.3, code_penalty=0.0).fit(X)
    assert snmf.relative_loss_ < 1e-6
    assert np.isfinite(snmf.transform(X)).all()


def test_settings_of_a_solver_can_be_given(X):
    solver = BlockCoordinateDescent(penalty_sweeps=0)
    snmf = SemiNMF(10, sparsity=0.05, solver=solver).fit(X)
    assert {record.phase for record in snmf.history_} == {"released", "final"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_agrees_with_cpu(X, fitted):
    snmf = SemiNMF(10, sparsity=0.05, device="cuda").fit(X)
    assert snmf.relative_loss_ == pytest.approx(fitted.relative_loss_, rel=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(snmf.transform(X).shape, (800, 10))


def test_the_default_penalty_is_the_solvers_own(X):
    assert SemiNMF(5, sparsity=0.1).fit(X).code_penalty_ > 0
    assert SemiNMF(5, sparsity=0.1, code_penalty=0.0).fit(X).code_penalty_ == 0
    published = SemiNMF(5, sparsity=0.1, solver="mu", max_iter=5, tol=1e9)
    with pytest.warns(ConvergenceWarning):
        assert published.fit(X).code_penalty_ == 0
