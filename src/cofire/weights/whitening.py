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
    """A dense matrix as a product with the identity on its narrow side; others as they are.

    Raises:
        InputError: when some of its numbers are not finite.
    """
    factors = (matrix.left, matrix.right) if isinstance(matrix, LowRankMatrix) else (matrix,)
    missing = sum(int((~factor.isfinite()).sum()) for factor in factors)
    if missing:
        raise InputError(
            f"{missing} of the numbers of the matrix are NaN or infinite; it cannot be taken apart."
        )
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
    if rank == 0:
        raise InputError("A matrix of zeros has no components.")
    if not 1 <= n_components <= rank:
        raise InputError(
            f"A matrix of rank {rank} has 1 to {rank} components; n_components is {n_components}."
        )


def check_matrix(
    matrix: LowRankMatrix, n_components: int, *, samples: Samples, centred: bool
) -> None:
    """Refuse a matrix that cannot be split into so many components, before any work is done.

    Args:
        matrix: W.
        n_components: k.
        samples: which side of W is the samples.
        centred: whether the mean sample is taken off, as ICA does.

    Raises:
        InputError: for k above the rank.
    """
    check_size(n_components, rank_of(matrix.singular_values(), matrix.shape))
    if centred:
        rest = _centred(matrix, samples)
        check_size(n_components, rank_of(rest.singular_values(), rest.shape))


def _centred(matrix: LowRankMatrix, samples: Samples) -> LowRankMatrix:
    data = oriented(matrix, samples)
    return LowRankMatrix(data.left - data.left.mean(dim=0), data.right)


def whitened(matrix: LowRankMatrix, n_components: int, *, samples: Samples) -> White:
    """The k directions of largest variance over the samples, scaled to unit variance.

    Args:
        matrix: W, of which the rows or the columns are samples.
        n_components: k.
        samples: which.

    Raises:
        InputError: for more components than the centred samples have dimensions.
    """
    centred = _centred(matrix, samples)
    n = centred.shape[0]
    u, sigma, vh = centred.svd()
    check_size(n_components, rank_of(sigma, centred.shape))
    u, sigma, vh = u[:, :n_components], sigma[:n_components], vh[:n_components]
    return White(
        data=(u.T * n**0.5).contiguous(),
        whiten=vh.T * (n**0.5 / sigma),
        directions=vh * (sigma / n**0.5)[:, None],
    )
