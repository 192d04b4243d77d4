"""The figures of a run, a line a layer."""

from collections.abc import Mapping
from typing import Any

from cofire.interpret.concepts import SURE_AUROC, sure_concepts
from cofire.interpret.reading import FeatureSet
from cofire.store.run import Run

CONCEPT_AUROC = SURE_AUROC
"""Held-out AUROC above which a feature is counted as selecting its concept."""

LEGEND = (
    "concept features: share that selects a concept (held-out AUROC above 0.8); concepts: how many "
    "different ones; covered: of these, at a false discovery rate of 1%, as in the report; "
    "one-token: features that fire strongly on one token only; active codes: share above 0."
)
"""What the columns of a summary mean that do not say it themselves."""


def summary(run: Run) -> list[dict[str, Any]]:
    """One record a finished site; shares are out of all features, None what was not measured."""
    return [site_summary(run.features(site), run.figures(site)) for site in run.sites]


def site_summary(features: FeatureSet, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The record of one site; of its features only concepts and health are looked at.

    Args:
        features: of the site.
        figures: what the run's manifest says of it.
    """
    measured = [
        (feature.concept.concept, feature.concept.auroc)
        for feature in features
        if feature.concept is not None and feature.concept.auroc is not None
    ]
    selected = [concept for concept, auroc in measured if auroc > CONCEPT_AUROC]
    return {
        "layer": features.site.layer,
        "explained variance": features.fit.explained_variance,
        "held-out": features.heldout.explained_variance if features.heldout else None,
        "concept features": len(selected) / len(features) if measured else None,
        "concepts": len(set(selected)) if measured else None,
        "covered": len(sure_concepts([feature.concept for feature in features]))
        if measured
        else None,
        "dead": sum(feature.dead for feature in features),
        "duplicate": sum(feature.duplicate for feature in features),
        "one-token": sum(feature.one_token for feature in features),
        "active codes": features.fit.code_density,
        "sweeps": figures.get("sweeps"),
        "stop": figures.get("stop_reason"),
        "seconds": figures.get("seconds"),
    }
