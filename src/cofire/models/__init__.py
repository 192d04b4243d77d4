"""Language models: load them, find their sites, capture and change activations, continue texts."""

from cofire.models.adapter import LanguageModel
from cofire.models.capture import (
    Captured,
    CaptureSettings,
    capture_activations,
    capture_batches,
    capture_provenance,
    capture_texts,
)
from cofire.models.generation import Continuation, TextGenerator
from cofire.models.handle import SiteHandle
from cofire.models.head import Head
from cofire.models.interventions import (
    Ablate,
    Clamp,
    Intervention,
    Reconstruct,
    Steer,
    intervening,
)
from cofire.models.loading import load_model
from cofire.models.prefix import Prefix
from cofire.models.sampling import SamplingSettings

__all__ = [
    "Ablate",
    "CaptureSettings",
    "Captured",
    "Clamp",
    "Continuation",
    "Head",
    "Intervention",
    "LanguageModel",
    "Prefix",
    "Reconstruct",
    "SamplingSettings",
    "SiteHandle",
    "Steer",
    "TextGenerator",
    "capture_activations",
    "capture_batches",
    "capture_provenance",
    "capture_texts",
    "intervening",
    "load_model",
]
