"""Semi-nonnegative matrix factorisation: X ≈ C D with codes C >= 0 and sparse signed atoms D.

Pure tensors in, tensors out: this package knows no model, file or text.
"""

from cofire.factorization.bcd import BlockCoordinateDescent
from cofire.factorization.checkpoint import Checkpoint
from cofire.factorization.hierarchy import HierarchicalSemiNMF
from cofire.factorization.history import SweepRecord
from cofire.factorization.mu import MultiplicativeUpdates
from cofire.factorization.pgd import ProjectedGradient
from cofire.factorization.semi_nmf import SemiNMF

__all__ = [
    "BlockCoordinateDescent",
    "Checkpoint",
    "HierarchicalSemiNMF",
    "MultiplicativeUpdates",
    "ProjectedGradient",
    "SemiNMF",
    "SweepRecord",
]
