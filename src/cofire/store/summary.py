"""The figures of a run, a line a layer."""

from typing import Any

from cofire.store.run import Run

CONCEPT_AUROC = 0.8
"""Held-out AUROC above which a feature is counted as selecting its concept."""


def summary(run: Run) -> list[dict[str, Any]]:
    """One record a finished site; shares are out of all features, None what was not measured."""
    records = []
    for site in run.sites:
        features = run.features(site)
        figures = run.figures(site)
        judged = [f.concept for f in features if f.concept is not None and f.concept.auroc]
        selecting = [match for match in judged if (match.auroc or 0.0) > CONCEPT_AUROC]
        records.append(
            {
                "layer": site.layer,
                "explained variance": features.fit.explained_variance,
                "held-out": features.heldout.explained_variance if features.heldout else None,
                "concept features": len(selecting) / len(features) if judged else None,
                "concepts": len({match.concept for match in selecting}) if judged else None,
                "dead": sum(feature.dead for feature in features),
                "duplicate": sum(feature.duplicate for feature in features),
                "one-token": sum(feature.one_token for feature in features),
                "active codes": features.fit.code_density,
                "sweeps": figures["sweeps"],
                "stop": figures["stop_reason"],
                "seconds": figures["seconds"],
            }
        )
    return records
