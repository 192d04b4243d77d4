"""Whole jobs: what a command does, callable from Python."""

from cofire.jobs.capturing import capture
from cofire.jobs.comparing import compare, sweep
from cofire.jobs.fitting import fit
from cofire.jobs.growing import tree
from cofire.jobs.labelling import label
from cofire.jobs.steering_runs import steer
from cofire.jobs.walking import path
from cofire.jobs.weighing import weights

__all__ = ["capture", "compare", "fit", "label", "path", "steer", "sweep", "tree", "weights"]
