"""Where the fine-tuning of a hierarchy begins: levels found one after the other.

``merge``    bottom-up, as published: atoms of the first level from the rows, then the atoms of
             every level from those of the level below, D_(l-1) ≈ C_l D_l, by the same method.
``split``    top-down: the coarsest level from the rows, then every level from the rows again,
             beginning with children of the atoms above; weights by nonnegative least squares.
``cluster``  the alternative without factorisation: atoms of the first level from the rows, then one
             dendrogram over them (average linkage on cosines; SciPy), cut at every size; each atom
             has one parent, and keeps it in fine-tuning.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.chain import Chain
from cofire.factorization.constraints import keep_largest
from cofire.factorization.data import DataMatrix
from cofire.factorization.initialization import kmeans
from cofire.nnls import nonnegative_codes
from cofire.types import AtomMatrix, Float, Int, Tensor

_SAMPLE_ROWS = 8192  # from which atoms are split
_LARGEST_SHARE = 0.5  # of a row's code energy, from which its atom counts as what the row is about

LevelFit: TypeAlias = Callable[[int, Tensor | None], Tensor]
"""Fits the atoms of one level to the rows, from given ones or from the solver's own start."""

AtomFit: TypeAlias = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Factorises atoms: (level, atoms of the level below) -> (weights, atoms)."""


def merged(first: AtomMatrix, n_levels: int, factorise: AtomFit) -> Chain:
    """Bottom-up: every level from the atoms of the one below.

    Args:
        first: D_0.
        n_levels: levels in all.
        factorise: the fit of one level.
    """
    chain = Chain([first.double()], [])
    for level in range(1, n_levels):
        weights, atoms = factorise(level, chain.atoms[-1])
        chain.weights.append(weights.double())
        chain.atoms.append(atoms.double())
    return chain


@dataclass(frozen=True)
class Splitting:
    """What a split needs to know.

    Attributes:
        data: the rows.
        sizes: atoms of every level, finest first.
        kept: nonzero entries an atom of each level may have.
        code_penalty: of codes, relative to the median norm of rows.
        generator: draws the rows and centres.
    """

    data: DataMatrix
    sizes: Sequence[int]
    kept: Sequence[int]
    code_penalty: float
    generator: torch.Generator

    def chain(self, fit: LevelFit) -> Chain:
        """Top-down: the coarsest level first, each atom's children after it."""
        last = len(self.sizes) - 1
        atoms = {last: fit(last, None)}
        for level in reversed(range(last)):
            start = self.children(atoms[level + 1], self.sizes[level], self.kept[level])
            atoms[level] = fit(level, start)
        weights = [
            nonnegative_codes(atoms[level], atoms[level + 1], penalty=self.code_penalty).double()
            for level in range(last)
        ]
        return Chain([atoms[level].double() for level in range(last + 1)], weights)

    def children(
        self, parents: AtomMatrix, n_children: int, kept: int
    ) -> Float[Tensor, "_ channels"]:
        """Atoms to begin the next level with: centres of what each parent's rows have of it.

        A row belongs to the parent that carries most of its codes' energy. Children are given out
        one at a time, to the parent whose rows are worst explained per child.
        """
        rows = self.data.draw(_SAMPLE_ROWS, self.generator)
        X = self.data.take(rows)
        penalty = self.code_penalty * self.data.median_row_norm
        codes = nonnegative_codes(X, parents.to(X.dtype), penalty=penalty)
        residual = X - codes @ parents.to(X.dtype)
        energy = codes.square()
        owner = torch.where(
            energy.amax(dim=1) > _LARGEST_SHARE * energy.sum(dim=1), energy.argmax(dim=1), -1
        )
        errors = [float(residual[owner == j].square().sum()) for j in range(len(parents))]
        room = [int((owner == j).sum()) for j in range(len(parents))]
        found = []
        for j, wanted in enumerate(_given_out(errors, room, n_children)):
            if wanted == 1:
                found.append(parents[j : j + 1].to(X.dtype))
                continue
            own = owner == j
            part = residual[own] + codes[own][:, j : j + 1] * parents[j].to(X.dtype)
            found.append(kmeans(part, wanted, self.generator))
        return unit_atoms(keep_largest(torch.cat(found), kept))[0]


def _given_out(errors: Sequence[float], room: Sequence[int], total: int) -> list[int]:
    """One child a parent, the others to the largest error per child that has the rows for it."""
    counts = np.ones(len(errors), int)
    worth = np.array(errors)
    for _ in range(total - len(errors)):
        per_child = np.where(counts < np.array(room), worth / counts, -1.0)
        best = int(per_child.argmax())
        if per_child[best] < 0:
            break
        counts[best] += 1
    return [int(count) for count in counts]


def clustered(first: AtomMatrix, sizes: Sequence[int], kept: Sequence[int]) -> Chain:
    """Nested clusters of the first level's atoms: a parent is the mean of its members, sparse.

    Args:
        first: D_0.
        sizes: atoms of every level, finest first.
        kept: nonzero entries an atom of each level may have.
    """
    groups = nested_clusters(first, sizes[1:])
    chain = Chain([first.double()], [], [])
    masks: list[Tensor] = []
    below = torch.arange(len(first))
    for group, room in zip(groups, kept[1:], strict=True):
        # Clusters are cuts of one dendrogram: members of one cluster are in one cluster above.
        of_below = torch.zeros(int(below.max()) + 1, dtype=torch.int64)
        of_below[below] = group
        mask = torch.nn.functional.one_hot(of_below).bool().to(first.device)
        children = chain.atoms[-1]
        atoms = unit_atoms(keep_largest(mask.double().T @ children, room))[0]
        chain.weights.append((children @ atoms.T).clamp(min=0) * mask)
        chain.atoms.append(atoms)
        masks.append(mask)
        below = group
    chain.allowed = masks
    return chain


def nested_clusters(
    atoms: AtomMatrix, sizes: Sequence[int], *, method: str = "average"
) -> list[Int[Tensor, "features"]]:
    """Clusters of atoms by agglomeration on cosine distance, cut at each size.

    Args:
        atoms: [features channels]; those of zeros are one distance from all others.
        sizes: numbers of clusters, decreasing.
        method: linkage of SciPy: ``average``, ``complete``, ``single``; ``ward`` takes the
            Euclidean distances of the unit atoms.

    Returns:
        For every size the number of each atom's cluster, from 0.
    """
    from scipy.cluster.hierarchy import cut_tree, linkage  # slow to import

    unit = unit_atoms(atoms.double())[0].cpu()
    cosine = (1.0 - unit @ unit.T).clamp(min=0).numpy()
    upper = np.triu_indices(len(unit), k=1)
    distances = cosine[upper]
    if method == "ward":
        distances = np.sqrt(2.0 * distances)
    tree = linkage(distances, method)
    return [
        torch.from_numpy(cut_tree(tree, n_clusters=size)[:, 0].astype(np.int64)) for size in sizes
    ]
