"""Figures of whole layers, as the overview of a report shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cofire.interpret.concepts import sure_concepts
from cofire.interpret.reading import Feature, FeatureSet
from cofire.site import Site
from cofire.store import Run
from cofire.store.summary import site_summary


@dataclass(frozen=True)
class LayerFigures:
    """What one layer comes to; None for what could not be measured.

    Attributes:
        site: the layer's site.
        n_features: features fitted.
        variance_train: explained variance of the training rows.
        variance_heldout: explained variance of the rows of held-out texts.
        loss_train: relative loss of the training rows, what the fit minimises.
        loss_heldout: relative loss of the rows of held-out texts.
        code_density: share of codes above 0 on the training rows.
        active: features active a token (L0), ``code_density`` times the number of features.
        dead: features that never fire.
        duplicate: features whose atom is nearly that of another.
        one_token: features that fire strongly on one token type only.
        good_share: share of all features whose best concept has held-out AUROC above
            ``CONCEPT_AUROC``; None when none could be judged.
        covered: distinct concepts that some feature selects surely, corrected for the number of
            features (``sure_counts``).
        n_concepts: concepts of the texts.
        neurons: median neurons of a feature.
        channels: neurons of the layer.
        sweeps: sweeps of the solver.
        stop_reason: why it stopped.
        seconds: time of the fit.
    """

    site: Site
    n_features: int
    variance_train: float | None
    variance_heldout: float | None
    loss_train: float | None
    loss_heldout: float | None
    code_density: float
    active: float
    dead: int
    duplicate: int
    one_token: int
    good_share: float | None
    covered: int | None
    n_concepts: int
    neurons: float | int | None
    channels: int | None
    sweeps: int | None
    stop_reason: str | None
    seconds: float | int | None


@dataclass(frozen=True)
class ConceptCell:
    """The best feature of one layer for one concept, among those whose best concept it is.

    It is the best on training texts, so that its held-out AUROC is no luckiest of several.

    Attributes:
        feature: its index.
        auroc: its held-out AUROC.
        sure: whether that is enough evidence.
        count: surely selecting features of the layer (``sure_counts``).
    """

    feature: int
    auroc: float
    sure: bool
    count: int


def layer_figures(run: Run) -> list[LayerFigures]:
    """The figures of every finished layer, those of ``cofire.store.summary`` among them."""
    return [site_figures(run.features(site), run.figures(site)) for site in run.sites]


def site_figures(features: FeatureSet, recorded: Mapping[str, Any]) -> LayerFigures:
    """The figures of one layer; contexts and tokens of its features are not looked at.

    Args:
        features: of the site.
        recorded: what the run's manifest says of it.
    """
    record = site_summary(features, recorded)
    heldout = features.heldout
    return LayerFigures(
        site=features.site,
        n_features=len(features),
        variance_train=record["explained variance"],
        variance_heldout=record["held-out"],
        loss_train=features.fit.relative_loss,
        loss_heldout=None if heldout is None else heldout.relative_loss,
        code_density=features.fit.code_density,
        active=features.fit.code_density * len(features),
        dead=record["dead"],
        duplicate=record["duplicate"],
        one_token=record["one-token"],
        good_share=record["concept features"],
        covered=record["covered"],
        n_concepts=len(concept_names(features)),
        neurons=median(len(feature.neurons) for feature in features) if len(features) else None,
        channels=recorded.get("channels"),
        sweeps=record["sweeps"],
        stop_reason=record["stop"],
        seconds=record["seconds"],
    )


def heldout_auroc(feature: Feature) -> float | None:
    """Held-out AUROC of the feature's best concept, None when it could not be measured."""
    return None if feature.concept is None else feature.concept.auroc


def concept_names(features: FeatureSet) -> list[str]:
    """Concepts the features were tried on, in alphabetical order."""
    return sorted({name for feature in features for name, _, _ in feature.concept_scores})


def sure_counts(features: FeatureSet) -> dict[str, int]:
    """For every concept that some feature surely selects, how many do; see ``sure_concepts``."""
    return sure_concepts([feature.concept for feature in features])


def concept_grid(
    layers: Sequence[FeatureSet],
) -> list[tuple[str, list[ConceptCell | None]]]:
    """Concepts by layers: the best feature for each on training texts, with its held-out AUROC.

    Concepts found most surely come first.
    """
    columns = [_best_cells(features) for features in layers]
    names = sorted({name for features in layers for name in concept_names(features)})
    grid = [(name, [column.get(name) for column in columns]) for name in names]

    def strength(row: tuple[str, list[ConceptCell | None]]) -> tuple[float, str]:
        found = [cell.auroc for cell in row[1] if cell is not None and cell.sure]
        return -sum(found, 0.0), row[0]

    return sorted(grid, key=strength)


def _best_cells(features: FeatureSet) -> dict[str, ConceptCell]:
    counts = sure_counts(features)
    best: dict[str, Feature] = {}
    for feature in features:
        match = feature.concept
        if match is None:
            continue
        known = best.get(match.concept)
        if known is None or known.concept is None or match.auroc_train > known.concept.auroc_train:
            best[match.concept] = feature
    return {
        name: ConceptCell(
            feature.index, feature.concept.auroc, feature.concept.sure, counts.get(name, 0)
        )
        for name, feature in best.items()
        if feature.concept is not None and feature.concept.auroc is not None
    }
