"""Beyond the plain fit: row weights, few codes a row, centring, budgets, projected gradient."""

import numpy as np
import pytest
import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.factorization import ProjectedGradient, SemiNMF
from cofire.nnls import DEFAULT_TOL, kkt_residual
from cofire.site import Site

SPARSITY = 0.05


@pytest.fixture(scope="module")
def repeated(planted):
    """Rows, how often each counts, and the same rows written out that often."""
    counts = np.arange(len(planted.X)) % 3
    X = planted.X.numpy()
    return X, counts, np.repeat(X, counts, axis=0)


@pytest.mark.parametrize("solver", ["bcd", "pgd"])
def test_a_weight_counts_a_row_that_often(planted, repeated, solver):
    X, counts, written_out = repeated
    options = {"sparsity": SPARSITY, "init": planted.atoms.numpy(), "solver": solver}
    weighted = SemiNMF(10, **options).fit(X, sample_weight=counts)
    plain = SemiNMF(10, **options).fit(written_out)
    assert weighted.code_penalty_ == pytest.approx(plain.code_penalty_, rel=1e-6)
    assert weighted.relative_loss_ == pytest.approx(plain.relative_loss_, rel=1e-4)
    np.testing.assert_allclose(weighted.components_, plain.components_, atol=2e-3)


def test_weights_reach_starts_and_streams(repeated):
    X, counts, written_out = repeated
    other = X.copy()
    other[counts == 0] = 1e3 * np.random.default_rng(0).random(X.shape)[counts == 0]
    for fit in (SemiNMF.fit, SemiNMF.partial_fit):
        snmf = SemiNMF(10, sparsity=SPARSITY)
        ignoring = fit(snmf, other, sample_weight=counts)
        assert ignoring.relative_loss_ < 0.25
    plain = SemiNMF(10, sparsity=SPARSITY).fit(written_out)
    assert np.isfinite(plain.relative_loss_)


@pytest.mark.parametrize(
    "weights", [[1.0, 2.0], -np.ones(800), np.zeros(800), np.full(800, np.nan)]
)
def test_weights_that_cannot_be_are_refused(planted, weights):
    with pytest.raises(InputError, match="sample_weight must hold"):
        SemiNMF(10, sparsity=SPARSITY).fit(planted.X, sample_weight=weights)


@pytest.mark.parametrize("code_penalty", [0.0, 0.03])
def test_few_features_a_row(planted, code_penalty):
    snmf = SemiNMF(10, sparsity=SPARSITY, max_active=2, code_penalty=code_penalty)
    codes = snmf.fit_transform(planted.X)
    assert int((codes > 0).sum(dim=1).max()) == 2
    assert torch.equal(codes, snmf.transform(planted.X))
    objective = snmf.objective_[:-1]  # the last one is of codes chosen anew
    assert (np.diff(objective) <= 1e-6 * objective[:-1]).all()
    free = SemiNMF(10, sparsity=SPARSITY, code_penalty=code_penalty).fit(planted.X)
    assert snmf.relative_loss_ > free.relative_loss_
    # The few codes are optimal given which they are.
    atoms = torch.from_numpy(snmf.components_)
    for row, code in zip(planted.X[:20], codes[:20], strict=True):
        used = code > 0
        residual = kkt_residual(
            row[None], atoms[used], code[None, used], penalty=snmf.code_penalty_
        )
        assert residual.max() < 2 * DEFAULT_TOL


def test_a_dictionary_keeps_the_limit_and_the_offset(planted):
    X = planted.X + 3.0
    snmf = SemiNMF(10, sparsity=SPARSITY, max_active=3, center=True).fit(X)
    dictionary = Dictionary.from_estimator(snmf, Site(0, "mlp"))
    codes = dictionary.encode(X)
    torch.testing.assert_close(codes, snmf.transform(X), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.decode(codes), snmf.inverse_transform(codes))
    again = Dictionary.from_parts(dictionary.tensors(), dictionary.settings())
    assert torch.equal(again.encode(X), codes)


def test_centring_takes_the_mean_off_and_puts_it_back(planted):
    shifted = planted.X + torch.linspace(-4, 4, 120)
    mean = shifted.mean(dim=0)
    centred = SemiNMF(10, sparsity=SPARSITY, center=True).fit(shifted)
    by_hand = SemiNMF(10, sparsity=SPARSITY).fit(shifted - mean)
    np.testing.assert_allclose(centred.offset_, mean, atol=1e-5)
    np.testing.assert_allclose(centred.components_, by_hand.components_, atol=1e-3)
    assert centred.relative_loss_ == pytest.approx(by_hand.relative_loss_, rel=1e-4)
    rebuilt = centred.inverse_transform(centred.transform(shifted))
    loss = (shifted - rebuilt).square().sum() / (shifted - mean).square().sum()
    assert float(loss) == pytest.approx(centred.relative_loss_, rel=1e-4)
    with pytest.raises(InputError, match="less their mean there is nothing"):
        SemiNMF(2, center=True).fit(np.ones((20, 5)))


def test_one_budget_for_all_atoms_lowers_the_loss():
    """Atoms of 3 and of 21 entries under a budget of 12 each."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.zeros(10, 120)
    for j, atom in enumerate(atoms):
        index = torch.randperm(120, generator=generator)[: 3 if j % 2 else 21]
        atom[index] = torch.randn(len(index), generator=generator)
    atoms /= atoms.norm(dim=1, keepdim=True)
    codes = torch.rand(800, 10, generator=generator) * (
        torch.rand(800, 10, generator=generator) < 0.3
    )
    X = codes @ atoms + 0.01 * torch.randn(800, 120, generator=generator)
    each = SemiNMF(10, sparsity=0.1).fit(X)
    shared = SemiNMF(10, sparsity=0.1, sparsity_budget="dictionary").fit(X)
    assert np.count_nonzero(shared.components_) <= 120
    assert shared.relative_loss_ < 0.8 * each.relative_loss_
    counts = np.count_nonzero(shared.components_, axis=1)
    assert counts.min() >= 1
    assert counts.max() > 12
    assert any(record.phase == "budget" for record in shared.history_)
    assert (np.diff(shared.objective_) <= 1e-6 * shared.objective_[:-1]).all()


@pytest.mark.parametrize("code_penalty", [0.0, 0.03])
def test_projected_gradient_never_rises_and_recovers(planted, code_penalty):
    snmf = SemiNMF(10, sparsity=SPARSITY, solver="pgd", code_penalty=code_penalty).fit(planted.X)
    assert (np.diff(snmf.objective_) <= 1e-6 * snmf.objective_[:-1]).all()
    bcd = SemiNMF(10, sparsity=SPARSITY, code_penalty=code_penalty).fit(planted.X)
    assert snmf.relative_loss_ < 1.25 * bcd.relative_loss_  # its supports are slower to move
    assert (np.count_nonzero(snmf.components_, axis=1) <= 6).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_active": 0}, "max_active must be a whole number from 1 on"),
        ({"sparsity_budget": "global"}, "sparsity_budget must be one of atom, dictionary"),
        ({"solver": "mu", "max_active": 3}, "solver='mu' has no max_active"),
        ({"solver": "pgd", "max_active": 3}, "solver='pgd' has no max_active"),
        ({"solver": "mu", "sparsity_budget": "dictionary"}, "has no sparsity_budget='dictionary'"),
        ({"solver": "mu", "checkpoint": "somewhere"}, "solver='mu' has no checkpoint"),
        ({"distributed": True}, "There is no process group: start with `torchrun"),
        ({"init": np.ones((11, 120))}, r"init must be atoms of shape \(10, 120\).* or fewer"),
    ],
)
def test_options_that_do_not_go_together_are_refused(planted, options, words):
    with pytest.raises(InputError, match=words) as caught:
        SemiNMF(10, sparsity=SPARSITY, **options).fit(planted.X)
    assert "\n" not in str(caught.value)


def test_solvers_refuse_weights_they_cannot_use(planted):
    with pytest.raises(InputError, match="solver='mu' has no sample_weight"):
        SemiNMF(10, solver="mu").fit(planted.X, sample_weight=np.ones(800))


def test_fewer_atoms_are_completed(planted):
    snmf = SemiNMF(10, sparsity=SPARSITY, init=planted.atoms[:7]).fit(planted.X)
    cosines = (torch.from_numpy(snmf.components_[:7]) * planted.atoms[:7]).sum(dim=1)
    assert (cosines > 0.95).all()
    assert snmf.relative_loss_ < 0.2


def test_a_warm_start_begins_where_the_last_fit_ended(planted):
    cold = SemiNMF(10, sparsity=SPARSITY, warm_start=True).fit(planted.X)
    first = cold.objective_[0]
    atoms = cold.components_.copy()
    cold.fit(planted.X)
    assert cold.objective_[0] < 0.9 * first
    assert (cold.components_ * atoms).sum(axis=1).min() > 0.99
    more = cold.set_params(n_components=12).fit(planted.X)
    assert more.components_.shape == (12, 120)


def test_solver_settings_of_projected_gradient(planted):
    solver = ProjectedGradient(penalty_sweeps=0)
    snmf = SemiNMF(10, sparsity=SPARSITY, solver=solver).fit(planted.X)
    assert {record.phase for record in snmf.history_} == {"released", "final"}
