"""Runs and activation stores: versioned, checksummed folders that anyone can read."""

from cofire.store.activation_store import ActivationStore
from cofire.store.run import Run

__all__ = ["ActivationStore", "Run"]
