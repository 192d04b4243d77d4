"""Settings of ``cofire tree``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from cofire.config.base import ListingConfig, RunFolder


class TreeConfig(ListingConfig):
    """Find features of features: a tree over the features of a run.

    The run's features are told by fewer, coarser ones, these by fewer still, with weights >= 0; a
    feature belongs to the parent with the largest share of its weight. Inner nodes are named after
    the contexts that flow through them. The tree is kept in the run folder (trees/), where
    `cofire report` finds it, with a page to zoom in; -o writes it elsewhere as .html, .svg, .json,
    .graphml or .nwk.

    Without --activations the levels are fitted to what the run's features say of its rows; with
    them to the rows themselves, and explained variance is measured on them. The same command shows
    a tree that is there already, by another --secondary or --least too.

    Examples:

        cofire tree runs/demo --layer 11 --levels 50,25

        cofire tree runs/demo --layer 11 --levels 50,25 --activations runs/acts --tune all

        cofire tree runs/demo --layer 11 --levels 50,25 --compare --activations runs/acts

        cofire tree runs/demo --layer 11 --levels 50,25 -o tree.graphml
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    levels: Annotated[str, tyro.conf.arg(metavar="N,N,...")] = Field(
        "50,25", description="Features of the levels above those of the run, decreasing."
    )
    direction: Literal["merge", "split", "cluster"] = Field(
        "merge",
        description="How levels are found: bottom-up, each from the features of the level below "
        "(merge); top-down, the coarsest first, with a first level of its own (split, needs "
        "--activations); or clusters of the run's features (cluster).",
    )
    tune: Literal["above", "all", "none"] = Field(
        "above",
        description="What is tuned together afterwards: the levels above, all with the run's "
        "features too (needs --activations), or none.",
    )
    compare: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Try every direction and print them side by side."
    )
    activations: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = Field(
        None, description="Folder of `cofire capture` with the rows the run was fitted on."
    )
    view: Literal["down", "up"] = Field(
        "down", description="Print parents with their children, or every feature with its parents."
    )
    secondary: float = Field(
        0.25, description="Share of a feature's weight from which a further parent counts."
    )
    least: float = Field(
        0.0, description="Share that the largest parent needs; below it a feature has no parent."
    )
    sparsity: float | None = Field(
        None,
        description="Share of neurons a feature of the first level keeps; coarser levels keep "
        "more. Default: what the run's features keep.",
    )
    code_penalty: float | None = Field(
        None, description="Relative L1 penalty on the weights. Default: 0.03."
    )
    nesting: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None,
        description="JSON file that nests the labels of the texts, to name nodes and score the "
        "tree. Default: the one of the bundled concepts.",
    )
    contexts: int = Field(5, ge=0, description="Contexts kept of every node.")
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = Field(
        None, description="Also write the tree here: .html, .svg, .json, .graphml or .nwk."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
