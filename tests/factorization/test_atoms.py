"""Every atom update is the exact minimiser under winner-take-all."""

from itertools import combinations

import pytest
import torch

from cofire.factorization import atoms
from cofire.factorization.atoms import descend_atoms
from cofire.factorization.constraints import keep_largest

KEPT = 2


@pytest.fixture(params=["compiled", "operations"])
def problem(request, monkeypatch):
    monkeypatch.setattr(atoms, "_SPARSE_SHARE", 1.0 if request.param == "compiled" else 0.0)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("unit_norm", [False, True])
def test_compiled_atoms_are_those_of_the_operations(monkeypatch, dtype, unit_norm):
    generator = torch.Generator().manual_seed(2)
    X = torch.randn(400, 150, generator=generator, dtype=dtype)
    C = torch.rand(400, 40, generator=generator, dtype=dtype)
    C[:, 7] = 0  # dead: left as it is
    kept = torch.randint(1, 12, (40,), generator=generator)
    start = keep_largest(torch.randn(40, 150, generator=generator, dtype=dtype), 12)
    start[3] = 0
    found = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(atoms, "_SPARSE_SHARE", share)
        D = start.clone()
        descend_atoms(D, C.T @ X, C.T @ C, kept=kept, sweeps=3, unit_norm=unit_norm)
        found.append(D)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[1][7], start[7])
    alive = torch.arange(40) != 7
    assert torch.equal(found[1].count_nonzero(dim=1)[alive], kept[alive])


def test_of_equal_entries_the_first_are_kept(monkeypatch):
    monkeypatch.setattr(atoms, "_SPARSE_SHARE", 1.0)
    D = torch.zeros(1, 6)
    descend_atoms(
        D, torch.tensor([[2.0, -2.0, 1.0, 2.0, 2.0, 0.0]]), torch.ones(1, 1),
        kept=torch.tensor([3]), sweeps=2, unit_norm=False,
    )  # fmt: skip
    assert D.tolist() == [[2.0, -2.0, 0.0, 2.0, 0.0, 0.0]]


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
