"""What a figure of a weight matrix would be by chance: matrices without structure, and the test.

========  ======================================================================================
rotated   the same singular values between random orthonormal directions: keeps the spectrum,
          loses every direction and axis
rescaled  rotated, then rows and columns brought back to the norms they have in W: keeps also
          which channels are large, so that a few outlier channels are no finding
shuffled  the entries of W in random places: keeps their distribution, loses the rank
gaussian  W = Z Σ Vᵀ with Gaussian Z and random V: the same spectrum in expectation
random    a product of Gaussian factors of the same shape and norm, as in an untrained head
heads     the same figure of the other heads of the model
========  ======================================================================================

A rank test alone says little with few draws, and a z-score alone trusts a shape of the null; a
figure counts as beyond its null only when both agree (``AgainstNull.beyond``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.types import Float, Tensor

NullKind: TypeAlias = Literal["rotated", "rescaled", "shuffled", "gaussian", "random", "heads"]

NULL_DRAWS = 10
BEYOND_Z = 3.0
"""Standard deviations from the null's mean from which a figure counts as beyond it."""

_BALANCING_STEPS = 20


@dataclass(frozen=True)
class AgainstNull:
    """A figure beside what it is by chance.

    Attributes:
        value: the figure.
        null: which null.
        tail: on which side of the null it was looked for.
        mean, sd: of the null; the deviation is that of a sample.
        z: (value − mean) / sd; None where the null does not vary.
        p: (1 + draws at least as extreme) / (1 + draws).
        draws: of the null.
    """

    value: float
    null: str
    tail: Literal["above", "below"]
    mean: float
    sd: float
    z: float | None
    p: float
    draws: int

    @property
    def beyond(self) -> bool:
        """More extreme than every draw, and by more than ``BEYOND_Z`` standard deviations."""
        if self.p > 1.5 / (1 + self.draws):
            return False
        if self.z is None:  # a null that does not vary, or was not measured
            return self.sd == 0
        return abs(self.z) >= BEYOND_Z

    @property
    def excess(self) -> float:
        """How far beyond the null's mean, as a share of that mean: positive in the tail."""
        away = self.value - self.mean if self.tail == "above" else self.mean - self.value
        return away / abs(self.mean) if self.mean else math.inf * (away > 0)


def against(
    value: float,
    draws: Sequence[float] | np.ndarray,
    *,
    null: NullKind | str,
    tail: Literal["above", "below"] = "above",
) -> AgainstNull:
    """Hold a figure against draws of its null.

    Args:
        value: the figure.
        draws: what it came to on matrices of the null; at least two.
        null: what they are.
        tail: whether large or small values are remarkable.

    Raises:
        InputError: for fewer than two draws.

    Example:
        >>> found = against(3.0, [1.0, 2.0, 1.5], null="rotated")
        >>> found.z, found.p, found.beyond
        (3.0, 0.25, True)
    """
    drawn = np.asarray(draws, dtype=np.float64)
    if len(drawn) < 2:
        raise InputError(f"A null needs at least two draws; there are {len(drawn)}.")
    mean, sd = float(drawn.mean()), float(drawn.std(ddof=1))
    hits = int((drawn >= value).sum() if tail == "above" else (drawn <= value).sum())
    return AgainstNull(
        value=float(value),
        null=null,
        tail=tail,
        mean=mean,
        sd=sd,
        z=(float(value) - mean) / sd if sd > 0 else None,
        p=(1 + hits) / (1 + len(drawn)),
        draws=len(drawn),
    )


def rotated(matrix: LowRankMatrix, *, seed: int) -> LowRankMatrix:
    """The same singular values between random orthonormal directions."""
    sigma = matrix.singular_values()
    generator = torch.Generator().manual_seed(seed)
    left = random_frame(matrix.shape[0], len(sigma), generator).to(sigma.dtype)
    right = random_frame(matrix.shape[1], len(sigma), generator).to(sigma.dtype)
    return LowRankMatrix(left * sigma, right.T.contiguous())


def gaussian(matrix: LowRankMatrix, *, seed: int) -> LowRankMatrix:
    """Gaussian reading directions with the spectrum of W, between random writing directions."""
    sigma = matrix.singular_values()
    generator = torch.Generator().manual_seed(seed)
    rows = matrix.shape[0]
    left = torch.randn(rows, len(sigma), generator=generator).to(sigma.dtype) / rows**0.5
    right = random_frame(matrix.shape[1], len(sigma), generator).to(sigma.dtype)
    return LowRankMatrix(left * sigma, right.T.contiguous())


def rescaled(matrix: LowRankMatrix, *, seed: int) -> LowRankMatrix:
    """Rotated, then rows and columns scaled to the norms that they have in W.

    The scales alternate between rows and columns until both fit (Sinkhorn & Knopp 1967); the
    spectrum is then only about that of W.
    """
    drawn = rotated(matrix, seed=seed)
    rows, columns = _row_norms(matrix), _row_norms(matrix.transposed)
    left, right = drawn.left, drawn.right
    for _ in range(_BALANCING_STEPS):
        left = left * _scale(rows, _row_norms(LowRankMatrix(left, right)))[:, None]
        right = right * _scale(columns, _row_norms(LowRankMatrix(right.T, left.T)))
    return LowRankMatrix(left, right)


def shuffled(
    matrix: LowRankMatrix | Float[Tensor, "rows channels"], *, seed: int
) -> Float[Tensor, "rows channels"]:
    """The entries of W in random places, dense."""
    dense = matrix.dense() if isinstance(matrix, LowRankMatrix) else matrix
    order = torch.randperm(dense.numel(), generator=torch.Generator().manual_seed(seed))
    return dense.reshape(-1)[order].reshape(dense.shape)


def random_weights(matrix: LowRankMatrix, *, seed: int) -> LowRankMatrix:
    """A product of Gaussian factors of the same shapes and Frobenius norm."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(matrix.left.shape, generator=generator).to(matrix.left.dtype)
    right = torch.randn(matrix.right.shape, generator=generator).to(matrix.left.dtype)
    drawn = LowRankMatrix(left, right)
    factor = matrix.singular_values().norm() / drawn.singular_values().norm()
    return LowRankMatrix(left * factor, right)


def random_frame(
    length: int, directions: int, generator: torch.Generator
) -> Float[Tensor, "_ rank"]:
    """Random orthonormal columns, uniform over all such frames.

    Source: Mezzadri, arXiv:math-ph/0609050: QR of Gaussian columns, with signs such that the
    diagonal of R is positive, as those of the routine depend on the columns.
    """
    frame, triangle = torch.linalg.qr(torch.randn(length, directions, generator=generator))
    return frame * triangle.diagonal().sign()


def _row_norms(matrix: LowRankMatrix) -> Float[Tensor, "rows"]:
    gram = matrix.right @ matrix.right.T
    return ((matrix.left @ gram) * matrix.left).sum(dim=1).clamp_min(0).sqrt()


def _scale(wanted: Float[Tensor, "values"], there: Float[Tensor, "values"]) -> Tensor:
    return wanted / there.clamp_min(torch.finfo(there.dtype).tiny)
