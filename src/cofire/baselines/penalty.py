"""The L1 penalty that codes by nonnegative least squares get here, the same for every method."""

import numpy as np

_SHARE = 0.03  # as SemiNMF's default


def code_penalty(rows: np.ndarray) -> float:
    """0.03 of the median norm of the rows that are encoded, so that it means the same anywhere.

    It is SemiNMF's default: codes of different atoms then differ by the atoms only. It also makes
    them unique where atoms depend on one another, as centres of clusters do: seen from the mean
    row, their sum weighted by size is zero.

    Args:
        rows: [rows channels], after the offset was taken off.
    """
    return penalty_of_norms(np.linalg.norm(rows, axis=1))


def penalty_of_norms(norms: np.ndarray) -> float:
    """``code_penalty``, from the norms of the rows."""
    return float(_SHARE * np.median(norms))
