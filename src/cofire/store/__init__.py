"""Runs, paths and activation stores: versioned, checksummed folders that anyone can read."""

from cofire.store.activation_store import ActivationStore
from cofire.store.path_folder import PathFolder
from cofire.store.run import Run
from cofire.store.weights_folder import WeightsFolder

__all__ = ["ActivationStore", "PathFolder", "Run", "WeightsFolder"]
