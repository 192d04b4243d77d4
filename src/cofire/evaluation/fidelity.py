"""How much of the activations a dictionary gives back."""

from dataclasses import dataclass

import torch

from cofire.errors import InputError
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

_BLOCK_ROWS = 8192  # bounds the residual held at once


@dataclass(frozen=True)
class Fidelity:
    """Reconstruction figures over some rows.

    Attributes:
        explained_variance: 1 - ‖X - X̂‖² / ‖X - x̄‖², x̄ the mean row; 1 perfect, 0 no better than
            the mean, below 0 worse; None when the rows do not vary. The fraction of variance
            unexplained (FVU) is 1 minus this.
        relative_loss: ‖X - X̂‖² / ‖X‖², what the factorisation itself minimises; None when X = 0.
        code_density: share of codes above 0; times k it is L0, features active a token.
        rows: how many rows were measured.
    """

    explained_variance: float | None
    relative_loss: float | None
    code_density: float
    rows: int


def fidelity(
    X: ActivationMatrix,
    codes: CodeMatrix,
    atoms: AtomMatrix,
    offset: Float[Tensor, "channels"] | None = None,
) -> Fidelity:
    """Measure X ≈ codes @ atoms (+ offset); sums are taken in float64.

    Raises:
        InputError: when there is no row.
    """
    if len(X) == 0:
        raise InputError("Fidelity needs at least one row; got none.")
    residual = torch.zeros((), dtype=torch.float64)
    square = torch.zeros((), dtype=torch.float64)
    total = torch.zeros(X.shape[1], dtype=torch.float64)
    for start in range(0, len(X), _BLOCK_ROWS):
        x = X[start : start + _BLOCK_ROWS].float()
        x_hat = codes[start : start + _BLOCK_ROWS].float() @ atoms.float()
        if offset is not None:
            x_hat = x_hat + offset
        residual += (x - x_hat).double().square().sum().cpu()
        square += x.double().square().sum().cpu()
        total += x.double().sum(0).cpu()
    centred = square - total.square().sum() / len(X)
    return Fidelity(
        explained_variance=float(1 - residual / centred) if centred > 0 else None,
        relative_loss=float(residual / square) if square > 0 else None,
        code_density=float((codes > 0).double().mean()),
        rows=len(X),
    )
