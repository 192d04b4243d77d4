"""Figures of weights as ``EvalResult`` records of the framework Mechanistic Validity.

The framework keeps one record a metric: ``metric_id``, ``value``, baselines, number of samples,
interval, what instrument gave it, and metadata; a file holds them under ``results`` beside
``provenance`` and ``config`` (its ``metrics/common.py``). ICA and NMF of weights are its metric
B08; B01 (spectra), B07 (polysemanticity) and B09 (weight classifier) are its neighbours.

Deviation: the framework's ``value`` is always a number; here it is null where a figure was not
measured or a pattern is undecided, and never a number in their place.
"""

import math
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from cofire.weights.evidence import Evidence
from cofire.weights.nulls import AgainstNull
from cofire.weights.verdict import Verdict

_ANSWERS = {"yes": 1.0, "no": 0.0, "undecided": None}

_INSTRUMENTS = {
    "B01": {
        "name": "SVD of weights",
        "paper_cite": "Roy & Vetterli 2007",
        "description": "effective rank and ratios of singular values",
        "category": "structural",
    },
    "B07": {
        "name": "Polysemanticity",
        "description": "participation ratio, fan-out over the vocabulary, specificity of ablation",
        "category": "structural",
    },
    "B08": {
        "name": "ICA and NMF of weights",
        "paper_cite": "Hyvärinen & Oja 2000; Lee & Seung 1999; Himberg et al. 2004",
        "description": "independent and non-negative components beside SVD at equal k, with nulls",
        "category": "structural",
    },
    "B09": {
        "name": "Weight classifier, its features only",
        "description": "effective rank, norm, σ₁/σ₂, alignment of reading and writing",
        "category": "structural",
    },
}


def eval_results(
    subject: Mapping[str, Any],
    evidence: Evidence,
    verdict: Verdict,
    *,
    copying: AgainstNull | None = None,
    self_alignment: AgainstNull | None = None,
    fan_out: float | None = None,
    specificity: float | None = None,
    random_specificity: float | None = None,
) -> list[dict[str, Any]]:
    """The records of one matrix.

    Args:
        subject: what was looked at (model, matrix, layer, head), into the metadata.
        evidence: its figures.
        verdict: what they came to.
        copying: copying score beside its null, where it was measured.
        self_alignment: how far W reads what it writes beside its null, likewise.
        fan_out: mean share of tokens that the components write to.
        specificity: 1 − |Δ other| / |Δ own| under ablation, where it was measured.
        random_specificity: the same of random mixtures of the components.

    Returns:
        Plain JSON values; a pattern has the value 1 for yes, 0 for no and null for undecided.
    """
    spectrum, ica, parts = evidence.spectrum, evidence.independence, evidence.parts
    found = [
        _held("B01.effective_rank", spectrum.effective_rank, subject),
        _plain("B01.spectral_ratio", spectrum.top_ratio, subject),
        _held("B07.effective_rank", spectrum.effective_rank, subject),
        _held("B07.participation_ratio", spectrum.participation_ratio, subject),
        _plain("B07.fan_out", fan_out, subject),
        _plain("B07.specificity", specificity, subject, baseline=random_specificity),
        _plain("B09.frobenius_norm", spectrum.norm, subject),
        _plain("B09.top_two_ratio", spectrum.top_two, subject),
        _held("B08.svd_relative_error", spectrum.error, subject),
        _held("B08.components_90", spectrum.components_90, subject),
    ]
    if copying is not None:
        found.append(_held("B09.copying_score", copying, subject))
    if self_alignment is not None:
        found.append(_held("B09.alignment", self_alignment, subject))
    if ica is not None:
        found += [
            _held("B08.ica_negentropy", ica.rescaled, subject),
            _held("B08.ica_dependence", ica.dependence, subject),
            _plain(
                "B08.ica_stable_components", ica.n_stable, subject, baseline=ica.stable_by_chance
            ),
        ]
    if parts is not None:
        found += [
            _held("B08.nmf_relative_error", parts.rescaled, subject),
            _held("B08.nmf_fit", parts.fit_rescaled, subject),
            _held("B08.nmf_sparsity", parts.sparsity_rescaled, subject),
        ]
    for pattern in verdict.patterns:
        found.append(
            _plain(
                f"B08.pattern.{pattern.name}",
                _ANSWERS[pattern.answer],
                subject,
                answer=pattern.answer,
                because=pattern.because,
                figures=dict(pattern.figures),
                does_not_establish=verdict.caveat,
            )
        )
    return found


def envelope(results: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of results holds: where they come from, settings, and the records."""
    return {
        "provenance": {
            "timestamp": datetime.now(UTC).isoformat(),
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "package_version": f"cofire {version('cofire')}",
            "git": {},  # there for readers of the format; a released package has no checkout
        },
        "config": dict(config),
        "results": [dict(result) for result in results],
    }


def _held(metric: str, held: AgainstNull, subject: Mapping[str, Any]) -> dict[str, Any]:
    return _plain(
        metric,
        held.value,
        subject,
        baseline=held.mean,
        samples=held.draws,
        null=held.null,
        null_sd=held.sd,
        z=held.z,
        p=held.p,
    )


def _plain(
    metric: str,
    value: float | int | None,
    subject: Mapping[str, Any],
    *,
    baseline: float | int | None = None,
    samples: int = 0,
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "metric_id": metric,
        "value": _finite(value),
        "baseline_random": _finite(baseline),
        "baseline_untrained": None,
        "baseline_literature": None,
        "n_samples": samples,
        "ci_low": None,
        "ci_high": None,
        "faithfulness_curve": None,
        "cpr": None,
        "cmd": None,
        "instrument_info": dict(_INSTRUMENTS[metric[:3]]),
        "metadata": {**subject, **metadata},
    }


def _finite(value: float | int | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
