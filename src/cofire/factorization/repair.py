"""Swapping atoms that earn little for directions that the residual holds.

One number ranks the atoms: what the objective would rise by if atom j were taken away and the other
codes adapted, estimated without the constraint C >= 0 as

    price_j = G_jj / (H^-1)_jj,    G = C^T C,  H = D D^T

(the saliency of Hassibi & Stork 1993). It is near zero for a dead atom (G_jj = 0), for either of
two equal atoms ((H^-1)_jj is large) and for an atom that does nothing. Once one atom is given up
the others are priced anew, so that of two equal atoms one stays. A new direction z is worth, as a
lower bound, what it takes off the objective with all other codes unchanged:

    worth = sum over rows of max(0, r . z - penalty)^2,    r = x - c D

An atom is swapped when a direction is worth more than the atom's price. The estimates propose; the
caller sweeps, compares the true objective, and takes the swaps back if it is not lower.
"""

from dataclasses import dataclass

import torch

from cofire.factorization.constraints import keep_largest
from cofire.factorization.initialization import kmeans
from cofire.factorization.state import FactorState
from cofire.nnls import unit_atoms
from cofire.types import AtomMatrix, Float, Int, Tensor

_SAMPLE_ROWS = 4096
_RIDGE = 1e-6


@dataclass(frozen=True)
class Swaps:
    """Atoms to give up and the unit directions to put in their place, best bargain first."""

    atoms: Int[Tensor, "features"]
    directions: AtomMatrix


def prices(state: FactorState) -> Float[Tensor, "features"]:
    """``price_j`` of every atom, for the codes and atoms of the last sweep."""
    energy, inverse = _price_parts(state)
    return energy / inverse.diagonal()


def _price_parts(state: FactorState) -> tuple[Tensor, Tensor]:
    """G_jj for unit atoms, and H^-1."""
    unit, norms = unit_atoms(state.atoms)
    gram = state.products.gram
    wide = unit.to(gram.dtype)
    ridge = _RIDGE * torch.eye(len(unit), dtype=gram.dtype, device=gram.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(wide @ wide.T + ridge))
    return gram.diagonal() * norms.to(gram.dtype).square(), inverse


def propose_swaps(
    state: FactorState, penalty: float, most: int, generator: torch.Generator
) -> Swaps:
    """Directions missing from the model, each for an atom with a lower price; often none.

    Args:
        state: after a sweep.
        penalty: absolute L1 weight on the codes.
        most: how many atoms may be swapped.
        generator: draws the rows and centres; the same one gives the same proposal.
    """
    data = state.data
    order = torch.randperm(data.n_rows, generator=generator)[:_SAMPLE_ROWS].sort().values
    residual = data.take(order) - state.codes[:, order.to(data.device)].T @ state.atoms
    directions = _centres(residual, min(most, len(order)), state.kept, generator)
    pull = (residual @ directions.T - penalty).clamp_(min=0)
    worth = pull.square().sum(dim=0).to(state.products.gram.dtype) * (data.n_rows / len(order))
    worth, best = worth.sort(descending=True, stable=True)
    given_up: list[int] = []
    energy, inverse = _price_parts(state)
    for value in worth.tolist():
        price = energy / inverse.diagonal()
        price[given_up] = torch.inf
        cheapest = int(price.argmin())
        if value <= float(price[cheapest]):
            break
        given_up.append(cheapest)
        column = inverse[:, cheapest]
        inverse = inverse - torch.outer(column, column) / column[cheapest]
    atoms = torch.tensor(given_up, dtype=torch.int64, device=data.device)
    return Swaps(atoms, directions[best[: len(given_up)]])


def _centres(residual: Tensor, count: int, kept: int, generator: torch.Generator) -> AtomMatrix:
    """Sparse unit directions in which many rows of the residual point (spherical k-means)."""
    centres = kmeans(unit_atoms(residual)[0], count, generator)
    return unit_atoms(keep_largest(centres, kept))[0]


def apply_swaps(state: FactorState, swaps: Swaps) -> None:
    """Put the directions in place, with zero codes."""
    state.codes[swaps.atoms] = 0
    state.atoms[swaps.atoms] = swaps.directions
