"""What one kind of evidence comes to, by stated limits: independent, non-negative, sparse, matched.

Every rule asks two things, that a figure is beyond its nulls and that it is large; in between it
says undecided. Limits were chosen on planted matrices of some seeds and tried on others
(``planted``, ``benchmarks/weights_planted.py``).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cofire.weights.evidence import Independence, Parts
from cofire.weights.nulls import AgainstNull

Answer: TypeAlias = Literal["yes", "no", "undecided"]

STABLE_YES, STABLE_NO = 0.5, 0.25
"""Share of the k components that are stable."""

NEGENTROPY_MARGIN = 0.25
"""Negentropy beyond the mean of the nearer null, as a share of it."""

DEPENDENT = 0.4
"""Excess of the energy correlation over shuffled samples, as a share of it."""

ALONE_Z = 2.0
"""Standard deviations below which nothing speaks for dependence."""

SHARE_YES, SHARE_NO = 0.45, 0.4
"""Share of the null's error on |W_k| that parts take away."""

LOW_RANK_YES, LOW_RANK_NO = 0.25, 0.05
"""Share of the error of random weights that SVD at k takes away."""

SPARSER = 0.1
"""How much sparser than the null's parts, as a share."""

MANY_YES, MANY_NO = 0.5, 0.25
"""Components for 90% of W, as a share of those of random weights."""

FEW = 0.25
"""Parts for 90% of |W|, as a share of the rank of W."""

ALIGNED_YES, ALIGNED_NO = 0.5, 0.25
"""Share of stable components, or of parts, that match a feature."""

BETTER_THAN_SVD = 0.1
"""How much larger that share must be than that of SVD's components."""


@dataclass(frozen=True)
class Finding:
    answer: Answer
    because: str
    more_than_svd: bool = False  # whether something beyond the nulls is there all the same


def independent_sources(found: Independence | None, n_components: int) -> Finding:
    """Stable sources, less Gaussian than either null's, that do not depend on one another."""
    if found is None:
        return Finding("undecided", "ICA was not run.")
    beyond = found.rotated.beyond and found.rescaled.beyond
    margin = min(found.rotated.excess, found.rescaled.excess)
    if not beyond or margin <= 0:
        return Finding(
            "no",
            "Sources are no less Gaussian than those of random directions with channels of the "
            "same size.",
        )
    share = found.n_stable / n_components
    more = margin >= NEGENTROPY_MARGIN
    if share < STABLE_NO:
        return Finding(
            "no",
            f"{found.n_stable} of {n_components} components are stable; fewer than "
            f"{STABLE_NO:.0%} is too few.",
            more,
        )
    if found.n_stable <= found.stable_by_chance:
        return Finding(
            "no",
            f"{found.n_stable} of {n_components} components are stable; random directions have up "
            f"to {found.stable_by_chance}.",
            more,
        )
    if found.dependence.beyond and found.dependence.excess >= DEPENDENT:
        return Finding(
            "no",
            f"Sources still depend on one another: energies correlate by "
            f"{found.dependence.value:.3f}, {found.dependence.mean:.3f} by chance.",
            more,
        )
    alone = found.dependence.z is None or found.dependence.z < ALONE_Z
    if more and share >= STABLE_YES and alone:
        return Finding(
            "yes", f"{found.n_stable} of {n_components} components are stable and independent."
        )
    return Finding(
        "undecided",
        f"{found.n_stable} of {n_components} components are stable, their negentropy "
        f"{margin:.0%} beyond the nearer null.",
        more,
    )


def nonnegative_parts(found: Parts | None) -> Finding:
    """Magnitudes of the best rank-k part of W, far nearer to k parts than either null's."""
    if found is None:
        return Finding("undecided", "NMF was not run.")
    share = min(found.fit_rotated.excess, found.fit_rescaled.excess)
    if share < 0:
        said = (
            f"Parts leave {-share:.0%} more error than those of random matrices with channels of "
            "the same size"
        )
    else:
        said = (
            f"Parts take {share:.0%} off the error of those of random matrices with channels of "
            "the same size"
        )
    if not (found.fit_rotated.beyond and found.fit_rescaled.beyond) or share < SHARE_NO:
        return Finding("no", f"{said}; a clear case takes {SHARE_YES:.0%} off.")
    return Finding("yes" if share >= SHARE_YES else "undecided", f"{said}.")


def sparse_parts(found: Parts) -> Finding:
    """Sparser than the parts of either null's matrices, surely and by a margin."""
    nearer = nearer_sparsity(found)
    beyond = found.sparsity_rotated.beyond and found.sparsity_rescaled.beyond
    large = nearer.excess >= SPARSER
    because = (
        f"Parts are {abs(nearer.excess):.0%} {'sparser' if nearer.excess >= 0 else 'less sparse'} "
        f"than those of {nearer.null} matrices, the nearer null; that is "
        f"{'beyond' if beyond else 'not beyond'} both nulls, and {SPARSER:.0%} would be clear."
    )
    if beyond and large:
        return Finding("yes", because)
    return Finding("undecided" if beyond or large else "no", because)


def nearer_sparsity(found: Parts) -> AgainstNull:
    return min(found.sparsity_rotated, found.sparsity_rescaled, key=lambda held: held.excess)


def matching_share(share: float, what: str) -> Finding:
    answer: Answer = "undecided"
    if share >= ALIGNED_YES:
        answer = "yes"
    elif share < ALIGNED_NO:
        answer = "no"
    return Finding(answer, f"{share:.0%} of the {what}.")
