"""White coordinates of a weight matrix, found in rank space: the ground that ICA turns on.

With samples X [rows channels] = L R kept as two thin factors, taking the mean sample off is taking
it off L, and a thin SVD of what is left gives the k directions of largest variance:

    X − mean ≈ Z Dᵀ,   Z = √n U_k [rows features] white,   Dᵀ = Σ_k V_kᵀ / √n

The dense matrix is never formed, and the numbers are those that principal components of the dense
matrix would give.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.types import Float, Tensor

Samples: TypeAlias = Literal["rows", "columns"]
"""Which side of W counts as samples, over which sources are independent and codes live."""


@dataclass(frozen=True, eq=False)
class White:
    """Samples in white coordinates, and the way there and back.

    Attributes:
        data: Zᵀ: mean 0, covariance 1.
        whiten: takes a sample (not centred) to white coordinates, up to a constant.
        directions: what each white coordinate stands for: centred samples ≈ dataᵀ @ directions.
    """

    data: Float[Tensor, "features rows"]
    whiten: Float[Tensor, "channels features"]
    directions: Float[Tensor, "features channels"]


def as_low_rank(matrix: LowRankMatrix | Float[Tensor, "_ _"]) -> LowRankMatrix:
    """A dense matrix as a product with the identity on its narrow side; others as they are."""
    if isinstance(matrix, LowRankMatrix):
        return matrix
    rows, channels = matrix.shape
    if rows <= channels:
        return LowRankMatrix(torch.eye(rows, dtype=matrix.dtype), matrix)
    return LowRankMatrix(matrix, torch.eye(channels, dtype=matrix.dtype))


def oriented(matrix: LowRankMatrix, samples: Samples) -> LowRankMatrix:
    """The matrix with its samples as rows.

    Raises:
        InputError: for another side than ``rows`` or ``columns``.
    """
    if samples not in ("rows", "columns"):
        raise InputError(f"Samples are rows or columns of the matrix; got {samples!r}.")
    return matrix if samples == "rows" else matrix.transposed


def rank_of(singular_values: Float[Tensor, "rank"], shape: tuple[int, int]) -> int:
    """Singular values above rounding: σ > max(shape) · ε · σ₁."""
    if not len(singular_values):
        return 0
    limit = max(shape) * torch.finfo(singular_values.dtype).eps * singular_values[0]
    return int((singular_values > limit).sum())


def check_size(n_components: int, rank: int) -> None:
    """Refuse more components than the matrix has dimensions.

    Raises:
        InputError: saying how many there may be.
    """
    if not 1 <= n_components <= rank:
        raise InputError(
            f"A matrix of rank {rank} has 1 to {rank} components; n_components is {n_components}."
        )


def whitened(matrix: LowRankMatrix, n_components: int, *, samples: Samples) -> White:
    """The k directions of largest variance over the samples, scaled to unit variance.

    Args:
        matrix: W, of which the rows or the columns are samples.
        n_components: k.
        samples: which.

    Raises:
        InputError: for more components than the centred samples have dimensions.
    """
    data = oriented(matrix, samples)
    n = data.shape[0]
    centred = LowRankMatrix(data.left - data.left.mean(dim=0), data.right)
    u, sigma, vh = centred.svd()
    check_size(n_components, rank_of(sigma, centred.shape))
    u, sigma, vh = u[:, :n_components], sigma[:n_components], vh[:n_components]
    return White(
        data=(u.T * n**0.5).contiguous(),
        whiten=vh.T * (n**0.5 / sigma),
        directions=vh * (sigma / n**0.5)[:, None],
    )
