"""The measures of a feature that lists are sorted and filtered by."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cofire.errors import InputError
from cofire.interpret.reading import Feature
from cofire.types import Bool, Float

_COMPARED = r"(<=|>=|<|>|=)(-?[0-9]{1,18}(\.[0-9]{1,18})?(e-?[0-9]{1,3})?)"
_CONDITION = re.compile(f"([a-z_]{{1,40}}){_COMPARED}")
_COMPARISONS: Mapping[str, Callable[..., np.ndarray]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(frozen=True)
class FeatureMeasure:
    """One figure of a feature.

    Attributes:
        name: in addresses.
        title: on pages.
        unit: None for a plain number.
        description: what it says, in one sentence.
        of: the figure of a feature, None when it could not be measured.
    """

    name: str
    title: str
    unit: str | None
    description: str
    of: Callable[[Feature], float | int | None]


MEASURES: tuple[FeatureMeasure, ...] = (
    FeatureMeasure("feature", "Number", None, "Its row among the atoms.", lambda f: f.index),
    FeatureMeasure(
        "auroc",
        "Held-out AUROC",
        None,
        "How well it tells held-out texts of its best concept from the others.",
        lambda f: None if f.concept is None else f.concept.auroc,
    ),
    FeatureMeasure(
        "auroc_train",
        "Training AUROC",
        None,
        "The same on training texts, on which the concept was chosen.",
        lambda f: None if f.concept is None else f.concept.auroc_train,
    ),
    FeatureMeasure(
        "p_value",
        "p",
        None,
        "One-sided p-value of the held-out AUROC.",
        lambda f: None if f.concept is None else f.concept.p_value,
    ),
    FeatureMeasure(
        "precision",
        "Precision",
        "share",
        "Share of its strong firings that are in texts of the concept.",
        lambda f: None if f.concept is None else f.concept.precision,
    ),
    FeatureMeasure(
        "density",
        "Density",
        "share",
        "Share of training rows it is active on.",
        lambda f: f.density,
    ),
    FeatureMeasure("max_code", "Largest code", None, "On the training rows.", lambda f: f.max_code),
    FeatureMeasure(
        "firings",
        "Strong firings",
        "tokens",
        "Training rows with a code of at least half the largest.",
        lambda f: sum(count for _, count in f.firing_types),
    ),
    FeatureMeasure(
        "types",
        "Token types",
        None,
        "Different token types among the strong firings.",
        lambda f: len(f.firing_types),
    ),
    FeatureMeasure("neurons", "Neurons", None, "Neurons of the group.", lambda f: len(f.neurons)),
    FeatureMeasure(
        "negative",
        "Negative neurons",
        "share",
        "Share of its neurons with a negative weight.",
        lambda f: sum(w < 0 for _, w in f.neurons) / len(f.neurons) if f.neurons else None,
    ),
    FeatureMeasure(
        "nearest_cosine",
        "Nearest |cos|",
        None,
        "Absolute cosine to the most similar atom.",
        lambda f: f.nearest_cosine,
    ),
)

NAMES: tuple[str, ...] = tuple(measure.name for measure in MEASURES)

CONDITION_PATTERN = f"^({'|'.join(NAMES)}){_COMPARED}$"
"""What a condition looks like, for the OpenAPI document."""


def measured(features: Sequence[Feature]) -> dict[str, Float[np.ndarray, "features"]]:
    """Every measure of every feature; NaN where there is none."""
    return {
        measure.name: np.array(
            [np.nan if (value := measure.of(feature)) is None else value for feature in features],
            dtype=float,
        )
        for measure in MEASURES
    }


def passing(
    figures: Mapping[str, Float[np.ndarray, "features"]], condition: str
) -> Bool[np.ndarray, "features"]:
    """Which features fulfil a condition such as ``auroc>=0.8``; a missing figure does not.

    Raises:
        InputError: when it is no such condition, or names no measure.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise InputError("A condition is a measure, a comparison and a number, such as auroc>=0.8.")
    name, comparison, number = match.groups()[:3]
    if name not in figures:
        raise InputError(f"There is no measure {name!r}; choose one of {', '.join(NAMES)}.")
    with np.errstate(invalid="ignore"):
        found: np.ndarray = _COMPARISONS[comparison](figures[name], float(number))
    return found


def ordered(values: Float[np.ndarray, "values"], *, descending: bool) -> np.ndarray:
    """Places in order of the values, equal ones as they came; missing ones last."""
    keys = -values if descending else values
    return np.lexsort((np.arange(len(values)), np.nan_to_num(keys), np.isnan(values)))
