"""Takes one weight matrix apart by every method and holds each figure against its null.

``examine`` decomposes a matrix by every method at the same k, asks which independent components
are stable, and draws the nulls. What depends on the shape alone (random frames, random weights) is
drawn once and serves every head of the model.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.threads import side_by_side, workers_for
from cofire.types import Float, Tensor
from cofire.weights import nulls
from cofire.weights.decompositions import METHODS, Decomposition, decompose, magnitude_parts
from cofire.weights.evidence import Evidence, Independence, Parts, Spectrum
from cofire.weights.icasso import (
    RESTARTS,
    Algorithm,
    Stability,
    estimates,
    icasso,
    on_all_samples,
    stable_count,
)
from cofire.weights.measures import (
    components_for_share,
    effective_rank,
    energy_dependence,
    excess_kurtosis,
    hoyer_sparsity,
    negentropy,
    participation_ratio,
    relative_error,
    top_ratio,
)
from cofire.weights.nulls import NULL_DRAWS, AgainstNull, against
from cofire.weights.whitening import Samples, as_low_rank, check_matrix, whitened

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_DEPENDENCE_DRAWS = 50  # shuffles of samples; they cost next to nothing
_FEW_DRAWS = 3  # where a null hardly varies and is only described
MOST_SEED = 2**32 - 1
"""Largest seed that scikit-learn's NMF takes."""

_REACHED = 0.9  # of the squares of |W| that "few parts" must hold


@dataclass(frozen=True)
class Settings:
    """How a matrix is examined.

    Attributes:
        n_components: k, the same for every method.
        samples: over which side sources are independent and codes live.
        methods: which; ``svd`` is always there, as the yardstick.
        restarts: runs of ICA for its stability.
        draws: of a null.
        seed: of everything random.
        algorithm: of ICA.
        sparsity: share of entries an atom of snmf keeps.
    """

    n_components: int = 16
    samples: Samples = "columns"
    methods: tuple[str, ...] = METHODS
    restarts: int = RESTARTS
    draws: int = NULL_DRAWS
    seed: int = 0
    algorithm: Algorithm = "fastica"
    sparsity: float = 1.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            raise InputError(
                f"Methods are some of {', '.join(METHODS)}; got {', '.join(self.methods) or '-'}."
            )
        if self.draws < 2:
            raise InputError(f"A null needs at least two draws; got {self.draws}.")
        if not 0 <= self.seed <= MOST_SEED:
            raise InputError(f"A seed lies between 0 and {MOST_SEED}; got {self.seed}.")


@dataclass(frozen=True, eq=False)
class Examination:
    """A matrix taken apart.

    Attributes:
        decompositions: by method.
        stability: of ICA's components; None when ICA was not run.
        evidence: the figures.
    """

    decompositions: Mapping[str, Decomposition]
    stability: Stability | None
    evidence: Evidence


def check(matrix: LowRankMatrix | Float[Tensor, "_ _"], settings: Settings) -> None:
    """Refuse a matrix that ``examine`` could not take apart; takes a moment.

    Raises:
        InputError: for k above the rank, or numbers that are not finite.
    """
    check_matrix(
        as_low_rank(matrix),
        settings.n_components,
        samples=settings.samples,
        centred="ica" in settings.methods,
    )


def examine(
    matrix: LowRankMatrix | Float[Tensor, "_ _"], settings: Settings | None = None
) -> Examination:
    """Take a weight matrix apart by every method and hold every figure against its null.

    Args:
        matrix: W, as two factors or dense.
        settings: how.

    Raises:
        InputError: for k above the rank, numbers that are not finite, or a dense |W| of too many
            entries.
    """
    s = settings or Settings()
    W = as_low_rank(matrix)
    check(W, s)
    found: dict[str, Decomposition] = {
        "svd": decompose(W, "svd", s.n_components, samples=s.samples)
    }
    stability = None
    for method in s.methods:
        if method == "ica":
            stability = icasso(
                W,
                s.n_components,
                samples=s.samples,
                restarts=s.restarts,
                seed=s.seed,
                algorithm=s.algorithm,
            )
            found["ica"] = stability.decomposition
        elif method != "svd":
            found[method] = decompose(
                W,
                method,
                s.n_components,
                samples=s.samples,
                seed=s.seed,
                sparsity=s.sparsity,
            )
    errors = {
        name: relative_error(
            W.dense().abs() if made.magnitudes else W,
            made.reconstruction(),
        )
        for name, made in found.items()
    }
    evidence = Evidence(
        shape=W.shape,
        rank=W.left.shape[1],
        n_components=s.n_components,
        samples=s.samples,
        errors=errors,
        spectrum=_spectrum(W, errors["svd"], s),
        independence=None if stability is None else _independence(W, stability, s),
        parts=None if "nmf" not in found else _parts(W, errors["nmf"], s),
    )
    return Examination(found, stability, evidence)


def _spectrum(matrix: LowRankMatrix, error: float, s: Settings) -> Spectrum:
    sigma = matrix.singular_values()
    inner = matrix.left.shape[1]
    random = _random_spectra(matrix.shape, inner, s.n_components, s.draws, s.seed)

    def held(name: str, value: float) -> AgainstNull:
        return against(value, [draw[name] for draw in random], null="random", tail="below")

    figures = _spectral_figures(sigma, s.n_components)
    return Spectrum(
        effective_rank=held("effective_rank", figures["effective_rank"]),
        participation_ratio=held("participation_ratio", figures["participation_ratio"]),
        components_90=held("components_90", figures["components_90"]),
        error=held("error", error),
        top_ratio=figures["top_ratio"],
        top_two=top_ratio(sigma, min(2, len(sigma))),
        norm=float(sigma.norm()),
    )


def _spectral_figures(sigma: Float[Tensor, "rank"], n_components: int) -> dict[str, float]:
    squares = sigma.double().square()
    return {
        "effective_rank": effective_rank(sigma),
        "participation_ratio": participation_ratio(sigma),
        "components_90": float(components_for_share(sigma)),
        "error": float((squares[n_components:].sum() / squares.sum()).sqrt()),
        "top_ratio": top_ratio(sigma, n_components),
    }


@cache
def _random_spectra(
    shape: tuple[int, int], inner: int, n_components: int, draws: int, seed: int
) -> tuple[dict[str, float], ...]:
    like = LowRankMatrix(torch.ones(shape[0], inner), torch.ones(inner, shape[1]))
    return tuple(
        _spectral_figures(
            nulls.random_weights(like, seed=seed + draw).singular_values(), n_components
        )
        for draw in range(draws)
    )


def random_top_ratio(
    shape: tuple[int, int], inner: int, n_components: int, *, draws: int = NULL_DRAWS, seed: int = 0
) -> float:
    """Mean σ₁ / σ_k of random weights of the shape and rank of a head."""
    drawn = _random_spectra(shape, inner, n_components, draws, seed)
    return sum(one["top_ratio"] for one in drawn) / draws


def _independence(matrix: LowRankMatrix, stability: Stability, s: Settings) -> Independence:
    made = stability.decomposition
    sources = made.codes.T
    value = float(negentropy(sources).mean())
    frames = _frame_figures(
        sources.shape[1], s.n_components, s.restarts, s.draws, s.seed, s.algorithm
    )
    rescaled = [
        _best_negentropy(
            whitened(
                nulls.rescaled(matrix, seed=s.seed + draw), s.n_components, samples=s.samples
            ).data,
            s.restarts,
            s.seed + draw,
            s.algorithm,
        )
        for draw in range(s.draws)
    ]
    generator = torch.Generator().manual_seed(s.seed)
    shuffled = [
        energy_dependence(
            torch.stack([row[torch.randperm(len(row), generator=generator)] for row in sources])
        )
        for _ in range(_DEPENDENCE_DRAWS)
    ]
    return Independence(
        rotated=against(value, [draw["negentropy"] for draw in frames], null="rotated"),
        rescaled=against(value, rescaled, null="rescaled"),
        kurtosis=against(
            float(excess_kurtosis(sources).median()),
            [draw["kurtosis"] for draw in frames],
            null="rotated",
        ),
        dependence=against(energy_dependence(sources), shuffled, null="shuffled samples"),
        n_stable=stability.n_stable,
        stable_by_chance=int(max(draw["stable"] for draw in frames)),
        median_index=float(torch.from_numpy(stability.index).median()),
        converged=float(made.converged.float().mean()),
    )


@cache
def _frame_figures(
    n: int, n_components: int, restarts: int, draws: int, seed: int, algorithm: Algorithm
) -> tuple[dict[str, float], ...]:
    """ICA of random orthonormal directions, which is what rotating W makes of it."""
    found = []
    for draw in range(draws):
        generator = torch.Generator().manual_seed(seed + draw)
        start = torch.randn(n, n_components + 1, generator=generator)
        start[:, 0] = 1.0  # so that the others have mean 0
        white = torch.linalg.qr(start)[0][:, 1:].T * n**0.5
        unmixing, converged, _ = estimates(white, restarts, seed=seed + draw, algorithm=algorithm)
        sources = unmixing[: on_all_samples(restarts)] @ white
        best = int(negentropy(sources).sum(dim=1).argmax())
        found.append(
            {
                "negentropy": float(negentropy(sources[best]).mean()),
                "kurtosis": float(excess_kurtosis(sources[best]).median()),
                "stable": float(stable_count(unmixing, converged, best)),
            }
        )
    return tuple(found)


def _best_negentropy(
    white: Float[Tensor, "features rows"], restarts: int, seed: int, algorithm: Algorithm
) -> float:
    """Of the best of as many runs on all samples as the reported sources are the best of."""
    unmixing, _, _ = estimates(
        white, on_all_samples(restarts), seed=seed, algorithm=algorithm, bootstraps=False
    )
    return float(negentropy(unmixing @ white).mean(dim=1).max())


def _parts(matrix: LowRankMatrix, error: float, s: Settings) -> Parts:
    k = s.n_components

    def split(W: LowRankMatrix | Tensor, parts: int = k) -> tuple[Decomposition, float]:
        made = magnitude_parts(W, parts, samples=s.samples, seed=s.seed)
        dense = W.dense() if isinstance(W, LowRankMatrix) else W
        return made, relative_error(dense.abs(), made.reconstruction())

    u, sigma, vh = matrix.svd()
    best = LowRankMatrix(u[:, :k] * sigma[:k], vh[:k].contiguous())
    made, nearest = split(best)
    value = _sparsity(made)
    tested: dict[str, AgainstNull] = {}
    kinds: dict[str, Callable[..., LowRankMatrix]] = {
        "rotated": nulls.rotated,
        "rescaled": nulls.rescaled,
    }
    anything: dict[str, Callable[..., LowRankMatrix | Tensor]] = {
        **kinds,
        "shuffled": nulls.shuffled,
    }
    seeds = range(s.seed, s.seed + s.draws)
    tested_draws = [(kind, seed) for kind in kinds for seed in seeds]
    drawn = _all(lambda one: split(kinds[one[0]](best, seed=one[1])), tested_draws)
    for kind in kinds:
        own = [drawn[i] for i, one in enumerate(tested_draws) if one[0] == kind]
        tested[f"fit_{kind}"] = against(nearest, [w for _, w in own], null=kind, tail="below")
        tested[f"sparsity_{kind}"] = against(value, [_sparsity(p) for p, _ in own], null=kind)
    few_draws = [(kind, s.seed + draw) for kind in anything for draw in range(_FEW_DRAWS)]
    described = _all(lambda one: split(anything[one[0]](matrix, seed=one[1]))[1], few_draws)
    for kind in anything:
        wrong = [described[i] for i, one in enumerate(few_draws) if one[0] == kind]
        tested[kind] = against(error, wrong, null=kind, tail="below")
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64) if size < k]
    curve = (*_all(lambda size: (size, split(matrix, size)[1]), sizes), (k, error))
    limit = (1 - _REACHED) ** 0.5
    return Parts(
        **tested,
        curve=curve,
        parts_90=next((size for size, wrong in curve if wrong <= limit), None),
    )


def _all(compute: Callable[[_In], _Out], of: Sequence[_In]) -> list[_Out]:
    """A function of each of several values, as many at a time as there are threads."""
    found: dict[int, _Out] = {}

    def one(_: int, numbered: tuple[int, _In]) -> None:
        found[numbered[0]] = compute(numbered[1])

    with warnings.catch_warnings():
        # Filters belong to all threads: those that a computation sets are undone by another one.
        warnings.simplefilter("ignore", SklearnConvergenceWarning)
        side_by_side(one, enumerate(of), workers=workers_for(torch.device("cpu")))
    return [found[number] for number in range(len(of))]


def _sparsity(found: Decomposition) -> float:
    both = hoyer_sparsity(found.mixing.T) * hoyer_sparsity(found.components)
    return float(both.clamp_min(0).sqrt().nanmedian())
