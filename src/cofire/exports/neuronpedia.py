"""Features for Neuronpedia: dashboards, uploads and steering vectors.

Three kinds of file, each in a form that something published reads:

``batch-N.json``     dashboards as SAEDashboard leaves them (``NeuronpediaDashboardBatch``), which
                     Neuronpedia's converter turns into what it imports
``upload-N.json``    bodies of ``POST /api/feature/upload-batch``, with labels, as the package
                     ``neuronpedia`` sends them for a source set of one's own
``steering.jsonl``   bodies of ``POST /api/vector/new``, a line a feature

What a run does not hold (correlated neurons, the histogram of all logits) is an empty list, and a
feature without a steering direction has no line in ``steering.jsonl``.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cofire.errors import InputError
from cofire.exports.folder import write_about, write_json
from cofire.exports.source import RunSite
from cofire.exports.vectors import Directions, about_directions
from cofire.interpret.contexts import QUANTILES, Context
from cofire.interpret.reading import Feature
from cofire.interpret.vocabulary import TokenWeight
from cofire.store.archive import write_atomically
from cofire.types import Float

FEATURES_A_BATCH = 128
"""The most that Neuronpedia takes in one upload."""

_BARS = 50  # of the histogram of codes, as SAEDashboard makes it
_NEURONS = 10  # listed as aligned
_TOP = (-1.0, -1.0)  # bin_min and bin_contains of top contexts, as SAEDashboard marks them
_DIGITS = 6  # significant ones; codes are float32


def write_neuronpedia(
    source: RunSite, folder: Path, *, source_set: str | None = None, steering: Directions | None
) -> None:
    """Write dashboards, uploads and, where there are directions, steering vectors.

    Args:
        source: what to write.
        folder: where, already there.
        source_set: name of the set of features on Neuronpedia; ``cofire-METHOD-SITE-K`` when None.
        steering: directions; None leaves them out everywhere.

    Raises:
        InputError: when the model has no name, or Neuronpedia would not take the set's.
        StoreError: when a file cannot be written.
    """
    model = source.named_model()
    method = source.dictionary.provenance.get("method") or "features"
    kind = source.site.kind.replace("_", "-")
    name = source_set or f"cofire-{method}-{kind}-{source.dictionary.n_features}"
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise InputError(
            f"Neuronpedia names a source set with letters, digits and dashes; got {name!r}."
        )
    source_id = f"{source.site.layer}-{name}"
    features = list(source.features)
    for number, start in enumerate(range(0, len(features), FEATURES_A_BATCH)):
        some = [
            (feature, _positive(source, feature))
            for feature in features[start : start + FEATURES_A_BATCH]
        ]
        batch = {
            "model_id": model,
            "layer": source.site.layer,
            "sae_set": name,
            "sae_id_suffix": None,
            "features": [_dashboard(*one, source, steering) for one in some],
        }
        write_json(folder / f"batch-{number}.json", batch)
        upload = {
            "modelId": model,
            "source": source_id,
            "features": [_upload(*one) for one in some],
        }
        write_json(folder / f"upload-{number}.json", upload)
    if steering is not None:
        lines = [
            json.dumps(one, ensure_ascii=False, allow_nan=False) + "\n"
            for one in _vectors(features, model, steering)
        ]
        write_atomically(
            folder / "steering.jsonl",
            lambda file: file.write_text("".join(lines), encoding="utf-8"),
        )
    write_about(
        folder,
        {
            **source.facts(),
            "source_set": name,
            "source": source_id,
            "steering": None if steering is None else about_directions(steering),
        },
    )


def _dashboard(
    feature: Feature,
    positive: Float[np.ndarray, "values"],
    source: RunSite,
    steering: Directions | None,
) -> dict[str, Any]:
    heights, edges = np.histogram(positive, bins=_BARS) if len(positive) else ((), (0.0,))
    neurons = feature.neurons[:_NEURONS] if source.site.kind == "mlp" else ()
    size = sum(abs(weight) for _, weight in feature.neurons)
    vocabulary = feature.vocabulary
    return {
        "feature_index": feature.index,
        "neuron_alignment_indices": [neuron for neuron, _ in neurons],
        "neuron_alignment_values": [_short(weight) for _, weight in neurons],
        "neuron_alignment_l1": [_short(abs(weight) / size) for _, weight in neurons],
        "correlated_neurons_indices": [],
        "correlated_neurons_l1": [],
        "correlated_neurons_pearson": [],
        "correlated_features_indices": [],
        "correlated_features_l1": [],
        "correlated_features_pearson": [],
        "neg_str": [one.token for one in vocabulary.demoted] if vocabulary else [],
        "neg_values": [_short(one.logit) for one in vocabulary.demoted] if vocabulary else [],
        "pos_str": [one.token for one in vocabulary.promoted] if vocabulary else [],
        "pos_values": [_short(one.logit) for one in vocabulary.promoted] if vocabulary else [],
        "frac_nonzero": feature.density,
        "freq_hist_data_bar_heights": [int(height) for height in heights],
        "freq_hist_data_bar_values": [_short((a + b) / 2) for a, b in pairwise(edges)],
        "logits_hist_data_bar_heights": [],
        "logits_hist_data_bar_values": [],
        "n_prompts_total": len(source.run.corpus),
        "n_tokens_in_prompt": int(np.bincount(source.tokens.text_id).max()),
        "dataset": source.data_name,
        "decoder_weights_dist": [],
        "activations": [
            {
                "bin_min": low,
                "bin_max": high,
                "bin_contains": share,
                "tokens": list(context.tokens),
                "values": [_short(code) for code in context.codes],
                "qualifying_token_index": context.focus,
            }
            for context, low, high, share in _binned(feature, positive)
        ],
        "vector": [] if steering is None else _direction(steering, feature.index),
    }


def _upload(feature: Feature, positive: Float[np.ndarray, "values"]) -> dict[str, Any]:
    vocabulary = feature.vocabulary
    return {
        "index": feature.index,
        "density": feature.density,
        "activations": [
            {
                "tokens": list(context.tokens),
                "values": [_short(code) for code in context.codes],
                "quantileMax": None if context.quantile is None else high,
                "quantileMin": None if context.quantile is None else low,
                "quantileFraction": None if context.quantile is None else share,
            }
            for context, low, high, share in _binned(feature, positive)
        ],
        "explanations": [{"text": feature.label, "methodName": "cofire", "modelName": None}]
        if feature.label
        else [],
        "topLogits": _logits(vocabulary.promoted) if vocabulary else None,
        "bottomLogits": _logits(vocabulary.demoted) if vocabulary else None,
    }


def _vectors(
    features: Sequence[Feature], model: str, steering: Directions
) -> Iterator[dict[str, Any]]:
    for feature in features:
        direction = _direction(steering, feature.index)
        if direction:
            yield {
                "modelId": model,
                "layerNumber": steering.site.layer,
                "hookType": steering.site.name.rsplit(".", 1)[-1],
                "vector": direction,
                # Which strength moves the model is for steering to find, not to be guessed here.
                "vectorDefaultSteerStrength": None,
                "vectorLabel": f"{feature.index} {feature.label}".strip(),
            }


def _binned(
    feature: Feature, positive: Float[np.ndarray, "values"]
) -> Iterator[tuple[Context, float, float, float]]:
    """Contexts with the interval of codes each stands for, and the share of codes in it.

    A context at a quantile stands for the codes nearer to its quantile than to any other, by rank.
    """
    for context in feature.contexts:
        yield context, _TOP[0], _short(feature.max_code), _TOP[1]
    ranks = [1.0, *((a + b) / 2 for a, b in pairwise(QUANTILES)), 0.0]
    bounds = np.quantile(positive, ranks) if len(positive) else np.zeros(len(ranks))
    for context in feature.quantile_contexts:
        own = context.quantile or 0.0
        place = min(range(len(QUANTILES)), key=lambda i: abs(QUANTILES[i] - own))
        share = round(ranks[place] - ranks[place + 1], _DIGITS)
        yield context, _short(bounds[place + 1]), _short(bounds[place]), share


def _positive(source: RunSite, feature: Feature) -> Float[np.ndarray, "values"]:
    """The feature's codes above 0 on training texts, as density and contexts count them."""
    column = source.codes[:, feature.index].double().numpy()[source.training]
    return column[column > 0]


def _logits(tokens: Sequence[TokenWeight]) -> list[dict[str, Any]]:
    return [{"token": one.token, "value": _short(one.logit)} for one in tokens]


def _direction(steering: Directions, feature: int) -> list[float]:
    direction = steering.vectors[feature]
    return [_short(value) for value in direction.tolist()] if bool(direction.any()) else []


def _short(value: float) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
