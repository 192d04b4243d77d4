"""What every figure of weights means: unit, formula, source and what it is held against."""

from dataclasses import dataclass

from cofire.evaluation.measurement import Direction


@dataclass(frozen=True)
class WeightMeasure:
    """What a figure of weights means.

    Attributes:
        name: what it is called in tables and files.
        unit: of its values.
        direction: which values are better, ``neither`` where a figure only describes.
        formula: how it is defined.
        source: paper or framework.
        null: what it is held against.
    """

    name: str
    unit: str
    direction: Direction
    formula: str
    source: str
    null: str


_B = "Mechanistic Validity, metric"
_SAME_SPECTRUM = "random rotations of the same spectrum"
_RANDOM = "random weights of the same shape"

WEIGHT_MEASURES = (
    WeightMeasure("relative-error", "share", "lower", "‖W − W'‖ / ‖W‖", "–", _RANDOM),
    WeightMeasure(
        "excess-kurtosis",
        "1",
        "neither",
        "E[y⁴] / E[y²]² − 3",
        "Hyvärinen & Oja 2000",
        _SAME_SPECTRUM,
    ),
    WeightMeasure(
        "negentropy",
        "nats",
        "neither",
        "k₁ E[y exp(−y²/2)]² + k₂ (E[exp(−y²/2)] − √½)²",
        "Hyvärinen 1998, NIPS 10:273",
        _SAME_SPECTRUM,
    ),
    WeightMeasure(
        "energy-dependence",
        "1",
        "lower",
        "mean |corr(log cosh sᵢ, log cosh sⱼ)|",
        "Hyvärinen, Hoyer & Inki 2001",
        "sources with their samples shuffled",
    ),
    WeightMeasure(
        "hoyer-sparsity",
        "1",
        "neither",
        "(√n − ‖x‖₁/‖x‖₂) / (√n − 1)",
        "Hoyer 2004, JMLR 5:1457",
        _SAME_SPECTRUM,
    ),
    WeightMeasure(
        "effective-rank",
        "components",
        "neither",
        "exp(H(σ / Σσ))",
        f"Roy & Vetterli 2007; {_B} B01",
        _RANDOM,
    ),
    WeightMeasure(
        "participation-ratio", "components", "neither", "(Σσ)² / Σσ²", f"{_B} B07", _RANDOM
    ),
    WeightMeasure("top-ratio", "1", "neither", "σ₁ / σ_k", f"{_B} B01", "other heads"),
    WeightMeasure(
        "components-for-90%",
        "components",
        "neither",
        "fewest with Σσ² ≥ 90%",
        f"{_B} B08",
        _RANDOM,
    ),
    WeightMeasure(
        "components-for-SVD-error",
        "components",
        "neither",
        "fewest with an error of SVD's at k or less, of |W| for NMF",
        f"{_B} B08",
        "SVD itself",
    ),
    WeightMeasure(
        "fan-out",
        "share",
        "neither",
        "share of tokens with |cos| > 0.1",
        f"{_B} B07",
        "other heads",
    ),
    WeightMeasure(
        "self-alignment",
        "1",
        "neither",
        "‖W W‖ / (Σσ⁴)^½",
        f"{_B} B09, our formula",
        _SAME_SPECTRUM,
    ),
    WeightMeasure(
        "copying-score",
        "1",
        "neither",
        "Σ Re λ / Σ |λ|",
        "Elhage et al. 2021",
        _SAME_SPECTRUM,
    ),
)
"""Every figure of weights that a report shows."""
