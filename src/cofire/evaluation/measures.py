"""Names to measures: what each figure is, its unit, which way is better, formula and source.

Adding a measure is a function that returns an ``Estimate`` and one entry here, or in another
package an entry point of the group ``cofire.measures`` that gives a ``Measure``.
"""

from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import entry_points

from cofire.errors import InputError
from cofire.evaluation.detection_measures import (
    concept_detection,
    detected_share,
    detection_auroc,
    detection_precision,
)
from cofire.evaluation.loss_recovered import loss_recovered
from cofire.evaluation.measurement import Measure
from cofire.evaluation.reconstruction import (
    active_features,
    dead_share,
    duplicate_share,
    unexplained_variance,
)
from cofire.evaluation.stability import stability_agreement, stability_excess

_SNMF = "Shafran, Geiger & Geva 2025, arXiv 2506.10920"
_LOSS = "Bricken et al. 2023, Towards Monosemanticity"

_BUILT_IN = (
    Measure(
        "concept-detection",
        concept_detection,
        "nats",
        "higher",
        "median over features of ln(ā activating / ā neutral), ā = mean over sentences of max over "
        "tokens; ±∞ where one mean only is above 0",
        _SNMF,
    ),
    Measure(
        "detected-share",
        detected_share,
        "share",
        "higher",
        "n(ā activating / ā neutral > 1) / n(features)",
        _SNMF,
    ),
    Measure(
        "detection-auroc",
        detection_auroc,
        "probability",
        "higher",
        "mean over features of P(activating sentence > neutral) + P(equal) / 2",
        "Hanley & McNeil 1982, Radiology 143:29",
    ),
    Measure(
        "detection-precision",
        detection_precision,
        "share",
        "higher",
        "mean over features of Σ (recall gained × precision) over thresholds",
        "scikit-learn average_precision_score",
    ),
    Measure(
        "stability",
        stability_agreement,
        "cosine",
        "higher",
        "mean over features and pairs of solutions of cos(atom, Hungarian partner)",
        "Kuhn 1955, Naval Res. Logist. Q. 2:83; SciPy linear_sum_assignment",
    ),
    Measure(
        "stability-excess",
        stability_excess,
        "cosine",
        "higher",
        "stability - stability against neuron-permuted atoms",
        "cofire",
    ),
    Measure(
        "unexplained-variance",
        unexplained_variance,
        "share",
        "lower",
        "Σ ‖x - x̂‖² / Σ ‖x - x̄‖²",
        "Gao et al. 2024, arXiv 2406.04093",
    ),
    Measure(
        "active-features",
        active_features,
        "features",
        "neither",
        "mean over rows of n(code ≠ 0)",
        "Cunningham et al. 2023, arXiv 2309.08600",
    ),
    Measure(
        "dead-share",
        dead_share,
        "share",
        "lower",
        "n(never active, or atom zero) / n(features)",
        "Gao et al. 2024, arXiv 2406.04093",
    ),
    Measure(
        "duplicate-share",
        duplicate_share,
        "share",
        "lower",
        "n(|cos| with another atom > 0.95) / n(features)",
        "cofire",
    ),
    Measure(
        "loss-recovered-mean",
        partial(loss_recovered, against="mean"),
        "share",
        "higher",
        "(CE mean-ablated - CE reconstructed) / (CE mean-ablated - CE clean)",
        _LOSS,
    ),
    Measure(
        "loss-recovered-zero",
        partial(loss_recovered, against="zero"),
        "share",
        "higher",
        "(CE zero-ablated - CE reconstructed) / (CE zero-ablated - CE clean)",
        _LOSS,
    ),
    Measure(
        "divergence-recovered-mean",
        partial(loss_recovered, against="mean"),
        "share",
        "higher",
        "1 - Σ KL(clean ‖ reconstructed) / Σ KL(clean ‖ mean-ablated)",
        _LOSS,
    ),
    Measure(
        "divergence-recovered-zero",
        partial(loss_recovered, against="zero"),
        "share",
        "higher",
        "1 - Σ KL(clean ‖ reconstructed) / Σ KL(clean ‖ zero-ablated)",
        _LOSS,
    ),
)


@cache
def measures() -> Mapping[str, Measure]:
    """All measures by name: the built-in ones, then those of installed plug-ins.

    Raises:
        InputError: when a plug-in takes a name that is in use.
    """
    found = {measure.name: measure for measure in _BUILT_IN}
    for point in entry_points(group="cofire.measures"):
        measure: Measure = point.load()
        if measure.name in found:
            raise InputError(
                f"The plug-in {point.value} offers a measure {measure.name!r}, but that name is "
                "taken; uninstall one of the two."
            )
        found[measure.name] = measure
    return found


def measure_named(name: str) -> Measure:
    """One measure.

    Raises:
        InputError: when there is none of this name.
    """
    known = measures()
    if name not in known:
        raise InputError(f"Unknown measure {name!r}; choose one of {', '.join(known)}.")
    return known[name]
