"""Methods of a comparison against its reference: paired tests, corrected for how many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cofire.evaluation.bootstrap import RESAMPLES
from cofire.evaluation.comparisons import Comparison, Pairing, compare
from cofire.evaluation.discoveries import Correction, corrected_p_values
from cofire.evaluation.grid import GridCell
from cofire.evaluation.grid_figures import (
    CellRecord,
    concept_values,
    feature_values,
    steered_values,
    written_values,
)

COMPARED: Mapping[tuple[str, str | None], Pairing] = {
    ("concept-auroc", "cosine"): "shared",
    ("concept-auroc", "codes"): "shared",
    ("concept-order", "cosine"): "shared",
    ("concept-detection", "cosine"): "rank",
    ("detection-auroc", "codes"): "rank",
    ("written-detection", "cosine"): "rank",
    ("steering-score", None): "rank",
    ("steering-gain", None): "rank",
    ("steering-best", None): "rank",
    ("steering-shift", None): "rank",
    ("steering-efficiency", None): "rank",
}
"""What is tested, by measure and score. Concepts are shared by methods and paired, seeds averaged
first. Features are not shared and are compared by rank; those of the first seed only, since other
seeds find the same features again and are no further evidence."""

_COLUMNS = {"concept-detection": "order", "detection-auroc": "auroc"}
_CONCEPT_COLUMNS = {"concept-auroc": "auroc", "concept-order": "order"}


@dataclass(frozen=True)
class GridComparison:
    """One group of cells against its reference, on one measure.

    Attributes:
        measure: what was compared.
        score: ``cosine`` or ``codes``, where it was by one of them.
        reference: the group that is compared with.
        other: the group that it is compared with.
        comparison: the test; first is the reference.
    """

    measure: str
    score: str | None
    reference: GridCell
    other: GridCell
    comparison: Comparison


def compare_groups(
    groups: Mapping[GridCell, Sequence[CellRecord]],
    reference: str,
    *,
    correction: Correction = "holm",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[GridComparison]:
    """Compare every group with the reference of its layer, measure by measure.

    The reference of a group is the reference method with the same k and sparsity where there is
    one, else the first of that method; other settings of the reference method are compared with
    its first. All tests of one measure and score, over layers too, are corrected together.

    Args:
        groups: cells by method and setting.
        reference: the method, with its settings, that others are compared with.
        correction: see ``corrected_p_values``.
        resamples, seed: of intervals.
    """
    found: list[GridComparison] = []
    for (measure, score), pairing in COMPARED.items():
        tested = []
        for group in groups:
            against = _reference_of(group, list(groups), reference)
            if against is None:
                continue
            first, second = _values(groups[against], groups[group], measure, score)
            if not len(first) or not len(second):
                continue
            one = compare(
                first,
                second,
                names=(against.variant, group.variant),
                pairing=pairing,
                resamples=resamples,
                seed=seed,
            )
            tested.append(GridComparison(measure, score, against, group, one))
        corrected = corrected_p_values([one.comparison.p_value for one in tested], correction)
        found += [
            replace(one, comparison=replace(one.comparison, corrected_p_value=p))
            for one, p in zip(tested, corrected, strict=True)
        ]
    return found


def _reference_of(group: GridCell, groups: Sequence[GridCell], reference: str) -> GridCell | None:
    """The group that one is compared with; None for the reference itself."""
    own = [g for g in groups if g.variant == reference and g.site == group.site]
    if not own or group == own[0]:
        return None
    if group.variant == reference:
        return own[0]
    like = [
        g
        for g in own
        if group.n_components in (None, g.n_components) and group.sparsity in (None, g.sparsity)
    ]
    return (like or own)[0]


def _values(
    first: Sequence[CellRecord], second: Sequence[CellRecord], measure: str, score: str | None
) -> tuple[np.ndarray, np.ndarray]:
    if measure in _CONCEPT_COLUMNS and score is not None:
        one = concept_values(first, score, _CONCEPT_COLUMNS[measure])
        other = concept_values(second, score, _CONCEPT_COLUMNS[measure])
        names = [name for name in one if name in other]
        return np.array([one[n] for n in names]), np.array([other[n] for n in names])
    if measure == "written-detection":
        column = f"{score}_order"
        return written_values(first[:1], column)[0], written_values(second[:1], column)[0]
    if score is not None:
        column = f"{score}_{_COLUMNS[measure]}"
        return feature_values(first[:1], column)[0], feature_values(second[:1], column)[0]
    return steered_values(first[:1], measure), steered_values(second[:1], measure)
