"""A matrix kept as the product of two thin ones, such as W_OV = W_V W_O of a head.

Everything is computed from the factors: neither the d_model × d_model circuit of a head nor a
vocabulary × vocabulary one is ever formed unless ``dense`` is asked for.
"""

from dataclasses import dataclass

import torch

from cofire.errors import InputError
from cofire.types import Float, Tensor


@dataclass(frozen=True, eq=False)
class LowRankMatrix:
    """``left @ right``, rows in, columns out: a row vector x goes to ``x @ left @ right``.

    Attributes:
        left: first factor; its rows are what is read.
        right: second factor; its columns are what is written.

    Raises:
        InputError: when the inner sizes differ.

    Example:
        >>> m = LowRankMatrix(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 0.0, 4.0]]))
        >>> m.shape, m.dense().tolist(), m.singular_values().tolist()
        ((2, 3), [[3.0, 0.0, 4.0], [6.0, 0.0, 8.0]], [11.180339813232422])
    """

    left: Float[Tensor, "rows rank"]
    right: Float[Tensor, "rank channels"]

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != len(self.right):
            raise InputError(
                f"The factors have shapes {tuple(self.left.shape)} and {tuple(self.right.shape)}; "
                "the columns of the first must be as many as the rows of the second."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def transposed(self) -> "LowRankMatrix":
        """The transposed matrix."""
        return LowRankMatrix(self.right.T, self.left.T)

    def dense(self) -> Float[Tensor, "rows channels"]:
        """The product itself, rows × columns numbers."""
        return self.left @ self.right

    def svd(
        self,
    ) -> tuple[Float[Tensor, "rows rank"], Float[Tensor, "rank"], Float[Tensor, "rank channels"]]:
        """Thin singular value decomposition U, σ (descending), Vᵀ, by QR of both factors.

        At most min(rows, rank, columns) values; those of the factors' null space are about 0.
        """
        q_left, r_left = torch.linalg.qr(self.left)
        q_right, r_right = torch.linalg.qr(self.right.T)
        u, sigma, vh = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
        return q_left @ u, sigma, vh @ q_right.T

    def singular_values(self) -> Float[Tensor, "rank"]:
        """Singular values in descending order."""
        return self.svd()[1]
