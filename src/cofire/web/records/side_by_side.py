"""Two features, or two layers, side by side."""

from typing import Literal

from pydantic import Field

from cofire.web.records.base import Record
from cofire.web.records.features import FeaturePage
from cofire.web.records.runs import LayerOverview


class SharedNeuron(Record):
    """A neuron that is in both groups."""

    neuron: int
    first: float = Field(description="Weight in the first feature.")
    second: float


class AtomsBeside(Record):
    """Two atoms of one site."""

    cosine: float
    shared: list[SharedNeuron] = Field(description="Largest product of magnitudes first.")
    jaccard: float = Field(description="Shared neurons / neurons of either.")


class CodesBeside(Record):
    """Two columns of codes on the same tokens."""

    both: int = Field(description="Training rows on which both fire.")
    jaccard: float | None = Field(description="both / rows on which either fires.")
    cosine: float | None


class FeaturesBeside(Record):
    """Two features side by side."""

    kind: Literal["features"] = "features"
    first: FeaturePage
    second: FeaturePage
    atoms: AtomsBeside | None = Field(description="null when they are of different sites.")
    codes: CodesBeside | None = Field(description="null when the tokens are not the same.")
    shared_types: list[str] = Field(description="Token types that fire both.")
    notes: list[str] = Field(description="Why something cannot be compared.")


class LayerSide(Record):
    """One of two layers."""

    run: str
    layer: LayerOverview


class FeaturePair(Record):
    """Two features that belong together."""

    first: int
    first_label: str
    second: int
    second_label: str
    cosine: float


class LayersBeside(Record):
    """Two layers side by side, their features paired one to one."""

    kind: Literal["layers"] = "layers"
    first: LayerSide
    second: LayerSide
    by: Literal["atoms", "codes"] | None = Field(
        description="What was compared: atoms within one site of one model, else codes on the "
        "same tokens; null when neither can be."
    )
    mean_cosine: float | None
    above_half: int | None = Field(description="Pairs with a cosine above 0.5.")
    found: int = Field(description="Pairs.")
    offset: int
    limit: int
    pairs: list[FeaturePair] = Field(description="Most alike first.")
    notes: list[str] = Field(description="Why something cannot be compared.")
