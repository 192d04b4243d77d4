"""Weight matrices whose structure is known: independent, non-negative, orthogonal, or none at all.

What a method has to find, and what it must not claim. Every kind has the same shape and noise; in
each of the first three one method of four is the right one:

============  =====================================================================================
independent   W = A S: dense mixing vectors far from orthogonal, sparse sources that are independent
              over the columns. ICA is right
nonnegative   W = B H, B and H ≥ 0: overlapping parts whose amounts sum to one in every column, so
              that they depend on one another, against ICA's assumption. NMF is right
orthogonal    W = U Σ Vᵀ: random orthonormal directions with distinct singular values. SVD is right
none          a product of Gaussian factors of the rank of a head, as an untrained head has it.
              Nothing is there to be found
============  =====================================================================================
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.matching import match_atoms
from cofire.types import Float, Tensor
from cofire.weights.decompositions import Decomposition
from cofire.weights.nulls import random_frame

Structure: TypeAlias = Literal["independent", "nonnegative", "orthogonal", "none"]

STRUCTURES: tuple[Structure, ...] = ("independent", "nonnegative", "orthogonal", "none")

RIGHT_METHOD = {"independent": "ica", "nonnegative": "nmf", "orthogonal": "svd"}
"""The method that fits each structure."""

_COMMON = 0.5  # share of variance that mixing vectors have in common: cosines of about that size
_ACTIVE = 0.15  # of the columns, for a sparse source
_PART = 0.3  # of the rows, for a non-negative part
_CONCENTRATION = 0.5  # of the Dirichlet distribution of amounts
_SMALLEST = 0.3  # singular value, the largest being 1


@dataclass(frozen=True, eq=False)
class PlantedWeights:
    """W = mixing @ components + noise with everything known.

    Attributes:
        matrix: W, as two factors.
        mixing, components: the truth; None where there is none.
        structure: which kind.
    """

    matrix: LowRankMatrix
    mixing: Float[Tensor, "rows features"] | None
    components: Float[Tensor, "features channels"] | None
    structure: str


def plant_weights(
    structure: Structure | str,
    *,
    rows: int = 160,
    channels: int = 320,
    n_components: int = 8,
    rank: int = 64,
    noise: float = 0.05,
    seed: int = 0,
) -> PlantedWeights:
    """Draw a weight matrix of one kind of structure.

    Args:
        structure: which kind.
        rows, channels: shape of W; samples are the columns.
        n_components: planted components.
        rank: of W, noise included, as d_head is of W_OV.
        noise: ‖noise‖² relative to ‖signal‖²; a product of Gaussian factors.
        seed: the same seed gives the same matrix.

    Raises:
        InputError: for an unknown structure, or sizes that do not fit one another.
    """
    if structure not in STRUCTURES:
        raise InputError(f"Unknown structure {structure!r}; use one of {', '.join(STRUCTURES)}.")
    if not 1 <= n_components < rank <= min(rows, channels):
        raise InputError(
            f"Sizes must rise: {n_components} components < rank {rank} ≤ {rows} × {channels}."
        )
    generator = torch.Generator().manual_seed(seed)
    if structure == "none":
        left = torch.randn(rows, rank, generator=generator)
        right = torch.randn(rank, channels, generator=generator)
        return PlantedWeights(LowRankMatrix(left, right), None, None, structure)
    mixing, components = {
        "independent": _independent,
        "nonnegative": _nonnegative,
        "orthogonal": _orthogonal,
    }[structure](rows, channels, n_components, generator)
    signal = LowRankMatrix(mixing, components)
    left = torch.randn(rows, rank - n_components, generator=generator)
    right = torch.randn(rank - n_components, channels, generator=generator)
    error = LowRankMatrix(left, right)
    factor = noise**0.5 * signal.singular_values().norm() / error.singular_values().norm()
    matrix = LowRankMatrix(torch.cat([mixing, left * factor], 1), torch.cat([components, right]))
    return PlantedWeights(matrix, mixing, components, structure)


def recovered(planted: PlantedWeights, found: Decomposition) -> float:
    """Mean over planted components of |cos reading| · |cos writing| to the matched found one.

    Components are matched one to one so that the sum is largest (Hungarian method); 1 when every
    component was found, a cosine of products of rank-one matrices otherwise.

    Raises:
        InputError: when nothing was planted.
    """
    if planted.mixing is None or planted.components is None:
        raise InputError("Nothing was planted, so nothing can be recovered.")
    truth = _outer(planted.mixing, planted.components)
    return float(match_atoms(truth, _outer(found.mixing, found.components)).cosine.mean())


def _outer(mixing: Tensor, components: Tensor) -> Float[Tensor, "features _"]:
    """Every component's rank-one matrix as a vector, on the Gram scale that keeps cosines."""
    unit_in = (mixing / mixing.norm(dim=0)).T
    unit_out = components / components.norm(dim=1, keepdim=True)
    return (unit_in[:, :, None] * unit_out[:, None, :]).flatten(1)


def _independent(
    rows: int, channels: int, k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    shared = torch.randn(rows, 1, generator=generator)
    own = torch.randn(rows, k, generator=generator)
    mixing = _COMMON**0.5 * shared + (1 - _COMMON) ** 0.5 * own
    sizes = -torch.rand(k, channels, generator=generator).clamp_min(1e-6).log() + 0.5
    signs = torch.randint(2, (k, channels), generator=generator) * 2 - 1
    active = torch.rand(k, channels, generator=generator) < _ACTIVE
    return mixing, active * signs * sizes


def _nonnegative(
    rows: int, channels: int, k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    inside = torch.rand(rows, k, generator=generator) < _PART
    mixing = inside * (0.5 + torch.rand(rows, k, generator=generator))
    # Dirichlet amounts as normalised gamma variables; of shape ½ those are squared Gaussians.
    amounts = torch.randn(k, channels, generator=generator).square() * _CONCENTRATION
    return mixing, amounts / amounts.sum(dim=0)


def _orthogonal(
    rows: int, channels: int, k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    sigma = torch.logspace(0, 1, k, base=_SMALLEST)
    left = random_frame(rows, k, generator)
    return left * sigma, random_frame(channels, k, generator).T.contiguous()
