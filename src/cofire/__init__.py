"""cofire: groups of neurons that fire together in a transformer, and what each one means.

Everything here is imported when it is first used, so that ``import cofire`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cofire.activations import Activations
    from cofire.baselines import load_public_sae, load_sae, save_sae
    from cofire.config import (
        CaptureConfig,
        CompareConfig,
        ExportConfig,
        FitConfig,
        PathConfig,
        SweepConfig,
        WeightsConfig,
    )
    from cofire.corpus import Corpus, Text
    from cofire.data import load_corpus
    from cofire.dictionary import Dictionary
    from cofire.errors import CofireError
    from cofire.evaluation.comparisons import compare_all
    from cofire.evaluation.described import describe_features
    from cofire.evaluation.detection import detect
    from cofire.evaluation.detection_sentences import labelled_sentences
    from cofire.evaluation.diagnosis import diagnose
    from cofire.evaluation.knee import suggest_k
    from cofire.evaluation.measurement import Measurement
    from cofire.evaluation.measures import measure_named, measures
    from cofire.evaluation.path import PathSettings, walk_path
    from cofire.evaluation.path_points import PathStep
    from cofire.evaluation.stability import split_halves, stability
    from cofire.evaluation.steering import Steering
    from cofire.evaluation.steering_records import SteeringCell, SteeringSettings, plan_cells
    from cofire.exports import DictionaryTransformer, export_run
    from cofire.factorization import HierarchicalSemiNMF, SemiNMF
    from cofire.interpret.carrying import carry_to_residual
    from cofire.interpret.reading import Feature, FeatureSet, read_features
    from cofire.jobs.replacing import measure_replacing, with_equal_activity
    from cofire.jobs.steering import judge_steered, steer_dictionary
    from cofire.models import CaptureSettings, LanguageModel, capture_activations, load_model
    from cofire.site import Site
    from cofire.store import ActivationStore, CompareFolder, PathFolder, Run
    from cofire.store.weights_folder import WeightsFolder

_HOME = {
    "ActivationStore": "cofire.store",
    "Activations": "cofire.activations",
    "CaptureConfig": "cofire.config",
    "CaptureSettings": "cofire.models",
    "CofireError": "cofire.errors",
    "CompareConfig": "cofire.config",
    "CompareFolder": "cofire.store",
    "Corpus": "cofire.corpus",
    "Dictionary": "cofire.dictionary",
    "DictionaryTransformer": "cofire.exports",
    "ExportConfig": "cofire.config",
    "Feature": "cofire.interpret.reading",
    "FeatureSet": "cofire.interpret.reading",
    "FitConfig": "cofire.config",
    "HierarchicalSemiNMF": "cofire.factorization",
    "LanguageModel": "cofire.models",
    "Measurement": "cofire.evaluation.measurement",
    "PathConfig": "cofire.config",
    "PathFolder": "cofire.store",
    "PathSettings": "cofire.evaluation.path",
    "PathStep": "cofire.evaluation.path_points",
    "Run": "cofire.store",
    "SemiNMF": "cofire.factorization",
    "Site": "cofire.site",
    "Steering": "cofire.evaluation.steering",
    "SteeringCell": "cofire.evaluation.steering_records",
    "SteeringSettings": "cofire.evaluation.steering_records",
    "SweepConfig": "cofire.config",
    "Text": "cofire.corpus",
    "WeightsConfig": "cofire.config",
    "WeightsFolder": "cofire.store.weights_folder",
    "capture_activations": "cofire.models",
    "carry_to_residual": "cofire.interpret.carrying",
    "compare_all": "cofire.evaluation.comparisons",
    "describe_features": "cofire.evaluation.described",
    "detect": "cofire.evaluation.detection",
    "diagnose": "cofire.evaluation.diagnosis",
    "export_run": "cofire.exports",
    "judge_steered": "cofire.jobs.steering",
    "labelled_sentences": "cofire.evaluation.detection_sentences",
    "load_corpus": "cofire.data",
    "load_model": "cofire.models",
    "load_public_sae": "cofire.baselines",
    "load_sae": "cofire.baselines",
    "measure_named": "cofire.evaluation.measures",
    "measure_replacing": "cofire.jobs.replacing",
    "measures": "cofire.evaluation.measures",
    "plan_cells": "cofire.evaluation.steering_records",
    "read_features": "cofire.interpret.reading",
    "save_sae": "cofire.baselines",
    "split_halves": "cofire.evaluation.stability",
    "stability": "cofire.evaluation.stability",
    "steer_dictionary": "cofire.jobs.steering",
    "suggest_k": "cofire.evaluation.knee",
    "walk_path": "cofire.evaluation.path",
    "with_equal_activity": "cofire.jobs.replacing",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cofire' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
