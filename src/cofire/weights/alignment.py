"""Do components of weights lie along features that were found without the weights?

Each component is matched with the feature of largest |cosine| (``features.match_features``), held
against random directions of the stream and of the head's own subspace. A high cosine can still be
no finding: features share a few outlier channels and a common subspace, and so do components. A
third null keeps both exactly. It mixes the features among themselves by a random orthonormal
matrix, F' = R F with F'ᵀF' = FᵀF, so that only the single features are lost. The largest of the
three p-values counts, and a component matches when it stands after correction for the number of
components (Benjamini & Hochberg at 5%).

For parts of |W| the magnitudes of the features are compared, mixed before the signs are dropped,
and that null alone is held against them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.discoveries import discoveries
from cofire.types import AtomMatrix
from cofire.weights.decompositions import Decomposition
from cofire.weights.examination import Examination
from cofire.weights.features import Side, match_features, nearest
from cofire.weights.head_record import NamedMatch
from cofire.weights.nulls import random_frame
from cofire.weights.verdict import Alignment

ALIGNMENT_DRAWS = 100
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class ResidualFeatures:
    """Directions in the residual stream that components are compared with.

    Attributes:
        dictionary: with atoms in the stream.
        names: what they are called.
        source: in words.
    """

    dictionary: Dictionary
    names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if len(self.names) != self.dictionary.n_features or not self.names:
            raise InputError(
                f"{len(self.names)} names for {self.dictionary.n_features} features; give one "
                "each, and at least one."
            )


def align(
    examined: Examination,
    features: ResidualFeatures,
    side: Side,
    *,
    draws: int = ALIGNMENT_DRAWS,
    seed: int = 0,
) -> tuple[Alignment, Mapping[str, Sequence[NamedMatch]]]:
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
        InputError: when the features are not in the stream or of another width.
    """
    atoms = unit_atoms(features.dictionary.atoms.float().cpu())[0]
    mixed = _mixtures(atoms, draws, seed)
    matched: dict[str, float | None] = {}
    cosines: dict[str, float | None] = {}
    by_chance: dict[str, float | None] = {}
    sizes: dict[str, int] = {}
    best: dict[str, list[NamedMatch]] = {}
    for method, made in examined.decompositions.items():
        number, cosine, p_values, null = _matches(made, features.dictionary, atoms, mixed, side)
        counted = np.ones(len(cosine), dtype=bool)
        if method == "ica" and examined.stability is not None:
            counted = examined.stability.stable
        hits = discoveries([float(p) for p in p_values[counted]], LEVEL)
        matched[method] = float(np.mean(hits)) if hits else None
        cosines[method] = float(np.abs(cosine[counted]).mean()) if hits else None
        by_chance[method] = float(null[:, counted].mean()) if hits else None
        sizes[method] = len(hits)
        best[method] = [
            NamedMatch(
                name=features.names[int(at)],
                index=int(at),
                layer=features.dictionary.site.layer,
                cosine=float(cosine[i]),
                p=float(p_values[i]),
            )
            for i, at in enumerate(number)
        ]
    found = Alignment(
        matched=matched,
        cosine=cosines,
        null_cosine=by_chance,
        components=sizes,
        features=len(atoms),
        source=features.source,
        side=side,
    )
    return found, best


def _matches(
    made: Decomposition,
    dictionary: Dictionary,
    atoms: AtomMatrix,
    mixed: Sequence[AtomMatrix],
    side: Side,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number and cosine of each component's best feature, its p-value, and the null's cosines."""
    own = made.reading() if side == "reading" else made.writing()
    if own.shape[1] != dictionary.n_channels:
        raise InputError(
            f"Components have {own.shape[1]} channels on the {side} side, features "
            f"{dictionary.n_channels}; both must lie in the residual stream of one model."
        )
    if made.magnitudes:
        atoms = unit_atoms(atoms.abs())[0]
        mixed = [unit_atoms(one.abs())[0] for one in mixed]
    number, cosine = nearest(own, atoms)
    size = cosine.abs().numpy()
    null = np.stack([nearest(own, unit_atoms(one)[0])[1].abs().numpy() for one in mixed])
    p_values = (1 + (null >= size).sum(axis=0)) / (1 + len(mixed))
    if not made.magnitudes:
        known = match_features(made.reconstruction(), dictionary, side)
        others = [1.0 if one.p is None else one.p for one in known.matches]
        p_values = np.maximum(p_values, others)
    return number.numpy(), cosine.numpy(), p_values, null


def _mixtures(known: AtomMatrix, draws: int, seed: int) -> list[AtomMatrix]:
    generator = torch.Generator().manual_seed(seed)
    n = len(known)
    return [random_frame(n, n, generator) @ known for _ in range(draws)]
