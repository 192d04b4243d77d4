"""Settings of ``cofire path``."""

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from cofire.config.base import ListingConfig
from cofire.config.capture import CaptureConfig

DEFAULT_PATH = "25,50,100,200,400"
"""Numbers of features of a path when none are given."""


class PathConfig(CaptureConfig, ListingConfig):
    """Vary the number of features, or the sparsity, and see where more stops paying.

    Every point of the path starts at the solution of its neighbour, which costs fewer sweeps and
    keeps features comparable from point to point. The result is a folder with a page (path.html:
    elbow plot, agreement, health), path.json and path.csv, and for k a suggestion, which is a
    heuristic. Finished points are kept; with the same command an interrupted path goes on.

    Examples:

        cofire path runs/acts --layer 9 --k 25,50,100,200,400

        cofire path runs/acts --layer 9 --sparsities 0.005,0.01,0.02,0.05,0.1 -k 100

        cofire path --data concepts --k 20,40,80,160 --seeds 2 -o runs/elbow

        cofire path runs/acts --rows 50000 --k 100,200,400,800,1600
    """

    activations: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = (
        Field(
            None,
            description="Folder made by `cofire capture`; model, texts and site are then its own.",
        )
    )
    layers: Annotated[str | None, tyro.conf.arg(aliases=["--layer"])] = Field(
        None,
        description="The layer, counted from 0; one only. Default: the middle one of a model, the "
        "only one of a folder.",
    )
    k: Annotated[str | None, tyro.conf.arg(aliases=["-k"], metavar="N,N,...")] = Field(
        None,
        description=f"Numbers of features, increasing. Default: {DEFAULT_PATH}; with --sparsities "
        "one number, 100 by default.",
    )
    sparsity: float | None = Field(
        None, description="Share of neurons each feature keeps, 0 to 1. Default: 0.01."
    )
    sparsities: Annotated[str | None, tyro.conf.arg(metavar="S,S,...")] = Field(
        None,
        description="Vary the sparsity instead, in this order: from dense to sparse or from sparse "
        "to dense.",
    )
    cold: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Start every point anew, to compare."
    )
    seeds: int = Field(
        1,
        ge=1,
        description="Walk the path with so many seeds and report how well they agree at each "
        "point; takes as many times as long. Each seed's path keeps what it found early, so that "
        "seeds may agree less than with --cold.",
    )
    rows: int | None = Field(
        None,
        ge=1,
        description="Use at most this many training rows and as many held-out ones: whole texts, "
        "drawn with --seed and held in memory.",
    )
    max_iter: int | None = Field(None, description="Most sweeps a point; default: the solver's.")
    tol: float | None = Field(None, description="Stop tolerance; default: the solver's.")
    code_penalty: float | None = Field(
        None,
        description="L1 penalty on the codes, relative to the median row norm. Default: 0.03.",
    )
