"""Do components of weights lie along features that were found without the weights?

For each component the largest |cosine| with any feature, on the side where it reads or writes. A
high cosine proves little: features share outlier channels and a common subspace, and so do the
components. The null therefore keeps both exactly: it mixes the features among themselves by a
random orthonormal matrix, F' = R F with F'ᵀF' = FᵀF, so that only the single features are lost. A
component matches a feature when its cosine is beyond chance after correction for the number of
components (Benjamini & Hochberg at 5%).

For parts of |W| the magnitudes of the features are compared, mixed before the signs are dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.errors import InputError
from cofire.evaluation.discoveries import discoveries
from cofire.types import AtomMatrix, Float, Tensor
from cofire.weights.evidence import Examination
from cofire.weights.head_record import FeatureMatch
from cofire.weights.nulls import random_frame
from cofire.weights.verdict import Alignment

Side = Literal["reading", "writing"]

ALIGNMENT_DRAWS = 100
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class ResidualFeatures:
    """Directions in the residual stream that components are compared with.

    Attributes:
        directions: of any norm, zero ones match nothing.
        names: what they are called.
        layer: where they were found.
        source: in words.
    """

    directions: AtomMatrix
    names: tuple[str, ...]
    layer: int
    source: str

    def __post_init__(self) -> None:
        if len(self.names) != len(self.directions) or not self.names:
            raise InputError(
                f"{len(self.names)} names for {len(self.directions)} features; give one each, and "
                "at least one."
            )


def align(
    examined: Examination,
    features: ResidualFeatures,
    side: Side,
    *,
    draws: int = ALIGNMENT_DRAWS,
    seed: int = 0,
) -> tuple[Alignment, Mapping[str, Sequence[FeatureMatch]]]:
    """Match the components of every method with features on one side of W.

    Args:
        examined: of ``examine``, of a matrix that leads from stream to stream.
        features: directions in the stream.
        side: whether they are compared with what components read or with what they write.
        draws: of the null.
        seed: of the null.

    Returns:
        The shares by method (for ICA of the stable components only, missing when there is none),
        and the best feature of every component by method.

    Raises:
        InputError: when the widths differ.
    """
    known = unit_atoms(features.directions.float())[0]
    mixed = _mixtures(known, draws, seed)
    matched: dict[str, float | None] = {}
    cosines: dict[str, float | None] = {}
    by_chance: dict[str, float | None] = {}
    sizes: dict[str, int] = {}
    best: dict[str, list[FeatureMatch]] = {}
    for method, made in examined.decompositions.items():
        own = made.reading() if side == "reading" else made.writing()
        if own.shape[1] != known.shape[1]:
            raise InputError(
                f"Components have {own.shape[1]} channels on the {side} side, features "
                f"{known.shape[1]}; both must lie in the residual stream."
            )
        alike = _alike(own, known, made.magnitudes)
        place = alike.argmax(dim=1)
        cosine = alike.max(dim=1).values.double().numpy()
        null = np.stack([_alike(own, one, made.magnitudes).max(dim=1).values for one in mixed])
        p_values = (1 + (null >= cosine).sum(axis=0)) / (1 + draws)
        counted = np.ones(len(own), dtype=bool)
        if method == "ica" and examined.stability is not None:
            counted = examined.stability.stable
        hits = discoveries([float(p) for p in p_values[counted]], LEVEL)
        matched[method] = float(np.mean(hits)) if len(hits) else None
        cosines[method] = float(cosine[counted].mean()) if len(hits) else None
        by_chance[method] = float(null[:, counted].mean()) if len(hits) else None
        sizes[method] = len(hits)
        signed = own @ known.T
        best[method] = [
            FeatureMatch(
                name=features.names[int(at)],
                index=int(at),
                layer=features.layer,
                cosine=float(cosine[i]) if made.magnitudes else float(signed[i, at]),
                p=float(p_values[i]),
            )
            for i, at in enumerate(place)
        ]
    found = Alignment(
        matched=matched,
        cosine=cosines,
        null_cosine=by_chance,
        components=sizes,
        features=len(known),
        source=features.source,
        side=side,
    )
    return found, best


def _mixtures(known: AtomMatrix, draws: int, seed: int) -> list[Float[Tensor, "features channels"]]:
    generator = torch.Generator().manual_seed(seed)
    n = len(known)
    return [random_frame(n, n, generator) @ known for _ in range(draws)]


def _alike(
    own: Float[Tensor, "_ channels"], known: Float[Tensor, "features channels"], magnitudes: bool
) -> Float[Tensor, "_ features"]:
    if magnitudes:
        return own.abs() @ unit_atoms(known.abs())[0].T
    return (own @ unit_atoms(known)[0].T).abs()
