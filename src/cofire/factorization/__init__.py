"""Semi-nonnegative matrix factorisation: X ≈ C D with codes C >= 0 and sparse signed atoms D.

Pure tensors in, tensors out: this package knows no model, file or text.
"""

from cofire.factorization.bcd import BlockCoordinateDescent
from cofire.factorization.mu import MultiplicativeUpdates
from cofire.factorization.semi_nmf import SemiNMF
from cofire.factorization.solver import SweepRecord

__all__ = ["BlockCoordinateDescent", "MultiplicativeUpdates", "SemiNMF", "SweepRecord"]
