"""A linear map and thresholds, fitted to exact nonnegative codes.

Notation: x' a row less the offset, D the atoms, c the exact codes of x'. The encoder is that of a
JumpReLU autoencoder:

    z = x' W + b,    code_j = z_j where z_j > θ_j and z_j > 0, else 0.

Nonnegative least squares sees a row only through its correlations t = D x' with the atoms, so the
map is sought among those of t alone: W = Dᵀ M, with M [features features] however many channels
there are. M and b minimise, over training rows,

    Σ ½ max(0, z)² − c z,

the loss that matches the rectifier (Auer, Herbster and Warmuth, "Exponentially many local minima
for single neurons", 1996): convex, with gradient tᵀ (max(0, z) − c), and without flat places where
a code should be positive and is not. The rectifier's slope is at most 1, so TᵀT bounds the
curvature and a step is one solve with it; steps are accelerated (Nesterov 1983) and restarted where
momentum points uphill (O'Donoghue and Candès 2015). Each θ_j is the one with the least squared
error of codes on the same rows, found exactly by sorting. Nothing is random but the choice of rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from cofire.activations import Activations
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.fidelity import Fidelity, FidelitySums
from cofire.progress import SILENT, Progress
from cofire.structure.tree_labels import training_rows
from cofire.types import Bool, CodeMatrix, Float, Tensor

MOST_ROWS = 65_536
"""Training rows the encoder is fitted to; more are sampled."""

_STEPS = 300
_TOL = 1e-7  # relative fall of the loss over ten steps at which it is done
_RIDGE = 1e-4  # of the mean curvature, so that atoms that repeat one another have one solution
_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class EncoderError:
    """What an amortised encoder loses against exact nonnegative least squares, over some rows.

    Attributes:
        rows: how many were measured.
        relative_loss_exact: ‖X − X̂‖² / ‖X‖² with exact codes; None when X = 0.
        relative_loss_amortised: the same with the encoder's codes.
        active_exact: features active a row with exact codes.
        active_amortised: the same with the encoder's codes.
        active_agreeing: of the codes above 0 in either, the share above 0 in both; None when there
            is none.
    """

    rows: int
    relative_loss_exact: float | None
    relative_loss_amortised: float | None
    active_exact: float
    active_amortised: float
    active_agreeing: float | None


def amortise(
    dictionary: Dictionary,
    activations: Activations,
    codes: CodeMatrix,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Dictionary:
    """A dictionary of the same atoms whose codes come from a linear map and thresholds.

    Costs two passes over the training rows and up to 300 products [rows features] × [features
    features]; seconds for 15,000 rows and 100 features.

    Args:
        dictionary: with encoder ``nnls``; it may not rectify its input.
        activations: the rows, with their texts; those of training texts are fitted.
        codes: exact codes of all rows.
        seed: of the rows that are drawn where there are more than ``MOST_ROWS``.
        progress: shown while working.

    Returns:
        A dictionary with encoder ``jumprelu``.

    Raises:
        InputError: when the dictionary is none of nonnegative least squares, codes and rows differ
            in number, or no text is for training.
    """
    if dictionary.encoder != "nnls":
        raise InputError(
            f"This dictionary encodes by {dictionary.encoder!r}, which needs no fitted encoder; "
            "only nonnegative least squares does."
        )
    if dictionary.rectify:
        raise InputError(
            "This dictionary sets negative activations to 0 before it encodes, which no linear "
            "encoder does; export the exact architecture instead."
        )
    if len(codes) != len(activations):
        raise InputError(f"{len(codes)} rows of codes but {len(activations)} of activations.")
    wanted = _drawn(training_rows(activations.tokens, activations.corpus), seed)
    blocks = _blocks(activations, codes, wanted)
    parts = [(_correlations(dictionary, x), c.float()) for x, c in blocks]
    T, C = torch.cat([t for t, _ in parts]), torch.cat([c for _, c in parts])
    M, b = _fit(T, C, progress)
    thresholds = _thresholds(T @ M + b, C)
    return replace(
        dictionary,
        encoder="jumprelu",
        encoder_weight=(dictionary.atoms.float().T @ M).contiguous(),
        encoder_bias=b,
        threshold=thresholds,
        top_k=None,
        penalty=0.0,
    )


def encoder_error(
    exact: Dictionary,
    amortised: Dictionary,
    activations: Activations,
    codes: CodeMatrix,
    rows: Bool[np.ndarray, "rows"],
) -> EncoderError | None:
    """Measure an amortised encoder on some rows; None when there is none.

    Args:
        exact: the dictionary whose codes are the truth.
        amortised: the same atoms with the encoder.
        activations: the rows.
        codes: exact codes of all rows.
        rows: True for the rows to measure.
    """
    if not rows.any():
        return None
    sums = [FidelitySums(activations.shape[1]) for _ in range(2)]
    both = either = 0
    for x, c in _blocks(activations, codes, rows):
        x = x.float()
        guessed = amortised.encode(x)
        for part, found in zip(sums, (c, guessed), strict=True):
            part.add(x, found, exact.atoms, exact.offset)
        both += int(((c > 0) & (guessed > 0)).sum())
        either += int(((c > 0) | (guessed > 0)).sum())
    truth, approximate = (part.result() for part in sums)
    return EncoderError(
        rows=truth.rows,
        relative_loss_exact=truth.relative_loss,
        relative_loss_amortised=approximate.relative_loss,
        active_exact=_active(truth, exact),
        active_amortised=_active(approximate, exact),
        active_agreeing=both / either if either else None,
    )


def _active(figures: Fidelity, dictionary: Dictionary) -> float:
    return figures.code_density * dictionary.n_features


def _drawn(rows: Bool[np.ndarray, "rows"], seed: int) -> Bool[np.ndarray, "rows"]:
    """At most ``MOST_ROWS`` of the wanted rows."""
    numbers = np.flatnonzero(rows)
    if len(numbers) <= MOST_ROWS:
        return rows
    drawn = np.zeros_like(rows)
    drawn[np.random.default_rng(seed).choice(numbers, MOST_ROWS, replace=False)] = True
    return drawn


def _blocks(
    activations: Activations, codes: CodeMatrix, rows: Bool[np.ndarray, "rows"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The wanted rows and their codes, a block at a time."""
    start = 0
    for x in activations.chunks(_BLOCK_ROWS):
        place = slice(start, start + len(x))
        start = place.stop
        kept = torch.from_numpy(rows[place])
        if bool(kept.any()):
            yield x[kept], codes[place][kept]


def _correlations(dictionary: Dictionary, x: Tensor) -> CodeMatrix:
    x = x.to(dictionary.atoms)
    return (x if dictionary.offset is None else x - dictionary.offset) @ dictionary.atoms.T


def _fit(
    T: CodeMatrix, C: CodeMatrix, progress: Progress
) -> tuple[Float[Tensor, "features features"], Float[Tensor, "features"]]:
    """M and b of the module docstring."""
    ones = torch.ones(len(T), 1, dtype=T.dtype)
    wide = torch.cat([T, ones], dim=1)
    gram = (wide.T @ wide).double()
    ridge = _RIDGE * gram.diagonal().mean()
    factor = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=torch.float64))
    weights = torch.cholesky_solve((wide.T @ C).double(), factor)  # least squares, all z ≥ 0
    moving, momentum, losses = weights, 1.0, []
    with progress.task("Fitting the encoder", None, "step") as advance:
        for _ in range(_STEPS):
            z = wide @ moving.float()
            gap = z.clamp(min=0) - C
            losses.append(float((z.clamp(min=0).square() / 2 - C * z).double().sum()))
            gradient = (wide.T @ gap).double() + ridge * moving
            following = moving - torch.cholesky_solve(gradient, factor)
            if bool((gradient * (following - weights)).sum() > 0):
                momentum = 1.0
            before, momentum = momentum, (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            moving = following + (before - 1) / momentum * (following - weights)
            weights = following
            advance(1)
            if len(losses) > 10 and losses[-11] - losses[-1] < _TOL * abs(losses[-1]):
                break
    return weights[:-1].float(), weights[-1].float()


def _thresholds(z: CodeMatrix, C: CodeMatrix) -> Float[Tensor, "features"]:
    """For each feature the θ ≥ 0 with the least Σ (code − c)².

    Keeping a row adds (z − c)² − c² = z (z − 2c) to the error. Taken from the largest z downwards,
    these sums are least at the last row to keep; θ lies halfway to the next.
    """
    found = torch.zeros(z.shape[1])
    for feature in range(z.shape[1]):
        values, order = z[:, feature].sort(descending=True)
        positive = int((values > 0).sum())
        if positive == 0:
            continue
        values, c = values[:positive].double(), C[order[:positive], feature].double()
        gain = (values * (values - 2 * c)).cumsum(0)
        least = int(gain.argmin())
        if gain[least] >= 0:
            found[feature] = float(values[0]) * 2  # no row is worth keeping
        elif least + 1 < positive:
            found[feature] = float((values[least] + values[least + 1]) / 2)
    return found
