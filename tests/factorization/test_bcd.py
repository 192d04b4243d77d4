"""Block coordinate descent: monotone, optimal where it claims to be, explicit in its history."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cofire.errors import ConvergenceWarning
from cofire.factorization import BlockCoordinateDescent, SemiNMF, bcd
from cofire.factorization.data import DataMatrix
from cofire.factorization.momentum import Momentum
from cofire.factorization.planted import plant, recovery
from cofire.factorization.repair import Swaps, apply_swaps, prices, propose_swaps
from cofire.factorization.state import Correlator, FactorState
from cofire.nnls import DEFAULT_TOL, kkt_residual


def fit(planted, *, code_penalty=0.0, **options):
    """Minimise the published objective unless a penalty is asked for."""
    snmf = SemiNMF(10, sparsity=0.05, code_penalty=code_penalty, device="cpu", **options)
    return snmf.fit(planted.X)


@pytest.mark.parametrize("code_penalty", [0.0, 0.05])
@pytest.mark.parametrize("init", ["kmeans++", "random", "svd"])
def test_the_objective_never_rises(planted, init, code_penalty):
    snmf = fit(planted, init=init, code_penalty=code_penalty)
    objective = snmf.objective_
    assert (np.diff(objective) <= 1e-6 * objective[:-1]).all()


def test_history_names_every_phase_in_order(planted):
    records = fit(planted).history_
    phases = [record.phase for record in records if record.phase != "repair"]
    assert list(dict.fromkeys(phases)) == ["penalised", "released", "final"]
    assert [record.iteration for record in records] == sorted(r.iteration for r in records)
    assert all(b.seconds >= a.seconds for a, b in pairwise(records))
    penalised, final = records[0], records[-1]
    assert penalised.objective > penalised.loss
    assert final.objective == final.loss
    assert 0 < final.code_density < 1


def test_recorded_losses_are_those_of_the_factors(planted):
    snmf = fit(planted)
    codes = snmf.transform(planted.X)
    residual = planted.X.double() - codes.double() @ torch.from_numpy(snmf.components_).double()
    expected = float(residual.square().sum())
    assert snmf.history_[-1].loss == pytest.approx(expected, rel=1e-5)
    assert snmf.reconstruction_err_ == pytest.approx(expected**0.5, rel=1e-5)
    assert snmf.relative_loss_ == pytest.approx(
        expected / float(planted.X.double().square().sum()), rel=1e-5
    )


@pytest.mark.parametrize("code_penalty", [0.0, 0.05])
def test_the_codes_of_the_fit_are_optimal(planted, code_penalty):
    snmf = SemiNMF(10, sparsity=0.05, code_penalty=code_penalty)
    codes = snmf.fit_transform(planted.X)
    atoms = torch.from_numpy(snmf.components_)
    residual = kkt_residual(planted.X, atoms, codes, penalty=snmf.code_penalty_)
    assert residual.max() < 2 * DEFAULT_TOL


def test_at_convergence_no_single_atom_can_do_better(planted):
    snmf = fit(planted, tol=1e-9, max_iter=2000)
    C = snmf.transform(planted.X).double()
    D = torch.from_numpy(snmf.components_).double()
    residual = planted.X.double() - C @ D
    loss = float(residual.square().sum())
    for j in range(10):
        free = C[:, j] @ residual + C[:, j].square().sum() * D[j]
        gain = free.square().topk(6).values.sum() / C[:, j].square().sum()
        without = residual + torch.outer(C[:, j], D[j])
        best = float(without.square().sum() - gain)
        assert best >= loss * (1 - 1e-4)


def test_atoms_are_unit_and_sparse(planted):
    atoms = fit(planted).components_
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1, rtol=1e-5)
    assert (np.count_nonzero(atoms, axis=1) <= 6).all()


def test_a_kept_penalty_gives_sparser_codes(planted):
    plain = fit(planted).history_[-1]
    sparse = fit(planted, code_penalty=0.1).history_[-1]
    assert sparse.code_density < 0.8 * plain.code_density
    assert sparse.loss > plain.loss


def test_stops_at_an_exact_fit():
    planted = plant(200, 30, 2, sparsity=0.2, code_density=0.4, noise=0.0)
    snmf = SemiNMF(2, sparsity=0.2, code_penalty=0.0).fit(planted.X)
    assert snmf.stop_reason_ == "exact"
    assert snmf.relative_loss_ < 1e-5


def test_running_out_of_sweeps_is_recorded_and_warned_about_once(planted):
    with pytest.warns(ConvergenceWarning, match="after 3 sweeps") as caught:
        snmf = fit(planted, max_iter=3)
    assert len(caught) == 1
    assert (snmf.stop_reason_, snmf.n_iter_) == ("max_iter", 3)


def test_an_interrupt_keeps_what_there_is(planted):
    def interrupt(record):
        if record.iteration == 4 and record.phase != "final":
            raise KeyboardInterrupt

    snmf = fit(planted, callback=interrupt)
    assert snmf.stop_reason_ == "interrupted"
    assert snmf.n_iter_ == 4
    assert snmf.relative_loss_ < 1
    assert snmf.transform(planted.X).shape == (800, 10)


def test_an_interrupt_before_the_first_sweep_is_passed_on(planted):
    with pytest.raises(KeyboardInterrupt):
        fit(planted, solver=Impatient())


class Impatient(BlockCoordinateDescent):
    """Interrupted while it looks for a start."""

    def solve(self, problem, history):
        raise KeyboardInterrupt


def settled(planted, atoms):
    """Codes for these atoms under the start's penalty, the atoms left as they are."""
    data = DataMatrix([planted.X])
    state = FactorState(data, atoms, 6)
    for _ in range(3):
        state.sweep(0.03 * data.median_row_norm, code_sweeps=4, atom_sweeps=0)
    return state


def swaps_for(state):
    penalty = 0.03 * state.data.median_row_norm
    return propose_swaps(state, penalty, 3, torch.Generator().manual_seed(0))


def test_only_what_earns_nothing_is_offered_for_swaps(planted):
    atoms = planted.atoms.clone()
    assert len(swaps_for(settled(planted, atoms)).atoms) == 0
    atoms[4] = 0
    state = settled(planted, atoms)
    assert prices(state)[4] == 0
    assert swaps_for(state).atoms.tolist() == [4]
    atoms[4] = atoms[7]
    state = settled(planted, atoms)
    assert prices(state)[[4, 7]].max() < 1e-3 * prices(state).median()
    assert swaps_for(state).atoms.tolist() in ([4], [7])


def test_a_swap_finds_what_was_missing(planted):
    atoms = planted.atoms.clone()
    atoms[4] = 0
    state = settled(planted, atoms)
    apply_swaps(state, swaps_for(state))
    for _ in range(5):
        state.sweep(0.03 * state.data.median_row_norm, code_sweeps=2, atom_sweeps=2)
    assert state.atoms[4] @ planted.atoms[4] > 0.9


def test_prices_foretell_what_leaving_an_atom_out_costs(planted):
    """Exact where the constraint is not active: signed least squares without atom j."""
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(200, 30, generator=generator, dtype=torch.float64)
    state = FactorState(DataMatrix([X], compute_dtype=torch.float64), X[:4], 30)
    state.codes = torch.linalg.lstsq(state.atoms.T, X.T).solution
    state.products.add(state.codes, X)

    def loss(D):
        return (X.T - D.T @ torch.linalg.lstsq(D.T, X.T).solution).square().sum()

    rises = [loss(state.atoms[[i for i in range(4) if i != j]]) for j in range(4)]
    expected = torch.stack(rises) - loss(state.atoms)
    torch.testing.assert_close(prices(state), expected, rtol=1e-4, atol=0)


def test_repairs_are_recorded_and_never_raise_the_objective(planted):
    start = planted.atoms.clone()
    start[4] = 0
    snmf = fit(planted, init=start)
    repairs = [record for record in snmf.history_ if record.phase == "repair"]
    assert repairs[0].replaced == 1
    assert recovery(torch.from_numpy(snmf.components_), planted.atoms).min() > 0.95
    assert (np.diff(snmf.objective_) <= 1e-6 * snmf.objective_[:-1]).all()


def test_a_repair_that_does_not_help_is_taken_back(planted, monkeypatch):
    def bad_bargain(state, penalty, most, generator):
        noise = torch.randn(most, 120, generator=generator)
        return Swaps(torch.arange(most), noise / noise.norm(dim=1, keepdim=True))

    monkeypatch.setattr(bcd, "propose_swaps", bad_bargain)
    snmf = fit(planted)
    repairs = [record for record in snmf.history_ if record.phase == "repair"]
    assert repairs
    assert all(record.replaced == 0 for record in repairs)
    assert recovery(torch.from_numpy(snmf.components_), planted.atoms).min() > 0.95


@pytest.mark.filterwarnings("ignore::cofire.errors.ConvergenceWarning")
def test_extrapolation_goes_further_in_as_many_sweeps():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(800, 30, generator=generator) @ torch.randn(30, 100, generator=generator)

    def loss(**settings):
        solver = BlockCoordinateDescent(penalty_sweeps=0, **settings)
        snmf = SemiNMF(20, sparsity=0.1, code_penalty=0.0, solver=solver, max_iter=25, tol=0.0)
        return snmf.fit(X.relu()).relative_loss_

    assert loss() < loss(extrapolate=False)


def test_a_sweep_that_raises_the_objective_is_taken_back(planted):
    state = FactorState(DataMatrix([planted.X]), planted.atoms, 6)
    momentum = Momentum(state)
    losses = []
    for _ in range(3):
        momentum.leap()
        losses.append(state.sweep(0.0, code_sweeps=2, atom_sweeps=2).loss)
        momentum.land()
    atoms, codes = state.atoms.clone(), state.codes.clone()
    momentum.leap()
    assert not torch.equal(state.atoms, atoms)
    assert (state.codes >= 0).all()
    assert (state.atoms.count_nonzero(dim=1) <= 6).all()
    momentum.retreat()
    assert torch.equal(state.atoms, atoms)
    assert torch.equal(state.codes, codes)
    momentum.leap()
    assert torch.equal(state.atoms, atoms)  # once without


def test_taken_back_sweeps_are_marked_and_change_nothing(planted):
    records = fit(planted, code_penalty=0.0, tol=0.0, max_iter=150).history_
    marked = [i for i, record in enumerate(records) if record.taken_back]
    assert marked
    for i in marked:
        assert records[i].objective == records[i - 1].objective
        assert records[i].replaced == 0


@pytest.mark.parametrize("kept", [1, 2, 60])
def test_correlations_through_nonzero_entries_equal_the_dense_product(kept):
    generator = torch.Generator().manual_seed(0)
    D = torch.zeros(5, 60)
    D[:, :kept] = torch.randn(5, kept, generator=generator)
    X = torch.randn(700, 60, generator=generator)
    torch.testing.assert_close(Correlator(D, kept)(X, X.T.contiguous()), D @ X.T)
