"""The squared reconstruction error from Gram matrices, summed in float64.

||X - C D||^2 = ||X||^2 - 2 <C^T X, D> + <C^T C, D D^T>, rows counted by their weight, so that no
residual [rows channels] is formed. A float32 sum over a matrix of this size is wrong in the second
or third digit.
"""

import math

import torch

from cofire.factorization.data import widest_float
from cofire.ranks import Ranks
from cofire.types import ActivationMatrix, AtomMatrix, Float, Tensor

_FEW = 2e7  # multiplications that cost little in float64


class Products:
    """C^T X and C^T C, added up over tiles of rows in float64; all that the atoms need to know.

    Attributes:
        cross: C^T X [features channels].
        gram: C^T C [features features].
    """

    def __init__(self, n_features: int, n_channels: int, device: torch.device) -> None:
        """Start from zero."""
        wide = widest_float(device)
        self.cross = torch.zeros(n_features, n_channels, dtype=wide, device=device)
        self.gram = torch.zeros(n_features, n_features, dtype=wide, device=device)

    def to(self, device: torch.device) -> None:
        """Move both sums to a device, as wide as it allows."""
        self.cross = self.cross.to(device, widest_float(device))
        self.gram = self.gram.to(device, widest_float(device))

    def add(
        self,
        codes: Float[Tensor, "features rows"],
        X: ActivationMatrix,
        weights: Float[Tensor, "rows"] | None = None,
    ) -> None:
        """Count the rows of one tile, each as often as its weight says; ``codes`` is C^T.

        Few rows are multiplied in float64 too: over many, the rounding errors of float32 cancel.
        """
        if float(X.numel()) * len(codes) <= _FEW:
            codes, X = codes.to(self.gram.dtype), X.to(self.gram.dtype)
        weighted = codes if weights is None else codes * weights
        self.cross += weighted @ X
        self.gram += weighted @ codes.T

    def for_atoms(
        self, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "features channels"], Float[Tensor, "features features"]]:
        """C^T X and C^T C in the type of the atoms, divided by one power of two.

        The best atoms do not depend on it, and without it the squares of C^T X, fourth powers of
        the data, leave the range of float32 from values of 1e9 on and below 1e-10.
        """
        exponent = math.frexp(float(self.gram.diagonal().max()))[1]
        unit = math.ldexp(1.0, min(-exponent, 1000))  # 2^1024 is no float64
        return (self.cross * unit).to(dtype), (self.gram * unit).to(dtype)

    def add_others(self, ranks: Ranks) -> None:
        """Add what the other processes have counted."""
        if ranks.size > 1:
            both = ranks.add(torch.cat([self.cross, self.gram], dim=1))
            self.cross, self.gram = both.split([self.cross.shape[1], len(self.gram)], dim=1)


def squared_error(
    squared_norm: float,
    cross: Float[Tensor, "features channels"],
    gram: Float[Tensor, "features features"],
    atoms: AtomMatrix,
) -> float:
    """||X - C D||^2 from ||X||^2, C^T X and C^T C; never below zero, NaN stays NaN.

    >>> X, C, D = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]]), torch.tensor([[1.0, 2.0]])
    >>> squared_error(25.0, C.T @ X, C.T @ C, D)  # residual (1, 0)
    1.0
    """
    wide = widest_float(atoms.device)
    d = atoms.to(wide)
    explained = 2.0 * torch.sum(cross.to(wide) * d) - torch.sum(gram.to(wide) * (d @ d.T))
    loss = squared_norm - float(explained)
    return 0.0 if loss < 0 else loss
