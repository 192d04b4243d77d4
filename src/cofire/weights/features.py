"""Which features of the residual stream a component reads, and which it writes.

A feature is an atom of a dictionary in the stream: one trained there, a public SAE, or features of
MLP neurons carried there (``cofire.interpret.carrying``). A component is read against features that
lie in the stream before its head, and written against those after it. It matches the feature with
the largest cosine; either sign counts, as r wᵀ = (−r)(−w)ᵀ.

Chance, for the largest cosine, is two nulls of which the larger p-value counts: random directions
of the whole stream (what rotating the component at random gives), and random directions of the
head's own subspace, weighted by its spectrum (what another basis of the same head gives).
p-values are corrected for the number of components.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.discoveries import Correction, corrected_p_values
from cofire.low_rank import LowRankMatrix
from cofire.matching import match_atoms
from cofire.types import AtomMatrix, Float, Tensor
from cofire.weights.nulls import AgainstNull, against, random_frame
from cofire.weights.operations import random_components

Side: TypeAlias = Literal["reading", "writing"]

_IN_STREAM = ("resid_pre", "resid_post", "mlp_out")
_SET_DRAWS = 20


@dataclass(frozen=True)
class FeatureMatch:
    """The feature that a component is most like.

    Attributes:
        feature: its number in the dictionary; None for a component of zeros.
        cosine: with its sign; None likewise.
        p: that a random direction is as near to some feature, the larger of the two nulls.
        p_stream, p_subspace: of either null.
        corrected_p: p for the number of components.
    """

    feature: int | None
    cosine: float | None
    p: float | None
    p_stream: float | None
    p_subspace: float | None
    corrected_p: float | None


@dataclass(frozen=True)
class FeatureMatches:
    """All components of a head against all features of a dictionary, on one side.

    Attributes:
        side: which side of the components.
        features: number of features.
        matches: one a component.
        typical: median largest cosine of random directions in the head's subspace.
        together: mean cosine of components and features matched one to one (Hungarian), beside
            the components turned as a whole at random.
    """

    side: Side
    features: int
    matches: tuple[FeatureMatch, ...]
    typical: float
    together: AgainstNull


def match_features(
    components: LowRankMatrix,
    dictionary: Dictionary,
    side: Side,
    *,
    head: LowRankMatrix | None = None,
    draws: int = 1000,
    correction: Correction = "holm",
    seed: int = 0,
) -> FeatureMatches:
    """The features that components of one head read or write.

    Args:
        components: component j is column j of ``left`` and row j of ``right``, norms folded.
        dictionary: with atoms in the residual stream; for ``reading`` of a layer before the head,
            for ``writing`` of its own or a later one.
        side: which side of the components.
        head: the matrix they are parts of, for the null of its subspace; their sum when None.
        draws: random directions of each null.
        correction: ``holm`` or ``benjamini-hochberg``.
        seed: of the draws.

    Raises:
        InputError: when the dictionary is not in the stream or of another width, or for fewer
            than 100 draws.
    """
    if dictionary.site.kind not in _IN_STREAM:
        raise InputError(
            f"The dictionary is at {dictionary.site}, not in the residual stream; "
            "carry MLP features there with carry_to_residual."
        )
    if draws < 100:
        raise InputError(f"The null needs at least 100 draws; got {draws}.")
    own = _directions(components, side)
    if own.shape[1] != dictionary.atoms.shape[1]:
        raise InputError(
            f"Components have {own.shape[1]} channels and features {dictionary.atoms.shape[1]}; "
            "use a dictionary of the same model."
        )
    atoms = unit_atoms(dictionary.atoms.float().cpu())[0]
    nulls = [
        nearest(_directions(random, side), atoms)[1].abs()
        for random in random_components(components if head is None else head, draws, seed=seed)
    ]
    number, cosine = nearest(own, atoms)
    there = own.norm(dim=1) > 0
    tails = [
        [
            (1 + int((null >= size).sum())) / (1 + draws) if here else None
            for size, here in zip(cosine.abs().tolist(), there.tolist(), strict=True)
        ]
        for null in nulls
    ]
    larger = [None if p is None or q is None else max(p, q) for p, q in zip(*tails, strict=True)]
    corrected = corrected_p_values(larger, correction)
    matches = tuple(
        FeatureMatch(
            feature=int(number[j]) if there[j] else None,
            cosine=float(cosine[j]) if there[j] else None,
            p=larger[j],
            p_stream=tails[0][j],
            p_subspace=tails[1][j],
            corrected_p=corrected[j],
        )
        for j in range(len(own))
    )
    return FeatureMatches(
        side=side,
        features=len(atoms),
        matches=matches,
        typical=float(nulls[1].median()),
        together=_together(own[there], atoms, seed),
    )


def nearest(
    directions: AtomMatrix, atoms: Float[Tensor, "_ channels"]
) -> tuple[Tensor, Float[Tensor, "features"]]:
    """Number of the unit atom with the largest |cosine| to each direction, and that cosine."""
    unit = unit_atoms(directions.float().cpu())[0]
    cosines = torch.cat([part @ atoms.T for part in unit.split(256)]) if len(atoms) else unit[:, :0]
    best = cosines.abs().argmax(dim=1)
    return best, cosines.gather(1, best[:, None])[:, 0]


def _directions(components: LowRankMatrix, side: Side) -> AtomMatrix:
    return (components.left.T if side == "reading" else components.right).float().cpu()


def _together(directions: AtomMatrix, atoms: Float[Tensor, "_ channels"], seed: int) -> AgainstNull:
    """Mean matched cosine, beside the same directions turned together."""
    generator = torch.Generator().manual_seed(seed)
    width = directions.shape[1]

    def mean(turned: Tensor) -> float:
        found = match_atoms(turned, atoms, either_sign=True).cosine
        return float(np.nanmean(found)) if len(found) else 0.0

    q, r = torch.linalg.qr(directions.T)  # turning the frame q turns all directions alike
    drawn = [mean((random_frame(width, q.shape[1], generator) @ r).T) for _ in range(_SET_DRAWS)]
    return against(mean(directions), drawn, null="rotated")
