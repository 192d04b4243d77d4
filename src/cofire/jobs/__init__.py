"""Whole jobs: what a command does, callable from Python."""

from cofire.jobs.capturing import capture
from cofire.jobs.fitting import fit

__all__ = ["capture", "fit"]
