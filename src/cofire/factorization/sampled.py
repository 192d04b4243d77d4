"""Sweeps over a sample of rows before the first one over all: cheap while there is much to gain.

While atoms are rough, a sweep over two thousand rows improves them about as much as one over all.
Measured on 15,000 rows of 2,048 channels, 100 features: with six of them the first whole sweep ends
at a loss of .468, without at .531, and .467 is reached by the third. Nothing stays but the atoms.
"""

import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.code_blocks import CodeBlocks, CodesInMemory
from cofire.factorization.data import DataMatrix
from cofire.factorization.initialization import sample_size
from cofire.factorization.sources import Shards
from cofire.factorization.sweep import Point, sweep
from cofire.factorization.updates import Updates
from cofire.types import AtomMatrix, Int, Tensor

_LARGEST_SHARE = 0.25  # of all rows; at 0.4 it took longer than it saved


def sample_pays(data: DataMatrix, n_features: int) -> bool:
    """Whether the data has rows enough: at least four times as many as the sample."""
    return sample_size(n_features, rough=True) <= _LARGEST_SHARE * data.total_rows


def improved_on_sample(
    data: DataMatrix,
    atoms: AtomMatrix,
    updates: list[Updates],
    *,
    penalty: float,
    kept: Int[Tensor, "features"],
    generator: torch.Generator,
) -> AtomMatrix:
    """Atoms after one sweep over a sample for each of ``updates``, unit norm.

    Args:
        data: the rows.
        atoms: D, unit norm.
        updates: of every sweep; codes start at zero in the first.
        penalty: absolute L1 weight on the codes.
        kept: nonzero entries each atom may have.
        generator: a CPU generator.
    """
    drawn = data.sample(sample_size(len(atoms), rough=True), generator)
    sample = DataMatrix(Shards([drawn.X]), compute_dtype=data.compute_dtype, weights=drawn.weights)
    point = Point(atoms, CodesInMemory())
    spare: CodeBlocks = CodesInMemory()
    for each in updates:
        reached, _ = sweep(sample, point, spare, each, penalty=penalty, kept=kept)
        point, spare = reached, point.codes
    return unit_atoms(point.atoms)[0]
