"""Every atom update is the exact minimiser under winner-take-all."""

from itertools import combinations

import pytest
import torch

from cofire.factorization.atoms import descend_atoms

KEPT = 2


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    C = torch.rand(30, 3, generator=generator, dtype=torch.float64)
    D = torch.zeros(3, 6, dtype=torch.float64)
    D[:, :KEPT] = 1.0
    return X, C, D


def loss(X, C, D):
    return float((X - C @ D).square().sum())


def descend(X, C, D, **options):
    descend_atoms(
        D,
        C.T @ X,
        C.T @ C,
        kept=torch.full((len(D),), KEPT),
        **{"sweeps": 1, "unit_norm": False, **options},
    )


def test_the_last_atom_updated_beats_every_support(problem):
    X, C, D = problem
    descend(X, C, D)
    rest = X - C[:, :2] @ D[:2]
    code = C[:, 2]
    best = min(
        float((rest - torch.outer(code, atom)).square().sum())
        for support in combinations(range(6), KEPT)
        for atom in [least_squares(rest, code, support)]
    )
    assert loss(X, C, D) == pytest.approx(best, rel=1e-12)


def least_squares(rest, code, support):
    atom = torch.zeros(rest.shape[1], dtype=rest.dtype)
    index = list(support)
    atom[index] = code @ rest[:, index] / code.square().sum()
    return atom


def test_on_the_sphere_no_other_unit_atom_is_better(problem):
    X, C, D = problem
    descend(X, C, D, unit_norm=True)
    assert torch.linalg.vector_norm(D, dim=1) == pytest.approx(1.0)
    best = loss(X, C, D)
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        rival = D.clone()
        index = torch.randperm(6, generator=generator)[:KEPT]
        rival[2] = 0
        rival[2, index] = torch.randn(KEPT, generator=generator, dtype=D.dtype)
        rival[2] /= rival[2].norm()
        assert loss(X, C, rival) >= best - 1e-9


def test_at_rest_every_atom_is_its_own_best_answer(problem):
    X, C, D = problem
    descend(X, C, D, sweeps=200)
    settled = D.clone()
    for j in range(3):
        free = C[:, j] @ (X - C @ settled) / C[:, j].square().sum() + settled[j]
        support = free.abs().topk(KEPT).indices
        torch.testing.assert_close(settled[j, support], free[support])
        assert settled[j].count_nonzero() == KEPT


def test_never_raises_the_loss(problem):
    X, C, D = problem
    before = loss(X, C, D)
    for _ in range(5):
        descend(X, C, D)
        assert loss(X, C, D) <= before * (1 + 1e-12)
        before = loss(X, C, D)


def test_an_atom_without_codes_is_left_alone(problem):
    X, C, D = problem
    C[:, 1] = 0
    kept = D[1].clone()
    descend(X, C, D)
    assert torch.equal(D[1], kept)


def test_more_atoms_than_a_block():
    generator = torch.Generator().manual_seed(2)
    X = torch.randn(200, 20, generator=generator, dtype=torch.float64)
    C = torch.rand(200, 70, generator=generator, dtype=torch.float64)
    blocked = torch.randn(70, 20, generator=generator, dtype=torch.float64)
    plain = blocked.clone()
    descend_atoms(
        blocked, C.T @ X, C.T @ C, kept=torch.full((len(blocked),), 20), sweeps=2, unit_norm=False
    )
    for _ in range(2):
        for j in range(70):
            plain[j] += C[:, j] @ (X - C @ plain) / C[:, j].square().sum()
    torch.testing.assert_close(blocked, plain)
