"""One layer's features as compact JSON values: strings and token windows are stored once.

The page's script (``assets/layer.js``) is the reader of this format. All strings are ready to be
shown (``token_text``, ``readable``), all numbers are cut to the digits that can be seen.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from cofire.interpret.contexts import Context
from cofire.interpret.reading import Feature, FeatureSet
from cofire.interpret.vocabulary import TokenWeight
from cofire.interpret.wording import readable, token_text
from cofire.report.embedding import rounded
from cofire.store.judged import JudgedFeature

MAX_NEURONS = 200
"""Neurons of a group that the page carries; the run's ``neurons.parquet`` has them all."""

MAX_TYPES = 40
"""Firing token types that the page carries."""

MAX_CONCEPTS = 12
"""Concepts of a feature's profile that the page carries."""

_CODE_STEPS = 1000  # codes in a context are stored in thousandths of the feature's largest


class Pool:
    """Gives equal values one number, in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        """The number of a value."""
        return self._numbers.setdefault(value, len(self._numbers))

    def values(self) -> list[Any]:
        """All values, each at its number."""
        return list(self._numbers)


def layer_payload(
    features: FeatureSet, judged: Mapping[int, JudgedFeature] = MappingProxyType({})
) -> dict[str, Any]:
    """Everything the page shows of one layer's features, as plain JSON values.

    Args:
        features: of the layer.
        judged: labels and steering results of some of them.
    """
    strings, windows = Pool(), Pool()
    records = [_feature(feature, strings, windows) for feature in features]
    for record in records:
        if record["index"] in judged:
            record["judged"] = _judged(judged[record["index"]])
    return {
        "layer": features.site.layer,
        "kind": features.site.kind,
        "features": records,
        "windows": windows.values(),
        "strings": strings.values(),
    }


def _feature(feature: Feature, strings: Pool, windows: Pool) -> dict[str, Any]:
    projection = feature.vocabulary
    contexts = (*feature.contexts, *feature.quantile_contexts)
    codes = (feature.max_code, *(code for context in contexts for code in context.codes))
    scale = max((abs(code) for code in codes if math.isfinite(code)), default=0.0) or 1.0
    return {
        "index": feature.index,
        "label": readable(feature.label),
        "concept": _concept(feature, strings),
        "profile": [
            [strings.number(readable(name)), rounded(train, 3), rounded(heldout, 3)]
            for name, train, heldout in feature.concept_scores[:MAX_CONCEPTS]
            if train is not None
        ],
        "concepts": len(feature.concept_scores),
        "scale": rounded(scale),
        "contexts": [_context(context, scale, strings, windows) for context in contexts],
        "neurons": [number for number, _ in feature.neurons[:MAX_NEURONS]],
        "weights": [rounded(weight, 3) for _, weight in feature.neurons[:MAX_NEURONS]],
        "group": [
            len(feature.neurons),
            sum(weight < 0 for _, weight in feature.neurons),
        ],
        "promoted": None if projection is None else _tokens(projection.promoted, strings),
        "demoted": None if projection is None else _tokens(projection.demoted, strings),
        "types": [
            [strings.number(token_text(name)), count]
            for name, count in feature.firing_types[:MAX_TYPES]
        ],
        "firings": [len(feature.firing_types), sum(count for _, count in feature.firing_types)],
        "density": rounded(feature.density),
        "max": rounded(feature.max_code),
        "nearest": feature.nearest,
        "cosine": rounded(feature.nearest_cosine, 3),
        "flags": list(feature.flags),
    }


def _judged(found: JudgedFeature) -> dict[str, Any]:
    steered = found.steered
    record: dict[str, Any] = {
        "labels": [[one.kind, readable(one.label or "")] for one in found.labels]
    }
    if steered is None:
        return record
    choice = steered.choice
    return record | {
        "judge": None if found.judge is None else readable(found.judge),
        "score": rounded(steered.score, 3),
        "best": rounded(steered.best, 3),
        "sign": None if choice is None else choice.sign,
        "kl": None if choice is None else rounded(choice.target_kl),
        "scored": 0 if choice is None else choice.scored,
        "shift": rounded(found.shift, 3),
        "null": rounded(found.null_shift, 3),
        "target": rounded(found.target_kl),
        "cells": len(steered.cells),
        "unreached": steered.unreached,
        "texts": steered.n_texts,
        "missing": steered.missing,
        "examples": [[readable(text.text), rounded(text.score, 2)] for text in found.examples()],
    }


def _concept(feature: Feature, strings: Pool) -> dict[str, Any] | None:
    match = feature.concept
    if match is None:
        return None
    return {
        "name": strings.number(readable(match.concept)),
        "train": rounded(match.auroc_train, 3),
        "auroc": rounded(match.auroc, 3),
        "interval": None if match.interval is None else [rounded(x, 3) for x in match.interval],
        "p": rounded(match.p_value, 2),
        "positive": match.n_positive,
        "negative": match.n_negative,
        "precision": rounded(match.precision, 2),
        "sure": match.sure,
        "names": match.names_feature,
    }


def _context(context: Context, scale: float, strings: Pool, windows: Pool) -> list[Any]:
    window = windows.number(tuple(strings.number(token_text(piece)) for piece in context.tokens))
    label = None if context.label is None else strings.number(readable(context.label))
    codes = [
        round(_CODE_STEPS * code / scale) if math.isfinite(code) else None for code in context.codes
    ]
    return [context.quantile, window, context.focus, label, rounded(context.code), codes]


def _tokens(weights: Iterable[TokenWeight], strings: Pool) -> list[list[Any]]:
    return [
        [strings.number(token_text(weight.token)), rounded(weight.logit, 3), weight.token_id]
        for weight in weights
    ]
