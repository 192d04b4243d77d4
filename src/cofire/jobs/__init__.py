"""Whole jobs: what a command does, callable from Python."""

from cofire.jobs.capturing import capture
from cofire.jobs.fitting import fit
from cofire.jobs.growing import tree
from cofire.jobs.walking import path

__all__ = ["capture", "fit", "path", "tree"]
