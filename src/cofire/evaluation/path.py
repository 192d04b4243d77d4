"""Paths: factorisations of the same rows with one setting varied, each from its neighbour's atoms.

A larger dictionary starts at the smaller one, and the added atoms at directions of what that one
leaves unexplained; a sparser or denser one starts at its neighbour's atoms, which winner-take-all
prunes or the first sweep fills up.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cofire.activations import Activations
from cofire.errors import InputError
from cofire.evaluation.fidelity import Fidelity, FidelitySums
from cofire.evaluation.health import health
from cofire.evaluation.path_points import SURVIVING_COSINE, PathPoint, PathSolution, PathStep
from cofire.factorization import BlockCoordinateDescent, SemiNMF
from cofire.factorization.constraints import kept_entries
from cofire.factorization.history import Callback
from cofire.factorization.planted import recovery
from cofire.interpret.concepts import concept_profile, sure_concepts, text_scores
from cofire.types import AtomMatrix, CodeMatrix, Float, Tensor

_BLOCK_ROWS = 8192  # bounds the codes held at once

# Atoms that are nearly right need half the sweeps of the phase that finds and repairs them.
_WARM = BlockCoordinateDescent(penalty_sweeps=10)


@dataclass(frozen=True)
class PathSettings:
    """How every point of a path is fitted.

    Attributes:
        cold: start every point anew instead of at its neighbour.
        seeds: solutions a point; each seed walks a path of its own. The figures are those of the
            first, the others only say how well seeds agree.
        seed: the first seed; the others count on from it.
        max_iter, tol, code_penalty, device: see ``SemiNMF``.
    """

    cold: bool = False
    seeds: int = 1
    seed: int = 0
    max_iter: int | None = None
    tol: float | None = None
    code_penalty: float | None = None
    device: str = "auto"


def walk_path(
    activations: Activations,
    steps: Sequence[PathStep],
    settings: PathSettings = PathSettings(),
    *,
    finished: Sequence[PathSolution] = (),
    callback: Callback | None = None,
) -> Iterator[PathSolution]:
    """Fit one point after the other; rows of held-out texts are measured, never fitted.

    Rows that lie on disk stay there; codes are held a block at a time. The same rows, steps and
    settings give the same points.

    Args:
        activations: rows of both splits.
        steps: the points in order, neighbours next to each other.
        settings: how to fit.
        finished: solutions of the first steps from an earlier walk; it goes on after them.
        callback: called with every sweep.

    Raises:
        InputError: for steps or settings that cannot be, before anything is fitted.
        KeyboardInterrupt: when the user stopped a fit; points given before are whole.

    >>> rows = ...                                                       # doctest: +SKIP
    >>> walk = walk_path(rows, [PathStep(k) for k in (25, 50, 100)])     # doctest: +SKIP
    >>> [solution.point.loss_heldout for solution in walk]               # doctest: +SKIP
    """
    training = activations.where_split("train")
    check_steps(steps, len(training))
    if settings.seeds < 1:
        raise InputError(f"A path needs at least 1 seed; got {settings.seeds}.")
    if len(finished) > len(steps):
        raise InputError(f"{len(finished)} points are finished of {len(steps)} asked for.")
    heldout = activations.where_split("heldout")
    return _walk(training, heldout, steps, settings, finished, callback)


def check_steps(steps: Sequence[PathStep], n_rows: int) -> None:
    """Refuse points that cannot be fitted to so many training rows.

    Raises:
        InputError: naming the first one.
    """
    if not steps:
        raise InputError("A path needs at least one point; got none.")
    for step in steps:
        kept_entries(step.sparsity, 1)
        if not 1 <= step.n_components <= n_rows:
            raise InputError(
                f"A path can have 1 to {n_rows} features on {n_rows} training rows; k = "
                f"{step.n_components} is asked for. Lower it or add data."
            )


def _walk(
    training: Activations,
    heldout: Activations,
    steps: Sequence[PathStep],
    settings: PathSettings,
    finished: Sequence[PathSolution],
    callback: Callback | None,
) -> Iterator[PathSolution]:
    neighbour = finished[-1].atoms if finished else ()
    for step in steps[len(finished) :]:
        solution = _solve(training, heldout, step, settings, neighbour, callback)
        neighbour = solution.atoms
        yield solution


def _solve(
    training: Activations,
    heldout: Activations,
    step: PathStep,
    settings: PathSettings,
    neighbour: tuple[AtomMatrix, ...],
    callback: Callback | None,
) -> PathSolution:
    starts = [None] * settings.seeds if settings.cold or not neighbour else map(_alive, neighbour)
    estimators, seconds = [], []
    for number, start in enumerate(starts):
        began = time.perf_counter()
        estimator = SemiNMF(
            step.n_components,
            sparsity=step.sparsity,
            init=None if start is None else start[: step.n_components],
            solver="bcd" if start is None else _WARM,
            random_state=settings.seed + number,
            max_iter=settings.max_iter,
            tol=settings.tol,
            code_penalty=settings.code_penalty,
            device=settings.device,
            callback=callback,
        ).fit(training)
        if estimator.stop_reason_ == "interrupted":
            raise KeyboardInterrupt
        seconds.append(time.perf_counter() - began)
        estimators.append(estimator)
    first = estimators[0]
    atoms = tuple(torch.from_numpy(estimator.components_) for estimator in estimators)
    fit, held, peak, concepts = _measured(first, atoms[0], training, heldout)
    found = health(atoms[0], peak[None])
    survivors = recovery(atoms[0], neighbour[0]) if neighbour else None
    pairs = [recovery(b, a).mean() for a, b in itertools.combinations(atoms, 2)]
    return PathSolution(
        PathPoint(
            n_components=step.n_components,
            sparsity=float(step.sparsity),
            loss_train=fit.relative_loss,
            loss_heldout=None if held is None else held.relative_loss,
            variance_train=fit.explained_variance,
            variance_heldout=None if held is None else held.explained_variance,
            code_density=fit.code_density,
            active=fit.code_density * step.n_components,
            dead=int(found.dead.sum()),
            duplicate=int(found.duplicate.sum()),
            concepts=concepts,
            agreement=None if survivors is None else float(survivors.mean()),
            survived=None
            if survivors is None
            else float((survivors > SURVIVING_COSINE).float().mean()),
            seed_agreement=float(torch.stack(pairs).mean()) if pairs else None,
            sweeps=int(first.n_iter_),
            stop_reason=str(first.stop_reason_),
            seconds=seconds[0],
            warm=bool(neighbour) and not settings.cold,
        ),
        atoms,
    )


def _alive(atoms: AtomMatrix) -> AtomMatrix | None:
    """The atoms that are not zero; dead ones make place for directions that are needed."""
    alive = atoms[atoms.norm(dim=1) > 0]
    return alive if len(alive) else None


def _measured(
    estimator: SemiNMF, atoms: AtomMatrix, training: Activations, heldout: Activations
) -> tuple[Fidelity, Fidelity | None, Float[Tensor, "features"], int | None]:
    """Figures of both splits, the largest code of every feature, and sure concepts.

    A text's score for a feature is its largest code, so that one line a text is enough to judge
    concepts: the codes of all rows are never held.
    """
    corpus = training.corpus
    scores = torch.full((len(corpus), len(atoms)), float("nan"))
    figures: list[Fidelity | None] = []
    peak = torch.zeros(len(atoms))
    for part in (training, heldout):
        sums = FidelitySums(part.shape[1])
        start = 0
        for x in part.chunks(_BLOCK_ROWS):
            codes = _codes(estimator, x)
            sums.add(x.cpu(), codes, atoms)
            if part is training:
                peak = torch.maximum(peak, codes.amax(dim=0))
            text_id = part.tokens.text_id[start : start + len(x)]
            start += len(x)
            seen = np.unique(text_id)
            here = text_scores(codes, text_id, len(corpus))[seen]
            scores[seen] = torch.fmax(scores[seen], here)
        figures.append(sums.result() if len(part) else None)
    fit, held = figures
    if fit is None:
        raise InputError("All rows are held out: there is none left to fit.")
    return fit, held, peak, _concepts(scores, training, heldout)


def _codes(estimator: SemiNMF, x: Float[Tensor, "rows channels"]) -> CodeMatrix:
    return torch.as_tensor(estimator.transform(x)).float().cpu()


def _concepts(
    scores: Float[Tensor, "texts features"], training: Activations, heldout: Activations
) -> int | None:
    if not len(heldout) or not training.corpus.concepts:
        return None
    known = np.flatnonzero(~scores.isnan().any(dim=1).numpy())
    # Precision, which needs all rows, has no part in being sure.
    profile = concept_profile(scores[known], known.astype(np.int32), training.corpus)
    tried = [match for match in profile.best if match is not None]
    if np.isnan(profile.heldout).all() or (tried and all(match.auroc is None for match in tried)):
        return None
    return len(sure_concepts(profile.best))
