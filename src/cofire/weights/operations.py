"""Copy, suppress or transform: what components and heads do to tokens, by a stated rule.

Over the tokens t of the vocabulary a component r wᵀ reads r · e_t and writes u_t · w; their
correlation ρ is 1 where every token raises itself in proportion, −1 where it lowers itself:

==========  ==================================================================================
copy        ρ > 0 beyond chance
suppress    ρ < 0 beyond chance
transform   ρ no farther from 0 than chance: what is written is unlike what is read
==========  ==================================================================================

Chance is two nulls, of which the one with the larger p-value counts: random directions of the
whole stream, and random directions of the head's own subspaces, weighted by its spectrum. p-values
are corrected for the number of components (Benjamini & Hochberg). The rule follows the eigenvalue
test of Elhage et al. 2021 (A Mathematical Framework for Transformer Circuits), one component at a
time: the one eigenvalue of a rank-one circuit is the sum over tokens of which ρ is the centred and
normalised form.

ρ says nothing of what other layers make of it, nor whether the model uses it: see
``cofire.weights.ablation``.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from cofire.errors import InputError
from cofire.evaluation.discoveries import corrected_p_values
from cofire.low_rank import LowRankMatrix
from cofire.types import Float, Tensor
from cofire.weights.measures import copying_score
from cofire.weights.nulls import AgainstNull, against, random_frame
from cofire.weights.tokens import TokenStatistics

OperationKind: TypeAlias = Literal["copy", "suppress", "transform"]

DRAWS = 2000
"""Pairs of random directions of each null: the smallest p-value is then 1/2001."""

LEVEL = 0.05
"""Share of false ones allowed among the components called copy or suppress."""


@dataclass(frozen=True)
class Operation:
    """What one component does to tokens.

    Attributes:
        kind: by the rule above; None where the component is zero on a side.
        correlation: ρ, −1 to 1; None likewise.
        margin: |ρ| less the size that 1 − ``LEVEL`` of random pairs stay below, in the null where
            that is larger; below 0 where chance explains ρ. None likewise.
        p: two-sided, of the null with the larger one.
        corrected_p: p for the number of components.
    """

    kind: OperationKind | None
    correlation: float | None
    margin: float | None
    p: float | None
    corrected_p: float | None


def token_correlations(
    components: LowRankMatrix, statistics: TokenStatistics
) -> Float[Tensor, "features"]:
    """ρ of every component; NaN where one reads or writes nothing.

    Args:
        components: component j is column j of ``left`` and row j of ``right``.
        statistics: of the model's tokens.

    Raises:
        InputError: when the components are of another width.
    """
    width = len(statistics.read_mean)
    if components.shape != (width, width):
        raise InputError(
            f"Components are {components.shape[0]} × {components.shape[1]}; the token statistics "
            f"are of a stream of {width} channels."
        )
    read = components.left.to(statistics.read).double()
    write = components.right.to(statistics.read).T.double()
    together = (write * (statistics.across.double() @ read)).sum(dim=0)
    read_variance = (read * (statistics.read.double() @ read)).sum(dim=0)
    write_variance = (write * (statistics.write.double() @ write)).sum(dim=0)
    length = (read_variance.clamp_min(0) * write_variance.clamp_min(0)).sqrt()
    return (together / length).where(length > 0, torch.nan).float().cpu()


def operations(
    components: LowRankMatrix,
    statistics: TokenStatistics,
    *,
    head: LowRankMatrix | None = None,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[Operation, ...]:
    """Class, correlation and margin of every component of one head.

    Args:
        components: component j is column j of ``left`` and row j of ``right``.
        statistics: of the model's tokens, by ``TokenReader.statistics``.
        head: the matrix that the components are parts of, for the null of its subspaces; the sum
            of the components when None.
        draws: random pairs of each null.
        level: share of false ones allowed among those called copy or suppress.
        seed: of the draws.

    Raises:
        InputError: for fewer than 100 draws, a level outside 0 to 1, or a wrong width.
    """
    if draws < 100 or not 0 < level < 1:
        raise InputError(
            f"The null needs at least 100 draws and a level between 0 and 1; got {draws}, {level}."
        )
    found = token_correlations(components, statistics).numpy()
    drawn = [
        np.abs(token_correlations(pairs, statistics).numpy())
        for pairs in random_components(components if head is None else head, draws, seed=seed)
    ]
    sizes = [size for size in drawn if np.isfinite(size).all()]  # a head of zeros has no subspace
    limit = max(float(np.quantile(size, 1 - level)) for size in sizes)
    p_values: list[float | None] = []
    for rho in found:
        hits = [int((size >= abs(rho)).sum()) for size in sizes]
        p_values.append(None if np.isnan(rho) else (1 + max(hits)) / (1 + draws))
    corrected = corrected_p_values(p_values, "benjamini-hochberg")
    return tuple(
        Operation(None, None, None, None, None)
        if p is None or q is None
        else Operation(
            kind="transform" if q > level else "copy" if rho > 0 else "suppress",
            correlation=float(rho),
            margin=float(abs(rho)) - limit,
            p=p,
            corrected_p=q,
        )
        for rho, p, q in zip(found, p_values, corrected, strict=True)
    )


def random_components(
    head: LowRankMatrix, n: int, *, seed: int
) -> tuple[LowRankMatrix, LowRankMatrix]:
    """Random components: of the whole stream, and of the head's subspaces with its spectrum.

    Of the second kind a reading direction is Σ σᵢ gᵢ uᵢ with Gaussian gᵢ, over the left singular
    vectors uᵢ, and a writing direction likewise over the right ones, drawn independently.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, columns = head.shape
    u, sigma, vh = head.svd()
    left = torch.randn(rows, n, generator=generator)
    right = torch.randn(n, columns, generator=generator)
    reads = torch.randn(len(sigma), n, generator=generator)
    writes = torch.randn(n, len(sigma), generator=generator)
    scaled = sigma.cpu().float()
    own = LowRankMatrix(
        u.cpu().float() @ (scaled[:, None] * reads), (writes * scaled) @ vh.cpu().float()
    )
    return LowRankMatrix(left, right), own


class CopyingNull:
    """Copying scores of heads by eigenvalues, beside random rotations of their spectra.

    A rotated head U Σ Vᵀ has the eigenvalues of Σ (Vᵀ G U). What is in brackets does not depend on
    the head, so it is drawn once and serves every head of the model.

    Args:
        statistics: of the model's tokens.
        rank: width of a head.
        draws: rotations, at least two.
        seed: of the rotations.
    """

    def __init__(
        self, statistics: TokenStatistics, rank: int, *, draws: int = 20, seed: int = 0
    ) -> None:
        self._gram = statistics.gram.cpu()
        width = len(self._gram)
        generator = torch.Generator().manual_seed(seed)
        self._cores = []
        for _ in range(draws):
            read = random_frame(width, min(rank, width), generator)
            write = random_frame(width, min(rank, width), generator)
            self._cores.append(write.T @ (self._gram @ read))

    def beside(
        self, matrix: LowRankMatrix, *, tail: Literal["above", "below"] = "above"
    ) -> AgainstNull:
        """The copying score of W_OV and its null.

        Args:
            matrix: W_OV, from stream to stream, of the rank that the null was made for.
            tail: ``above`` asks whether the head copies, ``below`` whether it suppresses.
        """
        own = LowRankMatrix(matrix.left.cpu().float(), matrix.right.cpu().float())
        sigma = own.singular_values()
        null = []
        for core in self._cores:
            if len(core) != len(sigma):
                raise InputError(
                    f"The null is of rank {len(core)} and the matrix of rank {len(sigma)}; make "
                    "one for each width of head."
                )
            null.append(copying_score(LowRankMatrix(core, torch.diag(sigma))))
        return against(copying_score(own, self._gram), null, null="rotated", tail=tail)


def composition(writer: LowRankMatrix, reader: LowRankMatrix) -> float:
    """How much of what one matrix writes another reads: ‖A B‖ / (‖A‖ ‖B‖), Frobenius norms.

    From 0 to 1 (Elhage et al. 2021, the composition of attention heads). Random matrices of width
    d score about 1/√d.

    Args:
        writer: A, W_OV of an earlier head.
        reader: B, whose rows read: W_OV of a later head for V-composition, W_QK for
            Q-composition, its transpose for K-composition.

    Example:
        >>> a = LowRankMatrix(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0, 1.0]]))
        >>> composition(a, a), composition(a, a.transposed)
        (0.0, 1.0)
    """
    if writer.shape[1] != reader.shape[0]:
        raise InputError(
            f"What writes {writer.shape[1]} channels cannot be read through {reader.shape[0]}."
        )
    through = LowRankMatrix(writer.left, (writer.right @ reader.left) @ reader.right)
    sizes = [float(m.singular_values().norm()) for m in (through, writer, reader)]
    return sizes[0] / (sizes[1] * sizes[2]) if min(sizes[1:]) > 0 else 0.0


def matching_score(
    scores: LowRankMatrix, mover: LowRankMatrix, statistics: TokenStatistics
) -> float:
    """Whether a head looks for tokens after its own: Σ Re λ / Σ |λ| of the QK circuit.

    The circuit scores query token q against a key token whose stream holds what an earlier head
    moved there from token k: e_q W_QK (e_k W_OV)ᵀ. Eigenvalues above 0 mean that it looks where
    the earlier head moved the query's own token to, as an induction head does behind a
    previous-token head (Elhage et al. 2021, "Detecting induction heads").

    Args:
        scores: W_QK of the later head, query side in.
        mover: W_OV of the earlier head.
        statistics: of the model's tokens.
    """
    circuit = LowRankMatrix(scores.left, (scores.right @ mover.right.T) @ mover.left.T)
    gram = statistics.read + torch.outer(statistics.read_mean, statistics.read_mean)
    return copying_score(circuit, gram)
