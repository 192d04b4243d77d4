"""What the verdict on one weight matrix rests on: figures, each beside its null.

``examination.examine`` makes them; ``verdict.verdict`` decides from them. They can be written down
as plain JSON and read again, so that a verdict can be made anew without taking W apart again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import torch

from cofire.errors import InputError
from cofire.weights.measures import components_for_error
from cofire.weights.nulls import AgainstNull

_AS_SMALL = 1.01
"""An error of 1% more still counts as the same: ICA, which takes the mean sample off first, spans
nearly what SVD spans."""


@dataclass(frozen=True)
class Spectrum:
    """What the singular values say, beside random weights of the same shape.

    Attributes:
        effective_rank, participation_ratio, components_90, error: small where W is of low rank;
            ``error`` is the relative error of the SVD with k components.
        top_ratio: σ₁ / σ_k.
        top_two: σ₁ / σ₂ (B09).
        norm: Frobenius norm.
    """

    effective_rank: AgainstNull
    participation_ratio: AgainstNull
    components_90: AgainstNull
    error: AgainstNull
    top_ratio: float
    top_two: float
    norm: float


@dataclass(frozen=True)
class Independence:
    """What ICA found.

    Attributes:
        rotated: mean negentropy of the sources, against random directions.
        rescaled: the same, against random directions with the channels as large as they are.
        kurtosis: median excess kurtosis of the sources, against random directions.
        dependence: energy correlation left between sources, against shuffled samples.
        n_stable: stable components.
        stable_by_chance: most stable components among the draws of random directions.
        median_index: median Iq.
        converged: share of the reported components that converged.
    """

    rotated: AgainstNull
    rescaled: AgainstNull
    kurtosis: AgainstNull
    dependence: AgainstNull
    n_stable: int
    stable_by_chance: int
    median_index: float
    converged: float


@dataclass(frozen=True)
class Parts:
    """What NMF found.

    The figures that are tested are those of |W_k|, W_k the best approximation of rank k: the same
    k dimensions that SVD and ICA express at this k, without the rest of W, which is noise to k
    parts and hides how well they do.

    Attributes:
        fit_rotated, fit_rescaled: relative error of k parts of |W_k|, against these nulls. The
            ``excess`` says how much of the null's error is gone: 1 where the k dimensions split
            into non-negative parts without loss, 0 where they do as badly as random ones.
        sparsity_rotated, sparsity_rescaled: Hoyer sparsity of those parts (geometric mean of both
            sides, median over parts), against these nulls.
        rotated, rescaled, shuffled: relative error of k parts of |W| itself, against few draws.
        curve: relative error of |W| for each number of parts that was tried.
        parts_90: fewest of them that hold 90% of the squares of |W|; None when not even k do.
    """

    fit_rotated: AgainstNull
    fit_rescaled: AgainstNull
    sparsity_rotated: AgainstNull
    sparsity_rescaled: AgainstNull
    rotated: AgainstNull
    rescaled: AgainstNull
    shuffled: AgainstNull
    curve: tuple[tuple[int, float], ...]
    parts_90: int | None


@dataclass(frozen=True)
class Evidence:
    """All figures of one matrix.

    Attributes:
        shape: of W.
        rank: inner size of W.
        n_components: k.
        samples: the side of the samples.
        errors: relative error of each method at k: of W, for NMF of |W|.
        spectrum: singular values.
        independence: None when ICA was not run.
        parts: None when NMF was not run.
    """

    shape: tuple[int, int]
    rank: int
    n_components: int
    samples: str
    errors: Mapping[str, float]
    spectrum: Spectrum
    independence: Independence | None
    parts: Parts | None

    def sizes_for_svd_error(self) -> dict[str, int | None]:
        """Fewest components of each other method with SVD's error at k, give or take 1%, or less.

        NMF is asked at every number of parts that was tried, the others at k alone; None where
        not even k of them reach it.
        """
        found = {}
        for method, error in self.errors.items():
            if method == "svd":
                continue
            tried: tuple[tuple[int, float], ...] = ((self.n_components, error),)
            if method == "nmf" and self.parts is not None:
                tried = self.parts.curve
            sizes, errors = torch.tensor(tried, dtype=torch.float64).T
            goal = self.errors["svd"] * _AS_SMALL
            found[method] = components_for_error(sizes, errors, goal)
        return found

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Evidence":
        """Put together what ``record`` took apart, such as after JSON."""
        parts = dict(record)
        parts["shape"] = tuple(parts["shape"])
        for name, kind in (
            ("spectrum", Spectrum),
            ("independence", Independence),
            ("parts", Parts),
        ):
            if parts[name] is not None:
                parts[name] = _revived(kind, parts[name])
        return cls(**parts)


def _revived(kind: type, record: Mapping[str, Any]) -> Any:
    """A dataclass whose fields may be ``AgainstNull``, from plain JSON values."""
    if not is_dataclass(kind):
        raise InputError(f"{kind} is no record.")
    values: dict[str, Any] = {}
    for one in fields(kind):
        value = record[one.name]
        if one.type is AgainstNull:
            value = AgainstNull(**value)
        elif one.name == "curve":
            value = tuple((int(size), float(wrong)) for size, wrong in value)
        values[one.name] = value
    return kind(**values)
