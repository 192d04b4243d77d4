"""Features: their list, and everything about one."""

from typing import Annotated, Any, Literal

from pydantic import Field

from cofire.web.records.base import Record

Flag = Literal["dead", "duplicate", "one-token"]


CountedRows = Annotated[
    Literal["train", "all"],
    Field(description="Rows that were counted: all where it is not known which are held out."),
]


class MeasureRange(Record):
    """A measure that features can be sorted and filtered by."""

    name: str = Field(description="For ``sort`` and ``where``.")
    title: str
    unit: str | None
    description: str
    low: float | None = Field(description="Smallest value of the layer.")
    high: float | None = Field(description="Largest value of the layer.")
    missing: int = Field(description="Features without a value.")


class FeatureRow(Record):
    """One line of the feature list."""

    feature: int
    label: str
    edited: bool = Field(description="Whether somebody wrote the label.")
    concept: str | None = Field(description="The concept it selects best.")
    sure: bool = Field(description="Whether held-out texts confirm that.")
    flags: list[Flag]
    tokens: list[str] = Field(description="Token types that fire it most often.")
    promoted: list[str] = Field(description="Tokens it promotes most.")
    measures: dict[str, float | None] = Field(
        description="Every measure by name, see ``measures`` of the list."
    )


class FeatureList(Record):
    """Some features of one layer, filtered, sorted, and cut to a page."""

    run: str
    layer: int
    title: str
    total: int = Field(description="Features of the layer.")
    found: int = Field(description="Features that pass the filters.")
    offset: int
    limit: int
    sort: str
    order: Literal["asc", "desc"]
    measures: list[MeasureRange]
    concepts: list[str] = Field(description="Concepts that are the best of some feature.")
    features: list[FeatureRow]


class ConceptFigures(Record):
    """The concept a feature selects best, chosen on training texts, judged on held-out ones."""

    concept: str
    auroc_train: float | None
    auroc: float | None = Field(description="Held-out AUROC; null without held-out texts of it.")
    low: float | None = Field(description="95% interval of ``auroc``.")
    high: float | None
    p_value: float | None
    n_positive: int
    n_negative: int
    precision: float | None = Field(
        description="Share of strong firings in texts of the concept; null where there is none."
    )
    sure: bool
    names_feature: bool


class ConceptScore(Record):
    """AUROC of the feature for one concept."""

    concept: str
    auroc_train: float | None
    auroc: float | None = Field(description="On held-out texts.")


class ContextRecord(Record):
    """A place where the feature fires."""

    row: int = Field(description="Row of the codes; more of the text under .../rows/{row}.json.")
    text_id: int
    code: float
    quantile: float | None = Field(description="null for a top context.")
    tokens: list[str]
    codes: list[float | None]
    focus: int = Field(description="Index of the firing token.")
    label: str | None = Field(description="Concept of the text.")


class NeuronWeight(Record):
    """One neuron of the group."""

    neuron: int
    weight: float


class TokenLogit(Record):
    """A promoted or demoted token."""

    token_id: int
    token: str
    logit: float


class FiringType(Record):
    """A token type and how often it fires the feature strongly."""

    token: str
    count: int


class CodeHistogram(Record):
    """How positive codes are spread."""

    edges: list[float] = Field(description="One more than ``counts``.")
    counts: list[int]
    of: CountedRows
    rows: int = Field(description="Rows that were counted.")
    zero: int = Field(description="Rows whose code is not above 0.")


class SimilarFeature(Record):
    """A feature with a similar atom."""

    feature: int
    label: str
    cosine: float


class Similars(Record):
    """Features with similar atoms, largest cosine magnitude first."""

    run: str
    layer: int
    feature: int
    found: int
    offset: int
    limit: int
    features: list[SimilarFeature]


class CofiringFeature(Record):
    """A feature that fires on the same tokens."""

    feature: int
    label: str
    both: int = Field(description="Rows on which both fire.")
    jaccard: float = Field(description="both / rows on which either fires.")
    cosine: float = Field(description="Cosine of the two code columns.")


class Cofirings(Record):
    """Features that fire on the same tokens, largest cosine of codes first."""

    of: CountedRows
    run: str
    layer: int
    feature: int
    found: int
    offset: int
    limit: int
    features: list[CofiringFeature]


class TreeStep(Record):
    """A feature of a tree, beside the one that a page is about."""

    level: int = Field(description="0 for the features of the run.")
    feature: int = Field(description="Its number in its level.")
    label: str
    share: float | None = Field(description="Of its weight, what goes to its own parent.")


class TreePlace(Record):
    """Where a feature hangs in a tree."""

    result: str = Field(description="The tree's name among the results of /tree.json.")
    name: str
    share: float | None = Field(description="Of the feature's weight, what goes to its parent.")
    above: list[TreeStep] = Field(description="Parent, its parent and so on; empty for the root.")
    siblings: list[TreeStep] = Field(
        description="Other features of the same parent, the largest share first; the first 12."
    )
    n_siblings: int


class FeaturePage(Record):
    """Everything about one feature."""

    run: str
    layer: int
    title: str
    feature: int
    total: int = Field(description="Features of the layer.")
    label: str
    edited: bool = Field(description="Whether somebody wrote the label.")
    offline_label: str = Field(description="The label cofire made.")
    flags: list[Flag]
    measures: dict[str, float | None]
    max_code: float
    nearest: int = Field(description="The feature with the most similar atom.")
    nearest_cosine: float
    concept: ConceptFigures | None
    concepts: list[ConceptScore] = Field(description="Best first.")
    contexts: list[ContextRecord] = Field(description="Strongest first.")
    quantile_contexts: list[ContextRecord] = Field(description="Highest quantile first.")
    histogram: CodeHistogram
    neurons: list[NeuronWeight] = Field(description="Largest magnitude first.")
    promoted: list[TokenLogit] | None = Field(description="null away from MLP sites.")
    demoted: list[TokenLogit] | None
    types: list[FiringType] = Field(description="Most frequent first.")
    similar: list[SimilarFeature] = Field(description="The first of .../similar.json.")
    cofiring: list[CofiringFeature] = Field(description="The first of .../cofiring.json.")
    trees: list[TreePlace] = Field(description="Its place in every tree of the layer.")
    stored: dict[str, list[dict[str, Any]]] = Field(
        description="Lines about the feature in tables that other commands added to the run, such "
        "as steering/steering_cells; absent where there are none."
    )
