"""Language models: load them, find their sites, capture activations."""

from cofire.models.adapter import LanguageModel
from cofire.models.capture import (
    Captured,
    CaptureSettings,
    capture_activations,
    capture_batches,
    capture_provenance,
    capture_texts,
)
from cofire.models.handle import SiteHandle
from cofire.models.loading import load_model

__all__ = [
    "CaptureSettings",
    "Captured",
    "LanguageModel",
    "SiteHandle",
    "capture_activations",
    "capture_batches",
    "capture_provenance",
    "capture_texts",
    "load_model",
]
