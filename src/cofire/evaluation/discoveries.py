"""How many of several tests are true findings, and not the luck of having tried many."""

from collections.abc import Sequence


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
