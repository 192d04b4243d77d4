"""What is reported of every dictionary of a comparison: names, units, and which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass

from cofire.evaluation.measurement import Direction


@dataclass(frozen=True)
class GridMeasure:
    """One figure of a comparison.

    Attributes:
        title: a short name for tables and charts.
        unit: of its values.
        direction: which values are better.
        words: what it is, in one sentence.
    """

    title: str
    unit: str
    direction: Direction
    words: str


GRID_MEASURES: Mapping[str, GridMeasure] = {
    "unexplained-variance": GridMeasure(
        "FVU",
        "share",
        "lower",
        "Fraction of the variance of held-out rows that the reconstruction leaves unexplained.",
    ),
    "active-features": GridMeasure(
        "L0", "features", "neither", "Codes that are not 0, a held-out row."
    ),
    "unexplained-variance-equal": GridMeasure(
        "FVU at equal L0",
        "share",
        "lower",
        "The same when every method encodes with as many active features a row.",
    ),
    "active-features-equal": GridMeasure(
        "L0 then", "features", "neither", "Active features a held-out row when made equal."
    ),
    "loss-recovered-mean": GridMeasure(
        "Loss recovered",
        "share",
        "higher",
        "Share of the cross-entropy that mean-ablation costs which the reconstruction takes back.",
    ),
    "loss-recovered-zero": GridMeasure(
        "Loss recovered (zero)", "share", "higher", "The same against zero-ablation."
    ),
    "divergence-recovered-mean": GridMeasure(
        "KL recovered",
        "share",
        "higher",
        "1 - KL(clean ‖ reconstructed) / KL(clean ‖ mean-ablated).",
    ),
    "divergence-recovered-zero": GridMeasure(
        "KL recovered (zero)", "share", "higher", "The same against zero-ablation."
    ),
    "loss-recovered-mean-equal": GridMeasure(
        "Loss recovered at equal L0",
        "share",
        "higher",
        "Loss recovered when every method encodes with as many active features a row.",
    ),
    "divergence-recovered-mean-equal": GridMeasure(
        "KL recovered at equal L0", "share", "higher", "KL recovered at equal L0."
    ),
    "dead-share": GridMeasure(
        "Dead", "share", "lower", "Features that never fire on training rows."
    ),
    "duplicate-share": GridMeasure(
        "Duplicate", "share", "lower", "Features whose atom is nearly that of another."
    ),
    "concept-detection": GridMeasure(
        "S_CD",
        "nats",
        "higher",
        "Median over features of ln(ā activating / ā neutral), each on its own concept.",
    ),
    "detected-share": GridMeasure("S_CD > 0", "share", "higher", "Share of features above 0."),
    "detection-auroc": GridMeasure(
        "AUROC", "probability", "higher", "Mean over features, each on its own concept."
    ),
    "detection-precision": GridMeasure(
        "Average precision", "share", "higher", "Mean over features, each on its own concept."
    ),
    "written-detection": GridMeasure(
        "S_CD",
        "nats",
        "higher",
        "Median over drawn features of S_CD on sentences that were written for their labels.",
    ),
    "written-share": GridMeasure("S_CD > 0", "share", "higher", "Share of these features above 0."),
    "written-auroc": GridMeasure(
        "AUROC", "probability", "higher", "Mean over these features, on the written sentences."
    ),
    "concept-auroc": GridMeasure(
        "Best AUROC",
        "probability",
        "higher",
        "Mean over concepts of the held-out AUROC of the feature that was best on training texts.",
    ),
    "concept-precision": GridMeasure(
        "Best average precision", "share", "higher", "The same of average precision."
    ),
    "concept-order": GridMeasure(
        "Best S_CD", "nats", "higher", "Median over concepts of S_CD of that feature."
    ),
    "stability": GridMeasure(
        "Stability", "cosine", "higher", "Mean matched cosine between seeds (Hungarian)."
    ),
    "stability-null": GridMeasure(
        "Null", "cosine", "neither", "The same against neuron-permuted atoms of another seed."
    ),
    "stability-excess": GridMeasure("Excess", "cosine", "higher", "Stability minus its null."),
    "stability-halves": GridMeasure(
        "Halves",
        "cosine",
        "higher",
        "Mean matched cosine between fits to two halves of the training texts (Hungarian).",
    ),
    "stability-halves-excess": GridMeasure(
        "Halves' excess", "cosine", "higher", "The same minus that of neuron-permuted atoms."
    ),
    "steering-score": GridMeasure(
        "Steering",
        "0 to 2",
        "higher",
        "Mean over features of the harmonic mean of concept and fluency in the best cell, chosen "
        "on one half of its continuations and scored on the other.",
    ),
    "steering-best": GridMeasure(
        "Best of all cells",
        "0 to 2",
        "higher",
        "The best cell, chosen and scored on the same continuations, hence biased upwards.",
    ),
    "steering-published": GridMeasure(
        "Published score",
        "0 to 2",
        "higher",
        "By the published protocol: the best of all cells, continuations without a score counted "
        "0, one strength for both signs, no top-p.",
    ),
    "steering-gain": GridMeasure(
        "Gain",
        "0 to 2",
        "higher",
        "Steering score minus the score of the unsteered model's continuations for the same label.",
    ),
    "steering-shift": GridMeasure(
        "Shift",
        "logits",
        "higher",
        "Mean over features of the shift of their own promoted tokens' logits at the middle KL.",
    ),
    "steering-efficiency": GridMeasure(
        "KL efficiency",
        "nats / nat",
        "higher",
        "Mean change of the own tokens' log-probability for each nat of KL, at the middle KL.",
    ),
    "steering-unreached": GridMeasure(
        "Unreached", "share", "lower", "Cells whose KL target could not be reached."
    ),
    "steering-unjudged": GridMeasure(
        "Not judged",
        "share",
        "lower",
        "Continuations that the judge gave no score: blank ones, and answers that cannot be read.",
    ),
    "fit-seconds": GridMeasure("Fit", "s", "lower", "Seconds of a fit."),
}
"""By name, in the order of tables."""
