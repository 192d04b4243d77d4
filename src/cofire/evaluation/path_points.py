"""The points of a path: what was asked for, what was measured, what was found."""

from dataclasses import dataclass

from cofire.types import AtomMatrix

SURVIVING_COSINE = 0.9
"""Matched cosine above which a feature of the neighbour counts as still there."""


@dataclass(frozen=True)
class PathStep:
    """What one point of a path asks for: features, and the share of channels each keeps."""

    n_components: int
    sparsity: float = 0.01


@dataclass(frozen=True)
class PathPoint:
    """The figures of one point; None for what could not be measured.

    Attributes:
        n_components: number of features.
        sparsity: share of channels an atom keeps.
        loss_train: ‖X - C D‖² / ‖X‖² on the training rows.
        loss_heldout: the same on rows that were never fitted; None without any.
        variance_train: explained variance of the training rows.
        variance_heldout: that of the held-out rows.
        code_density: share of codes above 0 on the training rows.
        active: features active a training row (L0).
        dead: features that are never active on the training rows.
        duplicate: features whose atom is nearly that of another.
        concepts: distinct concepts that features surely select (``sure_concepts``); None when no
            concept can be judged on held-out texts.
        agreement: mean cosine of the neighbour's features with the features here they are matched
            to, one to one; None at the first point.
        survived: share of the neighbour's features whose matched cosine is above
            ``SURVIVING_COSINE``.
        seed_agreement: mean matched cosine between the solutions of two seeds, over all pairs;
            None with one seed.
        sweeps: sweeps of the fit of the first seed.
        stop_reason: why that fit stopped.
        seconds: how long it took.
        warm: whether it started at the neighbour's atoms.
    """

    n_components: int
    sparsity: float
    loss_train: float | None
    loss_heldout: float | None
    variance_train: float | None
    variance_heldout: float | None
    code_density: float
    active: float
    dead: int
    duplicate: int
    concepts: int | None
    agreement: float | None
    survived: float | None
    seed_agreement: float | None
    sweeps: int
    stop_reason: str
    seconds: float
    warm: bool


@dataclass(frozen=True, eq=False)
class PathSolution:
    """A point and the atoms found there, one dictionary a seed."""

    point: PathPoint
    atoms: tuple[AtomMatrix, ...]
