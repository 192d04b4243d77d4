"""A chain of factors: a hierarchy of atoms over one matrix of codes, and its exact block descent.

Level 0 is the finest. Its atoms are explained by those of level 1, these by those of level 2, ...:

    X ≈ P_l D_l for every level l,    P_l = C_0 C_1 ... C_l

    C_0 [rows features]        codes of the first level, >= 0
    C_l [features features]    weights: how much of every atom of level l - 1 each of level l is
    D_l [features channels]    atoms of level l, sparse, unit norm

In the paper's letters (arXiv:2506.10920) A ≈ Z_l Y_l ... Y_0 with Z_l = D_l^T and Y_l = C_l^T: it
is the atoms that are factorised, Z_(l-1) ≈ Z_l Y_l, which is D_(l-1) ≈ C_l D_l here. The paper
tunes the last line of the chain only; here every level has its line, so that the atoms of all
levels stay factors of their own, sparse as promised:

    J = sum_l w_l ||X - P_l D_l||^2 + 2 λ_0 sum(C_0) + 2 sum_l λ_l sum(C_l),    sum_l w_l = 1

With all weight on the last level (up to a rest that keeps the others defined) it is the paper's.

J is a quadratic in every factor by itself. All but C_0 see the data through V = C_0^T X and
G = C_0^T C_0 only, so that a pass over the rows is needed for the codes alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cofire.factorization.atoms import DEAD_ENERGY, descend_atoms
from cofire.factorization.objective import Products, squared_error
from cofire.types import AtomMatrix, Bool, Float, Tensor


@dataclass(eq=False)
class Chain:
    """The factors above the codes, in float64.

    Attributes:
        atoms: D_0, D_1, ..., one a level.
        weights: C_1, C_2, ..., one less.
        allowed: where weights may be above zero, a mask a matrix; None for everywhere.
    """

    atoms: list[Float[Tensor, "_ channels"]]
    weights: list[Float[Tensor, "_ _"]]
    allowed: list[Bool[Tensor, "_ _"]] | None = None

    @property
    def n_levels(self) -> int:
        """Levels, the first included."""
        return len(self.atoms)

    def reach(self, level: int, start: int = 0) -> Float[Tensor, "_ _"]:
        """C_(start+1) ... C_level: what atoms of one level weigh in those of another."""
        size = len(self.atoms[start])
        product = torch.eye(size, dtype=self.atoms[0].dtype, device=self.atoms[0].device)
        for weights in self.weights[start:level]:
            product = product @ weights
        return product

    def image(self, level: int, start: int = 0) -> AtomMatrix:
        """C_(start+1) ... C_level D_level: atoms of level ``start`` as ``level`` tells them."""
        return self.reach(level, start) @ self.atoms[level]

    def round_to(self, dtype: torch.dtype) -> None:
        """Round every factor to what another number type holds of it."""
        for factor in (*self.atoms, *self.weights):
            factor.copy_(factor.to(dtype))

    def copy(self) -> "Chain":
        """Factors of its own."""
        return Chain(
            [atoms.clone() for atoms in self.atoms],
            [weights.clone() for weights in self.weights],
            self.allowed,
        )


def products_at(
    chain: Chain, products: Products, level: int
) -> tuple[AtomMatrix, Float[Tensor, "features features"]]:
    """P_l^T X and P_l^T P_l, from those of the first level."""
    reach = chain.reach(level)
    return reach.T @ products.cross, reach.T @ products.gram @ reach


def level_losses(chain: Chain, products: Products, squared_norm: float) -> list[float]:
    """||X - P_l D_l||^2 of every level."""
    return [
        squared_error(squared_norm, *products_at(chain, products, level), atoms)
        for level, atoms in enumerate(chain.atoms)
    ]


@dataclass(frozen=True)
class ChainObjective:
    """What J weighs.

    Attributes:
        level_weights: w_l, above zero, 1 together.
        code_penalty: λ_0, absolute.
        weight_penalties: λ_1, λ_2, ..., absolute.
        kept: nonzero entries that an atom of each level may have.
    """

    level_weights: tuple[float, ...]
    code_penalty: float
    weight_penalties: tuple[float, ...]
    kept: tuple[int, ...]

    def value(self, chain: Chain, losses: Sequence[float], code_sum: float) -> float:
        """J, from the losses of the levels and the sum of the codes."""
        fit = sum(w * loss for w, loss in zip(self.level_weights, losses, strict=True))
        shrunk = sum(
            penalty * float(weights.sum())
            for penalty, weights in zip(self.weight_penalties, chain.weights, strict=True)
        )
        return fit + 2.0 * (self.code_penalty * code_sum + shrunk)


def code_problem(
    chain: Chain, objective: ChainObjective
) -> tuple[AtomMatrix, Float[Tensor, "features features"]]:
    """What J says of the codes: for every row x of X, c is to minimise c H c / 2 - c (E x - λ_0).

    Returns:
        E = sum_l w_l E_l and H = sum_l w_l E_l E_l^T with E_l = C_1 ... C_l D_l.
    """
    images = [chain.image(level) for level in range(chain.n_levels)]
    parts = list(zip(objective.level_weights, images, strict=True))
    mean = torch.stack([w * image for w, image in parts]).sum(dim=0)
    gram = torch.stack([w * (image @ image.T) for w, image in parts]).sum(dim=0)
    return mean, gram


def stacked_images(chain: Chain, objective: ChainObjective) -> Float[Tensor, "features _"]:
    """E_l · sqrt(w_l) side by side: the codes of J are the least-squares codes of these atoms."""
    parts = zip(objective.level_weights, range(chain.n_levels), strict=True)
    return torch.cat([w**0.5 * chain.image(level) for w, level in parts], dim=1)


def descend_chain(
    chain: Chain,
    products: Products,
    objective: ChainObjective,
    *,
    rounds: int = 1,
    first: bool = True,
) -> None:
    """Minimise J over every factor but the codes in turn, in place; J never rises.

    Atoms are minimised over one at a time by their closed form on the unit sphere (atoms.py),
    weights one entry at a time.

    Args:
        chain: the factors.
        products: of the codes, for the first level.
        objective: J.
        rounds: passes over all factors.
        first: whether the atoms of the first level move too.
    """
    for _ in range(rounds):
        for level in range(chain.n_levels):
            if level:
                descend_weights(chain, products, objective, level)
            if level or first:
                _descend_level(chain, products, level, objective.kept[level])


def _descend_level(chain: Chain, products: Products, level: int, kept: int) -> None:
    cross, gram = products_at(chain, products, level)
    if float(gram.diagonal().max()) <= 0:
        return  # no code reaches this level
    atoms = chain.atoms[level]
    room = torch.full((len(atoms),), kept, device=atoms.device)
    descend_atoms(atoms, cross, gram, kept=room, sweeps=1, unit_norm=True)


def descend_weights(
    chain: Chain, products: Products, objective: ChainObjective, level: int
) -> None:
    """Minimise J over every entry of C_level in turn, in place.

    With G = P^T P and V = P^T X of the level below, B_m = C_(l+1) ... C_m D_m, B = sum_m w_m B_m
    and K = sum_m w_m B_m B_m^T over the levels m >= l that C_l leads to, J is, but for what does
    not depend on C = C_l,

        <G, C K C^T> - 2 <V B^T - λ, C>

    whose minimum over the entry i, j is max(0, C_ij + (V B^T - λ - G C K)_ij / (G_ii K_jj)).
    """
    cross, gram = products_at(chain, products, level - 1)
    own = [
        (objective.level_weights[m], chain.image(m, start=level))
        for m in range(level, chain.n_levels)
    ]
    mean = torch.stack([w * image for w, image in own]).sum(dim=0)
    mutual = torch.stack([w * (image @ image.T) for w, image in own]).sum(dim=0)
    target = cross @ mean.T - objective.weight_penalties[level - 1]
    weights = chain.weights[level - 1]
    # Entries are taken one by one: on a GPU each would be a launch.
    C, G, K, T = (part.cpu().numpy() for part in (weights, gram, mutual, target))
    allowed = None if chain.allowed is None else chain.allowed[level - 1].cpu().numpy()
    updated = _descend_entries(C.copy(), G, K, T, allowed)
    updated[:, K.diagonal() <= 0] = 0.0  # weights of atoms of zeros only cost
    weights.copy_(torch.from_numpy(updated).to(weights))


def _descend_entries(
    C: np.ndarray, G: np.ndarray, K: np.ndarray, T: np.ndarray, allowed: np.ndarray | None
) -> np.ndarray:
    energy, curvature = G.diagonal(), K.diagonal()
    floor = DEAD_ENERGY * max(float(energy.max(initial=0.0)), np.finfo(np.float64).tiny)
    alive = np.flatnonzero(curvature > 0)
    for i in np.flatnonzero(energy > floor):
        slope = T[i] - (G[i] @ C) @ K
        columns = alive if allowed is None else alive[allowed[i, alive]]
        for j in columns:
            old = C[i, j]
            new = max(0.0, old + slope[j] / (energy[i] * curvature[j]))
            if new != old:
                slope -= (energy[i] * (new - old)) * K[j]
                C[i, j] = new
    return C
