"""Block coordinate descent: monotone, optimal where it claims to be, explicit in its history."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cofire.errors import ConvergenceWarning
from cofire.factorization import BlockCoordinateDescent, SemiNMF, descent
from cofire.factorization.bcd import CoordinateDescent
from cofire.factorization.code_blocks import CodesInMemory, stacked
from cofire.factorization.data import DataMatrix
from cofire.factorization.momentum import Momentum
from cofire.factorization.objective import Products
from cofire.factorization.planted import plant, recovery
from cofire.factorization.repair import Swaps, apply_swaps, prices, propose_swaps
from cofire.factorization.sweep import Correlator, Point, sweep
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


def swept(data, atoms, *, sweeps, code_sweeps=2, atom_sweeps=2, penalty=None, here=None, kept=6):
    """A point some sweeps further."""
    penalty = 0.03 * data.median_row_norm if penalty is None else penalty
    here = here or Point(atoms, CodesInMemory())
    kept = torch.full((len(atoms),), kept)
    for _ in range(sweeps):
        here, _ = sweep(
            data,
            Point(atoms if atom_sweeps == 0 else here.atoms, here.codes),
            CodesInMemory(),
            CoordinateDescent(code_sweeps, atom_sweeps),
            penalty=penalty,
            kept=kept,
        )
    return here


def settled(planted, atoms):
    """Codes for these atoms under the start's penalty, the atoms left as they are."""
    data = DataMatrix.of(planted.X)
    return data, swept(data, atoms, sweeps=3, code_sweeps=4, atom_sweeps=0)


def swaps_for(data, here):
    return propose_swaps(
        data,
        here,
        penalty=0.03 * data.median_row_norm,
        most=3,
        kept=torch.full((10,), 6),
        generator=torch.Generator().manual_seed(0),
    )


def test_only_what_earns_nothing_is_offered_for_swaps(planted):
    atoms = planted.atoms.clone()
    assert len(swaps_for(*settled(planted, atoms)).atoms) == 0
    atoms[4] = 0
    data, here = settled(planted, atoms)
    assert prices(here.atoms, here.products)[4] == 0
    assert swaps_for(data, here).atoms.tolist() == [4]
    atoms[4] = atoms[7]
    data, here = settled(planted, atoms)
    price = prices(here.atoms, here.products)
    assert price[[4, 7]].max() < 1e-3 * price.median()
    assert swaps_for(data, here).atoms.tolist() in ([4], [7])


def test_a_swap_finds_what_was_missing(planted):
    atoms = planted.atoms.clone()
    atoms[4] = 0
    data, here = settled(planted, atoms)
    swapped = apply_swaps(here.atoms, swaps_for(data, here))
    here = swept(data, swapped, sweeps=5)
    assert here.atoms[4] @ planted.atoms[4] > 0.9


def test_prices_foretell_what_leaving_an_atom_out_costs(planted):
    """Exact where the constraint is not active: signed least squares without atom j."""
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(200, 30, generator=generator, dtype=torch.float64)
    atoms = X[:4]
    products = Products(4, 30, X.device)
    products.add(torch.linalg.lstsq(atoms.T, X.T).solution, X)

    def loss(D):
        return (X.T - D.T @ torch.linalg.lstsq(D.T, X.T).solution).square().sum()

    rises = [loss(atoms[[i for i in range(4) if i != j]]) for j in range(4)]
    expected = torch.stack(rises) - loss(atoms)
    torch.testing.assert_close(prices(atoms, products), expected, rtol=1e-4, atol=0)


def test_repairs_are_recorded_and_never_raise_the_objective(planted):
    start = planted.atoms.clone()
    start[4] = 0
    snmf = fit(planted, init=start)
    repairs = [record for record in snmf.history_ if record.phase == "repair"]
    assert repairs[0].replaced == 1
    assert recovery(torch.from_numpy(snmf.components_), planted.atoms).min() > 0.95
    assert (np.diff(snmf.objective_) <= 1e-6 * snmf.objective_[:-1]).all()


def test_a_repair_that_does_not_help_is_taken_back(planted, monkeypatch):
    def bad_bargain(data, here, *, penalty, most, kept, generator):
        noise = torch.randn(most, 120, generator=generator)
        return Swaps(torch.arange(most), noise / noise.norm(dim=1, keepdim=True))

    monkeypatch.setattr(descent, "propose_swaps", bad_bargain)
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


def test_a_sweep_begins_further_along_the_last_change(planted):
    data = DataMatrix.of(planted.X)
    before = swept(data, planted.atoms, sweeps=2, penalty=0.0)
    here = swept(data, planted.atoms, sweeps=1, penalty=0.0, here=before)
    momentum = Momentum()
    assert momentum.ahead is None
    momentum.land(before)
    codes, atoms = stacked(here.codes), here.atoms.clone()
    nothing = CoordinateDescent(code_sweeps=0, atom_sweeps=0)
    kept = torch.full((10,), 6)
    ahead, _ = sweep(
        data, here, CodesInMemory(), nothing, penalty=0.0, kept=kept, ahead=momentum.ahead
    )
    step = momentum.weight * (codes - stacked(before.codes))
    further = (atoms + momentum.weight * (atoms - before.atoms)) * (atoms != 0)
    norms = further.norm(dim=1)
    torch.testing.assert_close(ahead.atoms, further / norms[:, None])
    torch.testing.assert_close(stacked(ahead.codes), (codes + step).clamp(min=0) * norms)
    assert torch.equal(stacked(here.codes), codes)  # where it came from is left as it was
    assert torch.equal(here.atoms, atoms)
    momentum.retreat()
    assert momentum.ahead is None  # once without


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
    torch.testing.assert_close(Correlator(D, kept)(X), D @ X.T)
