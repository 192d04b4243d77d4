"""Which independent components come back: ICA over many seeds and bootstraps, and their clusters.

Icasso (Himberg, Hyvärinen & Esposito 2004, NeuroImage 22:1214): run FastICA often, from other
starts and on samples drawn anew with replacement; call two estimates alike by the magnitude of the
correlation of their sources; cluster all estimates by average linkage into as many clusters as
there are components. The stability index of a cluster is

    Iq = mean similarity within the cluster − mean similarity to all estimates outside it

1 for a source that every run finds and none mixes with another, about 0 for what every run finds
differently. Both kinds of randomness are needed: starts show what the algorithm leaves open,
bootstraps what the number of samples leaves open.

Deviation: the components that are given out are those of one run (the one whose sources are the
most non-Gaussian in sum), so that together they rebuild W; each carries the index of its cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.types import Bool, Float, Int, Tensor
from cofire.weights.decompositions import Decomposition, assembled
from cofire.weights.fast_ica import MAX_ITER, TOL, Rotations, fast_ica
from cofire.weights.measures import negentropy
from cofire.weights.whitening import Samples, White, as_low_rank, oriented, whitened

Algorithm: TypeAlias = Literal["fastica", "picard"]

STABLE_INDEX = 0.8
"""Iq from which a component counts as stable."""

RESTARTS = 20
"""Runs, half from other starts on all samples, half on bootstraps."""

_LEAST_SHARE = 0.5  # of the runs that must have an estimate in a cluster


@dataclass(frozen=True, eq=False)
class Stability:
    """An ICA and how far each of its components can be relied on.

    Attributes:
        decomposition: the components, of the run whose sources are the most non-Gaussian.
        index: Iq of the cluster each component's estimate lies in, in the components' order.
        found_in: share of the runs with an estimate in that cluster.
        cluster: number of that cluster; two components of one cluster are one finding.
        stable: whether the index and the share are high enough and the estimate converged; of
            several components in one cluster the largest only.
        restarts: runs that were made.
        converged_share: share of all estimates that converged.
    """

    decomposition: Decomposition
    index: Float[np.ndarray, "features"]
    found_in: Float[np.ndarray, "features"]
    cluster: Int[np.ndarray, "features"]
    stable: Bool[np.ndarray, "features"]
    restarts: int
    converged_share: float

    @property
    def n_stable(self) -> int:
        """Components that count."""
        return int(self.stable.sum())


def icasso(
    matrix: LowRankMatrix | Float[Tensor, "_ _"],
    n_components: int,
    *,
    samples: Samples = "columns",
    restarts: int = RESTARTS,
    seed: int = 0,
    max_iter: int = MAX_ITER,
    tol: float = TOL,
    algorithm: Algorithm = "fastica",
    stable_index: float = STABLE_INDEX,
) -> Stability:
    """ICA of a weight matrix with a stability index for each component.

    Args:
        matrix: W, as two factors or dense.
        n_components: k, at most the rank of the centred samples.
        samples: over which side of W sources are independent.
        restarts: runs; the first half sees all samples, the others a bootstrap of them.
        seed: of starts and bootstraps.
        max_iter: most steps of a run.
        tol: change of a component below which it has converged.
        algorithm: ``fastica``, or ``picard``, which needs the package python-picard.
        stable_index: Iq from which a component counts.

    Raises:
        InputError: for k above the rank, fewer than two runs, or a package that is not installed.
    """
    if restarts < 2:
        raise InputError(f"Stability needs at least two runs; restarts is {restarts}.")
    data = as_low_rank(matrix)
    white = whitened(data, n_components, samples=samples)
    unmixing, converged, n_iter = estimates(
        white.data, restarts, seed=seed, max_iter=max_iter, tol=tol, algorithm=algorithm
    )
    on_all = on_all_samples(restarts)
    best = int(negentropy(unmixing[:on_all] @ white.data).sum(dim=1).argmax())
    index, found_in, cluster = _clustered(unmixing)
    settled = converged[best]
    chosen = slice(best * n_components, (best + 1) * n_components)
    made, order = _decomposition(
        data,
        white,
        unmixing[best],
        settled,
        samples,
        {
            "seed": seed,
            "restarts": restarts,
            "algorithm": algorithm,
            "n_iter": int(n_iter[best]),
            "tol": tol,
        },
    )
    place = cluster[chosen][order]
    stable = _stable(index, found_in, place, made.converged.numpy(), stable_index)
    return Stability(
        decomposition=made,
        index=index[place],
        found_in=found_in[place],
        cluster=place,
        stable=stable,
        restarts=restarts,
        converged_share=float(converged.float().mean()),
    )


def stable_count(
    unmixing: Float[Tensor, "restarts features features"],
    converged: Bool[Tensor, "restarts features"],
    best: int,
    *,
    stable_index: float = STABLE_INDEX,
) -> int:
    """How many components of one run are stable among all of them; for nulls."""
    index, found_in, cluster = _clustered(unmixing)
    k = unmixing.shape[1]
    place = cluster[best * k : (best + 1) * k]
    return int(_stable(index, found_in, place, converged[best].numpy(), stable_index).sum())


def single_run(
    matrix: LowRankMatrix | Float[Tensor, "_ _"],
    n_components: int,
    *,
    samples: Samples = "columns",
    seed: int = 0,
    max_iter: int | None = None,
    tol: float = TOL,
    algorithm: Algorithm = "fastica",
    start: Float[Tensor, "features features"] | None = None,
) -> Decomposition:
    """One run of ICA, without a stability index; see ``icasso``.

    Args:
        matrix, n_components, samples, seed, max_iter, tol, algorithm: see ``icasso``.
        start: rotation to begin at, in white coordinates; drawn with the seed when None.
    """
    data = as_low_rank(matrix)
    white = whitened(data, n_components, samples=samples)
    most = max_iter or MAX_ITER
    if start is None:
        unmixing, converged, n_iter = estimates(
            white.data, 1, seed=seed, max_iter=most, tol=tol, algorithm=algorithm
        )
    else:
        run = _solve(white.data[None], start[None], algorithm, most, tol)
        unmixing, converged, n_iter = run.rotation, run.converged, run.n_iter
    record = {"seed": seed, "algorithm": algorithm, "n_iter": int(n_iter[0]), "tol": tol}
    return _decomposition(data, white, unmixing[0], converged[0], samples, record)[0]


def on_all_samples(restarts: int) -> int:
    """How many of several runs see all samples, the others a bootstrap of them each."""
    return (restarts + 1) // 2


def estimates(
    white: Float[Tensor, "features rows"],
    restarts: int,
    *,
    seed: int,
    max_iter: int = MAX_ITER,
    tol: float = TOL,
    algorithm: Algorithm = "fastica",
    bootstraps: bool = True,
) -> tuple[
    Float[Tensor, "restarts features features"],
    Bool[Tensor, "restarts features"],
    Int[Tensor, "restarts"],
]:
    """Unmixing rows of every run, in the coordinates of all samples.

    Args:
        white: the samples in white coordinates.
        restarts: runs.
        seed, max_iter, tol, algorithm: see ``icasso``.
        bootstraps: whether the second half of the runs sees bootstraps.

    Returns:
        Unmixing matrices (sources = unmixing @ white, of unit variance over all samples), whether
        each estimate converged, and the steps of each run.
    """
    if algorithm not in ("fastica", "picard"):
        raise InputError(f"Unknown algorithm {algorithm!r} of ICA; use fastica or picard.")
    k, n = white.shape
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(restarts, k, k, generator=generator, dtype=white.dtype)
    on_all = on_all_samples(restarts) if bootstraps else restarts
    runs = [_solve(white.expand(on_all, -1, -1), start[:on_all], algorithm, max_iter, tol)]
    unmixing = [runs[0].rotation]
    if restarts > on_all:
        drawn = torch.randint(n, (restarts - on_all, n), generator=generator)
        resampled = white.T[drawn]  # [restarts rows features]
        resampled = resampled - resampled.mean(dim=1, keepdim=True)
        values, vectors = torch.linalg.eigh(resampled.mT @ resampled / n)
        limit = torch.finfo(white.dtype).eps * n * values[:, -1:]
        root = vectors / torch.maximum(values, limit).sqrt()[:, None, :] @ vectors.mT
        runs.append(_solve(root @ resampled.mT, start[on_all:], algorithm, max_iter, tol))
        rows = runs[1].rotation @ root
        unmixing.append(rows / rows.norm(dim=2, keepdim=True))
    return (
        torch.cat(unmixing),
        torch.cat([run.converged for run in runs]),
        torch.cat([run.n_iter for run in runs]),
    )


def _solve(
    white: Float[Tensor, "restarts features values"],
    start: Float[Tensor, "restarts features features"],
    algorithm: Algorithm,
    max_iter: int,
    tol: float,
) -> Rotations:
    if algorithm == "picard":
        from cofire.weights.picard_ica import picard_ica  # an optional package

        return picard_ica(white, start, max_iter=max_iter, tol=tol)
    return fast_ica(white, start, max_iter=max_iter, tol=tol)


def _clustered(
    unmixing: Float[Tensor, "restarts features features"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Iq and share of runs of every cluster, and the cluster of every estimate."""
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to import
    from scipy.spatial.distance import squareform

    restarts, k = unmixing.shape[:2]
    rows = unmixing.reshape(-1, k)
    # Rows of unit norm in white coordinates: their product is the correlation of the sources.
    alike = (rows @ rows.T).abs().clamp(max=1.0).double().numpy()
    np.fill_diagonal(alike, 1.0)
    alike = (alike + alike.T) / 2
    tree = linkage(squareform(1 - alike, checks=False), "average") if len(rows) > 1 else None
    label = np.zeros(len(rows), dtype=np.int64)
    if tree is not None and k > 1:
        label = fcluster(tree, k, "maxclust").astype(np.int64) - 1
    n = int(label.max()) + 1
    member = np.eye(n)[label]
    total = member.T @ alike @ member
    size = member.sum(axis=0)
    outside = len(rows) - size
    within = np.diag(total) / size**2
    with np.errstate(invalid="ignore", divide="ignore"):
        between = np.where(outside > 0, (total.sum(axis=1) - np.diag(total)) / (size * outside), 0)
    run = np.repeat(np.arange(restarts), k)
    found_in = np.array([len(np.unique(run[label == c])) / restarts for c in range(n)])
    return within - between, found_in, label


def _stable(
    index: np.ndarray, found_in: np.ndarray, place: np.ndarray, converged: np.ndarray, limit: float
) -> np.ndarray:
    """Which components count, given the cluster of each; of those in one cluster the first."""
    high = (index[place] >= limit) & (found_in[place] >= _LEAST_SHARE)
    first = np.zeros(len(place), dtype=bool)
    first[np.unique(place, return_index=True)[1]] = True
    return np.asarray(high & first & converged)


def _decomposition(
    matrix: LowRankMatrix,
    white: White,
    unmixing: Float[Tensor, "features features"],
    converged: Bool[Tensor, "features"],
    samples: Samples,
    record: Mapping[str, object],
) -> tuple[Decomposition, np.ndarray]:
    """The components of one orthonormal unmixing, and the order they were put in."""
    data = oriented(matrix, samples)
    encoder = white.whiten @ unmixing.T
    atoms, norms = unit_atoms(unmixing @ white.directions)
    codes = data.left @ (data.right @ encoder) * norms
    order = codes.norm(dim=0).argsort(descending=True, stable=True)
    made = assembled(
        "ica",
        codes[:, order],
        atoms[order],
        samples=samples,
        converged=converged[order],
        encoder=(encoder * norms)[:, order],
        record=record,
        sort=False,
    )
    return made, order.numpy()
