"""What is wrong with the features of a run, by which figure, and what to change."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from cofire.errors import InputError
from cofire.evaluation.detection_records import Detection
from cofire.evaluation.diagnosis_records import (
    AffectedFeature,
    Change,
    Diagnosis,
    Finding,
    SteeringEffects,
)
from cofire.evaluation.health import DUPLICATE_COSINE, collapsed_groups
from cofire.interpret.reading import FeatureSet

FEW_ROWS = 50
"""Training rows a feature below which more data is the first advice."""


def diagnose(
    features: FeatureSet,
    *,
    detection: Detection | None = None,
    steering: SteeringEffects | None = None,
    sparsity: float | None = None,
) -> Diagnosis:
    """Name dead, collapsed, non-causal and wrongly detecting features, and say what to change.

    ==================  ==================================================================
    dead                no code above 0 on the training rows, or an atom of zeros
    collapsed           |cos| with another atom above 0.95: one feature, found several times
    non-causal          steering along it does no more than along null directions
    negative-detection  fires more on texts without its concept: S_CD below 0, or without a
                        ``detection``, held-out AUROC of its concept below 0.5
    ==================  ==================================================================

    Dead features are not looked at for the other problems. What was not measured is said to be
    missing; it is not called healthy.

    Args:
        features: as read by ``read_features`` or from a run.
        detection: scores of the same features.
        steering: effects of the same features.
        sparsity: share of channels an atom keeps, where the method has one; makes the advice
            more precise.

    Raises:
        InputError: when ``detection`` or ``steering`` are of another number of features.
    """
    k = len(features)
    for what, n in (
        ("detection", None if detection is None else len(detection.outcomes)),
        ("steering", None if steering is None else len(steering.effects)),
    ):
        if n is not None and n != k:
            raise InputError(f"The {what} is of {n} features, but {k} were read.")
    findings = (
        _dead(features, sparsity),
        _collapsed(features, sparsity),
        _non_causal(features, steering, sparsity),
        _negative(features, detection),
    )
    return Diagnosis(str(features.site), k, findings)


def _dead(features: FeatureSet, sparsity: float | None) -> Finding:
    found = [
        AffectedFeature(f.index, f.max_code, f"Feature {f.index} never fires on the training rows.")
        for f in features
        if f.dead
    ]
    changes = []
    if found:
        rows = features.fit.rows / len(features)
        changes.append(
            Change("k", f"Lower k to about {len(features) - len(found)}: that many are in use.")
        )
        if rows < FEW_ROWS:
            changes.append(Change("data", f"Add texts: there are {rows:.0f} rows a feature."))
        if sparsity is not None and sparsity < 1:
            changes.append(
                Change(
                    "sparsity",
                    f"Let atoms keep more than {sparsity:.3g} of the neurons, such as "
                    f"{_up(sparsity):.3g}: an atom of too few has nothing to win rows with.",
                )
            )
    return Finding(
        "dead", "largest code", "code", 0.0, len(features), 0, tuple(found), tuple(changes)
    )


def _collapsed(features: FeatureSet, sparsity: float | None) -> Finding:
    alive = [f for f in features if not f.dead]
    twins = [f for f in alive if f.duplicate]
    twins.sort(key=lambda f: -f.nearest_cosine)
    found = [
        AffectedFeature(
            f.index,
            f.nearest_cosine,
            f"The atom of feature {f.index} is that of feature {f.nearest}: |cos| = "
            f"{f.nearest_cosine:.3f}.",
        )
        for f in twins
    ]
    changes = []
    if found:
        groups = collapsed_groups(
            np.array([f.nearest for f in features]), np.array([f.duplicate for f in features])
        )
        distinct = len({int(groups[f.index]) for f in alive})
        changes = [
            Change("k", f"Lower k to about {distinct}: that many atoms are distinct."),
            Change("data", "Add texts of other kinds: k may be too large for what these vary in."),
        ]
        if sparsity is not None:
            changes.append(
                Change(
                    "sparsity",
                    f"Let atoms keep fewer neurons than {sparsity:.3g}, such as "
                    f"{sparsity / 2:.3g}, if they share a broad background.",
                )
            )
    return Finding(
        "collapsed",
        "|cosine| with the nearest atom",
        "cosine",
        DUPLICATE_COSINE,
        len(alive),
        len(features) - len(alive),
        tuple(found),
        tuple(changes),
    )


def _non_causal(
    features: FeatureSet, steering: SteeringEffects | None, sparsity: float | None
) -> Finding:
    if steering is None:
        note = "There are no steering results; steer the features to know."
        return Finding("non-causal", "steering effect", "", 0.0, 0, len(features), (), (), note)
    least = steering.least
    known = {
        f.index: effect
        for f, effect in zip(features, steering.effects, strict=True)
        if effect is not None and not f.dead and not math.isnan(effect)
    }
    found = [
        AffectedFeature(
            index,
            effect,
            f"Steering feature {index} has an effect of {effect:.3g} {steering.unit}, of null "
            f"directions up to {least:.3g}."
            if steering.null
            else f"Steering feature {index} has an effect of {effect:.3g} {steering.unit}.",
        )
        for index, effect in sorted(known.items(), key=lambda item: item[1])
        if effect <= least
    ]
    changes = []
    if found:
        layer = features.site.layer
        changes = [
            Change(
                "layer",
                f"Try layers after {layer}: early features act through later ones, and less on the "
                "output.",
            ),
            Change("k", "Change k: a feature that mixes several things steers none of them."),
        ]
        if sparsity is not None:
            changes.append(
                Change(
                    "sparsity",
                    f"Let atoms keep other than {sparsity:.3g} of the neurons, such as "
                    f"{sparsity / 2:.3g} or {_up(sparsity):.3g}.",
                )
            )
    return Finding(
        "non-causal",
        steering.name,
        steering.unit,
        least,
        len(known),
        len(features) - len(known),
        tuple(found),
        tuple(changes),
        None if known else "No feature has a steering result.",
    )


def _negative(features: FeatureSet, detection: Detection | None) -> Finding:
    if detection is None:
        figure, unit, limit = "held-out AUROC of its concept", "probability", 0.5
        values = {
            f.index: f.concept.auroc
            for f in features
            if f.concept is not None and f.concept.auroc is not None and not f.dead
        }
    else:
        figure, unit, limit = f"S_CD by {detection.score}", "nats", 0.0
        values = {
            f.index: float(order)
            for f, order in zip(features, detection.order, strict=True)
            if not np.isnan(order) and not f.dead
        }
    say = _words_of(features, detection)
    found = [
        AffectedFeature(index, value, say(index, value))
        for index, value in sorted(values.items(), key=lambda item: item[1])
        if value < limit
    ]
    changes: Sequence[Change] = ()
    if found:
        changes = (
            Change("data", "Add labelled texts of these concepts: they were named on few."),
            Change("k", "Raise k: a feature of several concepts may be named after the wrong one."),
            Change(
                "layer",
                f"Try another layer than {features.site.layer}: the concept may not be there.",
            ),
        )
    return Finding(
        "negative-detection",
        figure,
        unit,
        limit,
        len(values),
        len(features) - len(values),
        tuple(found),
        tuple(changes),
        None if values else "No feature was tested for a concept.",
    )


def _words_of(features: FeatureSet, detection: Detection | None) -> Callable[[int, float], str]:
    def words(index: int, value: float) -> str:
        match = features[index].concept
        if detection is None:
            name = None if match is None else match.concept
            return (
                f"Feature {index} fires less on texts of {name!r} than on others: AUROC = "
                f"{value:.2f}."
            )
        concept = detection.sentences.concepts[index]
        figure = "its mean is not above 0" if value == -math.inf else f"S_CD = {value:.2f}"
        return (
            f"Feature {index} fires less on sentences of {concept!r} than on neutral ones: "
            f"{figure}."
        )

    return words


def _up(sparsity: float) -> float:
    return min(1.0, 2 * sparsity)
