"""The same dictionary with as many features active a row as another, to compare the two fairly."""

from collections.abc import Callable
from dataclasses import replace

import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.types import ActivationMatrix

_STEPS = 20
_NEAR = 0.02
"""Relative distance from the wanted number that is near enough."""


def active_a_row(dictionary: Dictionary, rows: ActivationMatrix) -> float:
    """Mean number of codes a row that are not 0 (L0)."""
    return float((dictionary.encode(rows) != 0).sum(dim=1).double().mean())


def at_equal_activity(dictionary: Dictionary, rows: ActivationMatrix, wanted: float) -> Dictionary:
    """The dictionary encoding so that a row has ``wanted`` active features on average.

    The atoms stay. What is changed is the L1 penalty of nonnegative least squares, the number a
    ``topk`` encoder keeps, or a threshold that an SAE's codes must pass; a threshold only makes
    codes sparser. Nonnegative least squares with a limit (``top_k``) and no penalty has another
    limit; with both, the limit is taken off, so that the penalty alone decides. Linear codes are
    never 0 and stay as they are: measure what comes back (``active_a_row``) and say so.

    Args:
        dictionary: of any method.
        rows: [rows channels] to choose on; training rows, some thousand are enough.
        wanted: mean number of active features a row, above 0.

    Returns:
        A dictionary whose provenance says under ``equal_activity`` what was asked for.

    Raises:
        InputError: when ``wanted`` is not above 0, or there is no row.
    """
    if not wanted > 0 or not len(rows):
        raise InputError(f"Equal activity needs rows and a number above 0; got {wanted!r}.")
    if dictionary.encoder == "linear":
        return dictionary
    provenance = {**dictionary.provenance, "equal_activity": wanted}
    dictionary = replace(dictionary, provenance=provenance)
    limited = dictionary.top_k is not None and dictionary.penalty == 0
    if dictionary.encoder == "topk" or limited:
        return replace(dictionary, top_k=min(max(1, round(wanted)), dictionary.n_features))
    if dictionary.encoder == "nnls":
        free = replace(dictionary, top_k=None)
        # A code is 0 in every row beyond the largest product of a row with an atom.
        largest = float((rows.to(free.atoms) @ free.atoms.T).abs().max())
        return _search(lambda penalty: replace(free, penalty=penalty), rows, wanted, largest)
    codes = dictionary.encode(rows)
    thresholds = (
        torch.zeros_like(codes[0]) if dictionary.threshold is None else dictionary.threshold
    )
    if float((codes != 0).sum(dim=1).double().mean()) <= wanted:
        return dictionary

    def thresholded(least: float) -> Dictionary:
        return replace(dictionary, encoder="jumprelu", threshold=thresholds.clamp_min(least))

    return _search(thresholded, rows, wanted, float(codes.max()))


def _search(
    at: Callable[[float], Dictionary], rows: ActivationMatrix, wanted: float, largest: float
) -> Dictionary:
    """Halve between 0 and ``largest``; the number of active features falls with the strength."""
    low, high = 0.0, largest
    best = at(0.0)
    nearest = abs(active_a_row(best, rows) - wanted)
    for _ in range(_STEPS):
        if nearest <= _NEAR * wanted:
            break
        # In logarithms where possible: useful strengths lie orders of magnitude below the largest.
        middle = (low * high) ** 0.5 if low > 0 else high / 4
        one = at(middle)
        found = active_a_row(one, rows)
        if abs(found - wanted) < nearest:
            best, nearest = one, abs(found - wanted)
        low, high = (middle, high) if found > wanted else (low, middle)
    return best
