"""Replacing atoms that do nothing: dead, duplicate or nearly useless ones."""

import torch

from cofire.factorization.atoms import DEAD_ENERGY, unit_atoms
from cofire.factorization.constraints import keep_largest
from cofire.factorization.initialization import kmeans
from cofire.factorization.state import FactorState
from cofire.types import AtomMatrix, Int, Tensor

DUPLICATE_COSINE = 0.95
"""|cosine| above which two atoms count as the same."""

_USELESS_SHARE = 0.01  # of the median usefulness
_MOST_REPLACED = 0.1  # fraction of the atoms in one repair
_SAMPLE_ROWS = 4096


def weak_atoms(state: FactorState) -> Int[Tensor, "features"]:
    """Atoms that are dead, the less useful of a duplicate pair, or nearly useless; worst first.

    The usefulness of atom j is G_jj ||D_j||^2: what the squared error rises by when it is taken
    away and nothing else moves.
    """
    unit, norms = unit_atoms(state.atoms)
    energy = state.products.gram.diagonal().to(norms.dtype)
    useful = energy * norms.square()
    weak = (useful <= _USELESS_SHARE * useful.median()) | (energy <= DEAD_ENERGY * energy.max())
    same = (unit @ unit.T).abs() > DUPLICATE_COSINE
    order = torch.arange(len(useful), device=useful.device)
    outranked = (useful[None, :] > useful[:, None]) | (
        (useful[None, :] == useful[:, None]) & (order[None, :] < order[:, None])
    )
    weak |= (same & outranked).any(dim=1)
    ranked = torch.argsort(useful, stable=True)
    ranked = ranked[weak[ranked]]
    return ranked[: max(1, int(_MOST_REPLACED * len(useful)))]


def replace_atoms(
    state: FactorState, weak: Int[Tensor, "weak"], generator: torch.Generator
) -> None:
    """Put directions that the model misses in place of weak atoms, with zero codes.

    The directions are centres of a spherical k-means over the residuals of a sample of rows.
    """
    state.codes[weak] = 0
    state.atoms[weak] = _missing_directions(state, len(weak), generator)


def _missing_directions(state: FactorState, count: int, generator: torch.Generator) -> AtomMatrix:
    order = torch.randperm(state.data.n_rows, generator=generator)[:_SAMPLE_ROWS].sort().values
    residual = state.data.take(order) - state.codes[:, order.to(state.codes.device)].T @ state.atoms
    directions, _ = unit_atoms(residual)
    return unit_atoms(keep_largest(kmeans(directions, count, generator), state.kept))[0]
