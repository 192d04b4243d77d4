"""How many of several tests are true findings, and not the luck of having tried many."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from cofire.errors import InputError

Correction: TypeAlias = Literal["holm", "benjamini-hochberg"]


def discoveries(p_values: Sequence[float | None], rate: float) -> list[bool]:
    """Which tests are findings when at most ``rate`` of the findings may be false, on average.

    With m p-values sorted as p₁ ≤ … ≤ pₘ, the findings are those up to the largest i with
    pᵢ ≤ rate · i / m (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289, procedure 1). The
    expected share of false ones among them is at most the rate where the tests are independent or
    depend positively on one another.

    Args:
        p_values: one a test; None where there was no test, which is no finding and is not counted
            among the m.
        rate: false discovery rate, 0 to 1.

    Example:
        Of three tests at 5% the limits are 0.0167, 0.0333 and 0.05.

        >>> discoveries([0.04, 0.02, None, 0.2], 0.05)
        [False, False, False, False]
        >>> discoveries([0.04, 0.03, None, 0.01], 0.05)
        [True, True, False, True]
    """
    tried = sorted(p for p in p_values if p is not None)
    limits = [rate * rank / len(tried) for rank in range(1, len(tried) + 1)]
    passed = [p for p, limit in zip(tried, limits, strict=True) if p <= limit]
    return [p is not None and bool(passed) and p <= passed[-1] for p in p_values]


def corrected_p_values(
    p_values: Sequence[float | None], method: Correction = "holm"
) -> list[float | None]:
    """p-values made larger for the number of tests, so that each can be compared with the level.

    With m p-values sorted as p₁ ≤ … ≤ pₘ:

    ==================  ==========================================================================
    holm                max over j ≤ i of min(1, (m - j + 1) pⱼ): below α, at most a share α of
                        such studies holds any false finding (Holm 1979, Scand. J. Statist. 6:65)
    benjamini-hochberg  min over j ≥ i of min(1, m pⱼ / j): below q, at most a share q of the
                        findings is false on average; the findings are those of ``discoveries``
    ==================  ==========================================================================

    Args:
        p_values: one a test; None where there was no test, which stays None and is not counted.
        method: ``holm`` for few tests of which none may be false, ``benjamini-hochberg`` for many.

    Raises:
        InputError: for a p-value outside 0 to 1, or an unknown method.

    Example:
        >>> corrected_p_values([0.01, None, 0.04, 0.02])
        [0.03, None, 0.04, 0.04]
        >>> [p and round(p, 3) for p in
        ...  corrected_p_values([0.01, None, 0.04, 0.02], "benjamini-hochberg")]
        [0.03, None, 0.04, 0.03]
    """
    if method not in ("holm", "benjamini-hochberg"):
        raise InputError(f"Unknown correction {method!r}; use holm or benjamini-hochberg.")
    tried = [(p, place) for place, p in enumerate(p_values) if p is not None]
    wrong = next((p for p, _ in tried if not 0 <= p <= 1), None)
    if wrong is not None:
        raise InputError(f"p-values lie between 0 and 1; got {wrong}.")
    corrected: list[float | None] = [None] * len(p_values)
    m = len(tried)
    ranked = list(enumerate(sorted(tried), start=1))
    if method == "holm":
        largest = 0.0
        for rank, (p, place) in ranked:
            largest = max(largest, min(1.0, (m - rank + 1) * p))
            corrected[place] = largest
    else:
        smallest = 1.0
        for rank, (p, place) in reversed(ranked):
            smallest = min(smallest, m * p / rank)
            corrected[place] = smallest
    return corrected
