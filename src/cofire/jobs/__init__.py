"""Whole jobs: what a command does, callable from Python."""

from cofire.jobs.capturing import capture
from cofire.jobs.fitting import fit
from cofire.jobs.walking import path
from cofire.jobs.weighing import weights

__all__ = ["capture", "fit", "path", "weights"]
