"""What the explorer answers with: one pydantic model for everything that OpenAPI documents.

Strings that come from models, texts and users are ready to be shown (``cofire.interpret.wording``):
control and direction characters are visible marks. A figure that could not be measured is null.
"""

from cofire.web.records.base import Problem, Record
from cofire.web.records.features import (
    CodeHistogram,
    CofiringFeature,
    Cofirings,
    ConceptFigures,
    ConceptScore,
    ContextRecord,
    FeatureList,
    FeaturePage,
    FeatureRow,
    FiringType,
    MeasureRange,
    NeuronWeight,
    SimilarFeature,
    Similars,
    TokenLogit,
    TreePlace,
    TreeStep,
)
from cofire.web.records.runs import (
    CurvePoint,
    LayerOverview,
    LoneResult,
    Overview,
    RunCard,
    RunList,
)
from cofire.web.records.side_by_side import FeaturesBeside, LayersBeside
from cofire.web.records.texts import FeatureCodes, TextWindow

__all__ = [
    "CodeHistogram",
    "CofiringFeature",
    "Cofirings",
    "ConceptFigures",
    "ConceptScore",
    "ContextRecord",
    "CurvePoint",
    "FeatureCodes",
    "FeatureList",
    "FeaturePage",
    "FeatureRow",
    "FeaturesBeside",
    "FiringType",
    "LayerOverview",
    "LayersBeside",
    "LoneResult",
    "MeasureRange",
    "NeuronWeight",
    "Overview",
    "Problem",
    "Record",
    "RunCard",
    "RunList",
    "SimilarFeature",
    "Similars",
    "TextWindow",
    "TokenLogit",
    "TreePlace",
    "TreeStep",
]
