"""Block descent on a chain of factors: every step is exact, none raises the objective."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from cofire.code_descent import unit_atoms
from cofire.factorization.chain import (
    Chain,
    ChainObjective,
    code_problem,
    descend_chain,
    descend_weights,
    level_losses,
    products_at,
    stacked_images,
)
from cofire.factorization.chain_tuning import joint_codes, tune_above
from cofire.factorization.constraints import keep_largest
from cofire.factorization.objective import Products
from cofire.nnls import kkt_residual

SIZES, CHANNELS, ROWS = (9, 5, 3), 14, 60
KEPT = (4, 6, 8)


def problem(seed=0, penalty=0.05):
    """Rows, codes, a random chain of three levels and an objective that weighs them unlike."""
    generator = torch.Generator().manual_seed(seed)

    def positive(*shape):
        return torch.randn(*shape, generator=generator).double().clamp(min=0)

    X = torch.randn(ROWS, CHANNELS, generator=generator).double()
    codes = positive(ROWS, SIZES[0])
    atoms = [torch.randn(size, CHANNELS, generator=generator).double() for size in SIZES]
    atoms = [unit_atoms(keep_largest(one, kept))[0] for one, kept in zip(atoms, KEPT, strict=True)]
    weights = [positive(SIZES[0], SIZES[1]), positive(SIZES[1], SIZES[2])]
    objective = ChainObjective((0.5, 0.3, 0.2), penalty, (penalty, 2 * penalty), KEPT)
    return X, codes, Chain(atoms, weights), objective


def products_of(X, codes):
    products = Products(codes.shape[1], X.shape[1], X.device)
    products.add(codes.T, X)
    return products


def value(X, codes, chain, objective):
    """J of the module docstring, from the residuals themselves."""
    carried, total = codes, 2 * objective.code_penalty * float(codes.sum())
    for level, atoms in enumerate(chain.atoms):
        if level:
            carried = carried @ chain.weights[level - 1]
            penalty = objective.weight_penalties[level - 1]
            total += 2 * penalty * float(chain.weights[level - 1].sum())
        total += objective.level_weights[level] * float((X - carried @ atoms).square().sum())
    return total


def test_the_objective_from_products_is_that_of_the_residuals():
    X, codes, chain, objective = problem()
    losses = level_losses(chain, products_of(X, codes), float(X.square().sum()))
    by_products = objective.value(chain, losses, float(codes.sum()))
    assert by_products == pytest.approx(value(X, codes, chain, objective), rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), penalty=st.sampled_from([0.0, 0.05, 2.0]))
def test_no_step_raises_the_objective_or_breaks_a_constraint(seed, penalty):
    X, codes, chain, objective = problem(seed, penalty)
    products = products_of(X, codes)
    last = value(X, codes, chain, objective)
    for level in (1, 2):
        descend_weights(chain, products, objective, level)
        now = value(X, codes, chain, objective)
        assert now <= last + 1e-9 * last
        last = now
    for _ in range(3):
        descend_chain(chain, products, objective)
        now = value(X, codes, chain, objective)
        assert now <= last + 1e-9 * last
        last = now
    assert all(bool((weights >= 0).all()) for weights in chain.weights)
    for atoms, kept in zip(chain.atoms, KEPT, strict=True):
        assert int((atoms != 0).sum(dim=1).max()) <= kept


@pytest.mark.parametrize("level", [1, 2])
def test_weights_reach_the_nonnegative_least_squares_optimum(level):
    X, codes, chain, objective = problem(penalty=0.0)
    for _ in range(2000):
        descend_weights(chain, products_of(X, codes), objective, level)
    # The same problem written out: one column an entry of the weights.
    carried = codes @ chain.reach(level - 1)
    columns = []
    for i in range(SIZES[level - 1]):
        for j in range(SIZES[level]):
            rows = [
                w**0.5 * torch.outer(carried[:, i], chain.image(m, start=level)[j]).flatten()
                for m, w in enumerate(objective.level_weights)
                if m >= level
            ]
            columns.append(torch.cat(rows))
    target = torch.cat(
        [w**0.5 * X.flatten() for m, w in enumerate(objective.level_weights) if m >= level]
    )
    best, _ = nnls(torch.stack(columns, dim=1).numpy(), target.numpy())
    found = chain.weights[level - 1].numpy()
    assert np.allclose(found, best.reshape(found.shape), atol=1e-6)


def test_joint_codes_are_optimal():
    X, codes, chain, objective = problem()
    found = joint_codes(X, chain, objective)
    wide = torch.cat([w**0.5 * X for w in objective.level_weights], dim=1)
    atoms = stacked_images(chain, objective)
    assert float(kkt_residual(wide, atoms, found, penalty=objective.code_penalty).max()) < 1e-4
    assert value(X, found, chain, objective) < value(X, codes, chain, objective)
    mean, gram = code_problem(chain, objective)
    assert torch.allclose(atoms @ atoms.T, gram)
    assert torch.allclose(atoms @ wide.T, mean @ X.T)


def test_products_of_a_level_are_those_of_its_codes():
    X, codes, chain, _ = problem()
    cross, gram = products_at(chain, products_of(X, codes), 2)
    carried = codes @ chain.weights[0] @ chain.weights[1]
    assert torch.allclose(cross, carried.T @ X)
    assert torch.allclose(gram, carried.T @ carried)


def test_weights_outside_the_mask_stay_zero():
    X, codes, chain, objective = problem()
    mask = torch.nn.functional.one_hot(torch.arange(9) % 5, 5).bool()
    chain.allowed = [mask, torch.nn.functional.one_hot(torch.arange(5) % 3, 3).bool()]
    chain.weights = [w * m for w, m in zip(chain.weights, chain.allowed, strict=True)]
    descend_chain(chain, products_of(X, codes), objective, rounds=3)
    assert not chain.weights[0][~mask].any()
    assert bool((chain.weights[0] > 0).any())


def test_tuning_above_keeps_the_first_level_and_never_rises():
    X, codes, chain, objective = problem()
    first = chain.atoms[0].clone()
    history, reason = tune_above(
        chain,
        products_of(X, codes),
        objective,
        float(X.square().sum()),
        code_sum=float(codes.sum()),
    )
    assert torch.equal(chain.atoms[0], first)
    objectives = [record.objective for record in history]
    assert all(b <= a + 1e-9 * a for a, b in pairwise(objectives))
    assert reason == "converged"
    assert history[-1].losses[0] == pytest.approx(history[0].losses[0])
    assert history[-1].losses[2] < history[0].losses[2]


def test_a_parent_without_an_atom_gets_no_weight():
    X, codes, chain, objective = problem()
    chain.atoms[1][2] = 0
    chain.atoms[2][:] = chain.atoms[2]
    objective = replace(objective, level_weights=(0.5, 0.5 - 1e-9, 1e-9))
    lonely = Chain(chain.atoms[:2], chain.weights[:1])
    alone = ChainObjective((0.5, 0.5), 0.0, (0.01,), KEPT[:2])
    descend_weights(lonely, products_of(X, codes), alone, 1)
    assert not lonely.weights[0][:, 2].any()
