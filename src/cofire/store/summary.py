"""The figures of a run, a line a layer."""

from typing import Any

from cofire.interpret.concepts import SURE_AUROC
from cofire.store.run import Run

CONCEPT_AUROC = SURE_AUROC
"""Held-out AUROC above which a feature is counted as selecting its concept."""


def summary(run: Run) -> list[dict[str, Any]]:
    """One record a finished site; shares are out of all features, None what was not measured."""
    records = []
    for site in run.sites:
        features = run.features(site)
        figures = run.figures(site)
        measured = [
            (feature.concept.concept, feature.concept.auroc)
            for feature in features
            if feature.concept is not None and feature.concept.auroc is not None
        ]
        selected = [concept for concept, auroc in measured if auroc > CONCEPT_AUROC]
        records.append(
            {
                "layer": site.layer,
                "explained variance": features.fit.explained_variance,
                "held-out": features.heldout.explained_variance if features.heldout else None,
                "concept features": len(selected) / len(features) if measured else None,
                "concepts": len(set(selected)) if measured else None,
                "dead": sum(feature.dead for feature in features),
                "duplicate": sum(feature.duplicate for feature in features),
                "one-token": sum(feature.one_token for feature in features),
                "active codes": features.fit.code_density,
                "sweeps": figures.get("sweeps"),
                "stop": figures.get("stop_reason"),
                "seconds": figures.get("seconds"),
            }
        )
    return records
