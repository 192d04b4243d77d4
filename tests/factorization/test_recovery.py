"""A planted dictionary is found again, by bcd at least as well as by the published updates."""

import pytest
import torch

from cofire.factorization import SemiNMF
from cofire.factorization.planted import plant, recovery


def test_recovery_matches_one_to_one_and_minds_the_sign():
    atoms = torch.eye(3, 5)
    assert recovery(atoms[[2, 0, 1]], atoms).tolist() == [1, 1, 1]
    assert recovery(torch.stack([atoms[0], atoms[0], -atoms[2]]), atoms).tolist() == [1, 0, 0]
    assert recovery(atoms[:2], atoms).tolist() == [1, 1, 0]


def test_planted_data_is_what_it_says():
    planted = plant(300, 100, 8, sparsity=0.05, overlap=0.4, noise=0.25)
    assert (planted.atoms.count_nonzero(dim=1) == 5).all()
    assert (planted.atoms[:, :5].count_nonzero(dim=1) == 2).all()
    residual = planted.X - planted.codes @ planted.atoms
    share = float(residual.square().sum() / planted.X.square().sum())
    assert planted.noise_share == pytest.approx(share, rel=1e-4)
    assert share == pytest.approx(0.2, abs=0.02)
    assert torch.equal(planted.X, plant(300, 100, 8, sparsity=0.05, overlap=0.4, noise=0.25).X)


def test_planted_frequencies_follow_a_power_law():
    planted = plant(40_000, 60, 16, sparsity=0.05, code_density=0.05, power=0.7)
    frequency = (planted.codes > 0).float().mean(dim=0)
    assert float(frequency.mean()) == pytest.approx(0.05, rel=0.05)
    assert float(frequency[0] / frequency[15]) == pytest.approx(16**0.7, rel=0.15)


@pytest.mark.filterwarnings("ignore::cofire.errors.ConvergenceWarning")
def test_bcd_recovers_more_than_mu_at_a_lower_loss():
    found, published = [], []
    for seed in range(4):
        planted = plant(
            1500, 200, 20, sparsity=0.03, code_density=0.1, overlap=0.5, noise=0.3, seed=seed
        )
        options = {"sparsity": 0.03, "random_state": seed}
        bcd = SemiNMF(20, code_penalty=0.0, **options).fit(planted.X)
        mu = SemiNMF(20, solver="mu", max_iter=100, **options).fit(planted.X)
        assert bcd.relative_loss_ < mu.relative_loss_
        found.append(recovery(torch.from_numpy(bcd.components_), planted.atoms))
        published.append(recovery(torch.from_numpy(mu.components_), planted.atoms))
    assert torch.cat(found).mean() >= torch.cat(published).mean()
    assert (torch.cat(found) > 0.9).float().mean() >= 0.95
