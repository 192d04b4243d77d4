"""Reconstruction row by row, so that its figures come with intervals over texts."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from cofire.activations import Activations
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.bootstrap import (
    RESAMPLES,
    estimate_of,
    interval_note,
    ratio_interval,
    share_of,
)
from cofire.evaluation.fidelity import residual
from cofire.evaluation.health import Health, collapsed_groups
from cofire.evaluation.measurement import Estimate
from cofire.types import CodeMatrix

_BLOCK_ROWS = 8192  # bounds the residual held at once


@dataclass(frozen=True, eq=False)
class RowErrors:
    """What is left of every row, and what there was.

    Attributes:
        unexplained: ‖x - x̂‖².
        variance: ‖x - x̄‖², x̄ the mean of these rows.
        active: codes that are not 0.
        text_id: text of the row; rows of one text are drawn together.
    """

    unexplained: Float[np.ndarray, "rows"]
    variance: Float[np.ndarray, "rows"]
    active: Float[np.ndarray, "rows"]
    text_id: Int[np.ndarray, "rows"]


def row_errors(
    dictionary: Dictionary, activations: Activations, *, codes: CodeMatrix | None = None
) -> RowErrors:
    """Reconstruct every row; a block is held at a time.

    Args:
        dictionary: of any method.
        activations: rows to measure, such as ``activations.where_split("heldout")``.
        codes: of these rows, when they are known already.

    Raises:
        InputError: when there is no row.
    """
    if not len(activations):
        raise InputError("Reconstruction needs at least one row; got none.")
    total = torch.zeros(activations.shape[1], dtype=torch.float64)
    for x in activations.chunks(_BLOCK_ROWS):
        total += x.double().sum(dim=0).cpu()
    mean = total / len(activations)
    unexplained, variance, active = [], [], []
    atoms, offset = dictionary.atoms, dictionary.offset
    start = 0
    for x in activations.chunks(_BLOCK_ROWS):
        c = dictionary.encode(x) if codes is None else codes[start : start + len(x)].to(atoms)
        start += len(x)
        left = residual(x.to(c.device), c, atoms, offset)
        unexplained.append(left.square().sum(dim=1).cpu().numpy())
        variance.append((x.double().cpu() - mean).square().sum(dim=1).numpy())
        active.append((c != 0).sum(dim=1).double().cpu().numpy())
    return RowErrors(
        np.concatenate(unexplained),
        np.concatenate(variance),
        np.concatenate(active),
        activations.tokens.text_id,
    )


def unexplained_variance(
    errors: RowErrors, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Fraction of variance unexplained (FVU): Σ ‖x - x̂‖² / Σ ‖x - x̄‖².

    0 is perfect, 1 no better than the mean row. The interval draws texts; x̄ stays what it is.

    Args:
        errors: see ``row_errors``.
        resamples, seed: of the interval.

    Example:
        Half of the first row's 2 is left and none of the second's 2: 1 / 4.

        >>> left, there = np.array([1.0, 0.0]), np.array([2.0, 2.0])
        >>> unexplained_variance(RowErrors(left, there, np.ones(2), np.array([0, 1]))).value
        0.25
    """
    n, total = len(errors.variance), float(errors.variance.sum())
    if total <= 0:
        return Estimate(None, n, note="The rows do not vary.")
    interval = ratio_interval(
        errors.unexplained,
        errors.variance,
        groups=errors.text_id,
        resamples=resamples,
        seed=seed,
    )
    value = float(errors.unexplained.sum()) / total
    return Estimate(value, n, interval=interval, seed=seed, note=interval_note(interval))


def active_features(errors: RowErrors, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Mean number of codes a row that are not 0 (L0); the interval draws texts.

    Args:
        errors: see ``row_errors``.
        resamples, seed: of the interval.

    Example:
        >>> active = np.array([3.0, 1.0, 2.0])
        >>> active_features(RowErrors(np.ones(3), np.ones(3), active, np.array([0, 0, 1]))).value
        2.0
    """
    return estimate_of(errors.active, groups=errors.text_id, resamples=resamples, seed=seed)


def dead_share(health: Health) -> Estimate:
    """Share of the features that never fire, or whose atom is zero: n(dead) / n.

    Example:
        >>> atoms, codes = torch.eye(4), torch.tensor([[1.0, 0.0, 2.0, 1.0]])
        >>> from cofire.evaluation.health import health
        >>> dead_share(health(atoms, codes)).value
        0.25
    """
    return share_of(health.dead.astype(float))


def duplicate_share(health: Health, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Share of the features whose atom is nearly that of another: n(duplicate) / n.

    The interval draws features that collapsed into one together.

    Example:
        >>> from cofire.evaluation.health import health
        >>> atoms = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> duplicate_share(health(atoms, torch.ones(1, 4))).value
        0.5
    """
    groups = collapsed_groups(health.nearest, health.duplicate)
    return share_of(health.duplicate.astype(float), groups=groups, resamples=resamples, seed=seed)
