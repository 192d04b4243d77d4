"""Runs, paths and activation stores: versioned, checksummed folders that anyone can read."""

from cofire.store.activation_store import ActivationStore
from cofire.store.compare_folder import CompareFolder
from cofire.store.path_folder import PathFolder
from cofire.store.run import Run

__all__ = ["ActivationStore", "CompareFolder", "PathFolder", "Run"]
