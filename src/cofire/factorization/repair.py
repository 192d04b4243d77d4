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

from cofire.code_descent import unit_atoms
from cofire.factorization.constraints import keep_largest
from cofire.factorization.data import DataMatrix
from cofire.factorization.initialization import kmeans
from cofire.factorization.objective import Products
from cofire.factorization.sweep import Point
from cofire.types import AtomMatrix, Float, Int, Tensor

_SAMPLE_ROWS = 4096
_RIDGE = 1e-6


@dataclass(frozen=True)
class Swaps:
    """Atoms to give up and the unit directions to put in their place, best bargain first."""

    atoms: Int[Tensor, "features"]
    directions: AtomMatrix


def prices(atoms: AtomMatrix, products: Products) -> Float[Tensor, "features"]:
    """``price_j`` of every atom, for the products of the codes that go with them."""
    energy, inverse = _price_parts(atoms, products)
    return energy / inverse.diagonal()


def _price_parts(atoms: AtomMatrix, products: Products) -> tuple[Tensor, Tensor]:
    """G_jj for unit atoms, and H^-1."""
    unit, norms = unit_atoms(atoms)
    gram = products.gram
    wide = unit.to(gram.dtype)
    ridge = _RIDGE * torch.eye(len(unit), dtype=gram.dtype, device=gram.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(wide @ wide.T + ridge))
    return gram.diagonal() * norms.to(gram.dtype).square(), inverse


def propose_swaps(
    data: DataMatrix,
    here: Point,
    *,
    penalty: float,
    most: int,
    kept: Int[Tensor, "features"],
    generator: torch.Generator,
) -> Swaps:
    """Directions missing from the model, each for an atom with a lower price; often none.

    Args:
        data: the rows.
        here: factors after a sweep.
        penalty: absolute L1 weight on the codes.
        most: how many atoms may be swapped.
        kept: nonzero entries each atom may have.
        generator: draws the rows and centres; the same one gives the same proposal.
    """
    rows = data.draw(_SAMPLE_ROWS, generator)
    residual = data.take(rows)  # a copy of those rows
    residual.addmm_(_codes_of(data, here, rows).T, here.atoms, alpha=-1)
    sizes = torch.linalg.vector_norm(residual, dim=1)[:, None]
    residual.div_(sizes.clamp(min=torch.finfo(residual.dtype).tiny))
    centres = kmeans(residual, min(most, len(rows)), generator)
    directions = unit_atoms(keep_largest(centres, int(kept.double().mean())))[0]
    pull = (sizes * (residual @ directions.T) - penalty).clamp_(min=0).square()
    weights = data.weights_of(rows)
    if weights is not None:
        pull *= weights[:, None]
    products = here.products or Products(len(here.atoms), data.n_channels, data.device)
    worth = pull.sum(dim=0).to(products.gram.dtype) * (data.total_rows / len(rows))
    worth, best = worth.sort(descending=True, stable=True)
    given_up: list[int] = []
    energy, inverse = _price_parts(here.atoms, products)
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
    found = keep_largest(directions[best[: len(given_up)]], kept[atoms]) if given_up else directions
    return Swaps(atoms, unit_atoms(found[: len(given_up)])[0])


def _codes_of(
    data: DataMatrix, here: Point, rows: Int[Tensor, "rows"]
) -> Float[Tensor, "features rows"]:
    """Codes of some rows of all processes."""
    mine, numbers = data.local(rows)
    found = here.atoms.new_zeros(len(here.atoms), len(rows))
    columns = mine.nonzero()[:, 0]
    start = 0
    for codes in here.codes:
        inside = (numbers >= start) & (numbers < start + codes.shape[1])
        places = columns[inside].to(found.device)
        found[:, places] = codes[:, (numbers[inside] - start).to(found.device)]
        start += codes.shape[1]
    return data.ranks.add(found)


def apply_swaps(atoms: AtomMatrix, swaps: Swaps) -> AtomMatrix:
    """A copy with the directions in place; their codes are to begin at zero."""
    swapped = atoms.clone()
    swapped[swaps.atoms] = swaps.directions
    return swapped
