"""How much of the activations a dictionary gives back."""

from dataclasses import dataclass

import numpy as np
import torch

from cofire.activations import Activations
from cofire.errors import InputError
from cofire.types import ActivationMatrix, AtomMatrix, Bool, CodeMatrix, Float, Tensor

_BLOCK_ROWS = 8192  # bounds the residual held at once
ROUNDING = 1e-13
"""Share of ‖X‖² below which a variance is what rounding leaves of rows that do not vary."""

_NO_ROW = "Fidelity needs at least one row; got none."


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
    X: ActivationMatrix | Activations,
    codes: CodeMatrix,
    atoms: AtomMatrix,
    offset: Float[Tensor, "channels"] | None = None,
    *,
    rows: Bool[np.ndarray, "rows"] | None = None,
) -> Fidelity:
    """Measure X ≈ codes @ atoms (+ offset); sums are taken in float64.

    Holds a block of rows at a time, whatever the number of rows and shards.

    Args:
        X: the rows, as a tensor or with what they are.
        codes: of all rows.
        atoms: the dictionary.
        offset: added to the reconstruction, zero when None.
        rows: True for the rows to measure; all when None.

    Raises:
        InputError: when there is no row.
    """
    n_rows = len(X) if rows is None else int(rows.sum())
    if n_rows == 0:
        raise InputError(_NO_ROW)
    sums = FidelitySums(X.shape[1])
    start = 0
    blocks = X.chunks(_BLOCK_ROWS) if isinstance(X, Activations) else iter(X.split(_BLOCK_ROWS))
    for x in blocks:
        place = slice(start, start + len(x))
        start = place.stop
        c = codes[place]
        if rows is not None:
            kept = torch.from_numpy(rows[place])
            x, c = x[kept], c[kept]
        sums.add(x, c, atoms, offset)
    return sums.result()


def residual(
    x: ActivationMatrix,
    c: CodeMatrix,
    atoms: AtomMatrix,
    offset: Float[Tensor, "channels"] | None = None,
) -> ActivationMatrix:
    """What a reconstruction leaves: ``x - (c @ atoms + offset)``, in float64."""
    x_hat = c.float() @ atoms.float()
    if offset is not None:
        x_hat = x_hat + offset
    return (x.float() - x_hat).double()


class FidelitySums:
    """What ``fidelity`` adds up, for rows that come block by block with their codes.

    Args:
        n_channels: width of the rows.
    """

    def __init__(self, n_channels: int) -> None:
        self._residual = torch.zeros((), dtype=torch.float64)
        self._square = torch.zeros((), dtype=torch.float64)
        self._total = torch.zeros(n_channels, dtype=torch.float64)
        self._active, self._codes, self._rows = 0, 0, 0

    def add(
        self,
        x: ActivationMatrix,
        c: CodeMatrix,
        atoms: AtomMatrix,
        offset: Float[Tensor, "channels"] | None = None,
    ) -> None:
        """Count some more rows and their codes."""
        self._residual += residual(x, c, atoms, offset).square().sum().cpu()
        self._square += x.double().square().sum().cpu()
        self._total += x.double().sum(0).cpu()
        self._active += int((c > 0).sum())
        self._codes += c.numel()
        self._rows += len(x)

    def result(self) -> Fidelity:
        """The figures over all rows so far.

        Raises:
            InputError: when there was no row.
        """
        if self._rows == 0:
            raise InputError(_NO_ROW)
        centred = self._square - self._total.square().sum() / self._rows
        if centred <= ROUNDING * self._square:
            centred = torch.zeros_like(centred)
        return Fidelity(
            explained_variance=float(1 - self._residual / centred) if centred > 0 else None,
            relative_loss=float(self._residual / self._square) if self._square > 0 else None,
            code_density=self._active / self._codes,
            rows=self._rows,
        )
