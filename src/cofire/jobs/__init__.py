"""Whole jobs: what a command does, callable from Python."""

from cofire.jobs.capturing import capture
from cofire.jobs.comparing import compare, sweep
from cofire.jobs.fitting import fit
from cofire.jobs.following import flow
from cofire.jobs.growing import tree
from cofire.jobs.labelling import label
from cofire.jobs.sharing import core, reuse
from cofire.jobs.steering_runs import steer
from cofire.jobs.walking import path
from cofire.jobs.weighing import weights

__all__ = [
    "capture",
    "compare",
    "core",
    "fit",
    "flow",
    "label",
    "path",
    "reuse",
    "steer",
    "sweep",
    "tree",
    "weights",
]
