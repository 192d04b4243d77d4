"""Language models: sites found, activations captured and changed, texts continued, weights read."""

from cofire.models.adapter import LanguageModel
from cofire.models.capture import (
    Captured,
    CaptureSettings,
    capture_activations,
    capture_batches,
    capture_provenance,
    capture_texts,
)
from cofire.models.embeddings import embedding, unembedding
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
from cofire.models.patterns import attention_patterns, read_patterns
from cofire.models.prefix import Prefix
from cofire.models.weights import (
    AttentionShape,
    HeadMatrices,
    MlpMatrices,
    attention_shape,
    head_matrices,
    mlp_weights,
    ov,
    qk,
)
from cofire.sampling import SamplingSettings

__all__ = [
    "Ablate",
    "AttentionShape",
    "CaptureSettings",
    "Captured",
    "Clamp",
    "Continuation",
    "Head",
    "HeadMatrices",
    "Intervention",
    "LanguageModel",
    "MlpMatrices",
    "Prefix",
    "Reconstruct",
    "SamplingSettings",
    "SiteHandle",
    "Steer",
    "TextGenerator",
    "attention_patterns",
    "attention_shape",
    "capture_activations",
    "capture_batches",
    "capture_provenance",
    "capture_texts",
    "embedding",
    "head_matrices",
    "intervening",
    "load_model",
    "mlp_weights",
    "ov",
    "qk",
    "read_patterns",
    "unembedding",
]
