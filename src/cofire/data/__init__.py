"""Texts to capture activations on: the bundled concepts, files, and dataset hubs."""

from cofire.corpus import SkippedRow
from cofire.data.heldout import hold_out
from cofire.data.loading import OnError, bundled_concepts, load_corpus

__all__ = ["OnError", "SkippedRow", "bundled_concepts", "hold_out", "load_corpus"]
