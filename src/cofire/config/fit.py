"""Settings of ``cofire fit`` and ``cofire demo``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from cofire.config.base import OutputFolder
from cofire.config.capture import CaptureConfig


class FitConfig(CaptureConfig):
    """Factorise activations into features and read what each one means.

    Rows come from a folder made by `cofire capture`, or straight from a model and texts. The
    result is a run folder; look at it with `cofire features`, `cofire show` and `cofire report`.
    With the same command an interrupted run goes on, in the middle of a layer too. A folder may be
    larger than memory, and several processes can share the work (torchrun).

    Examples:

        cofire fit --layers 9 -k 100

        cofire fit runs/acts -k 400 --sparsity 0.05 -o runs/k400

        cofire fit --config runs/k400/config.yaml -o runs/again

        cofire fit --method sae --sae ./my-sae

        torchrun --nproc-per-node 4 -m cofire fit runs/acts -k 4096
    """

    activations: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = (
        Field(
            None,
            description="Folder made by `cofire capture`; model, texts and site are then its own.",
        )
    )
    method: str = Field("snmf", description="How to factorise; `cofire methods` lists them.")
    sae: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|RELEASE:ID")] = Field(
        None,
        description="With --method sae: a sparse autoencoder that was trained elsewhere, a folder "
        "in SAELens format or RELEASE:ID of SAELens' list. It is read, not fitted; site and layer "
        "are its own. One of MLP neurons can be carried to --site resid_post or mlp_out of its "
        "layer.",
    )
    n_components: Annotated[int, tyro.conf.arg(aliases=["-k"])] = Field(
        100, ge=1, description="Number of features."
    )
    sparsity: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Share of neurons each feature keeps, 0 to 1 (snmf and its controls).",
    )
    sparsity_budget: Literal["atom", "dictionary"] = Field(
        "atom",
        description="What the sparsity holds for: every atom, or the whole dictionary, whose atoms "
        "then differ in size (snmf only).",
    )
    solver: str = Field(
        "bcd",
        description="Solver of snmf: bcd, pgd (projected gradient), or mu for the published "
        "algorithm.",
    )
    init: str | None = Field(None, description="Start of snmf; default: the solver's own.")
    max_iter: int | None = Field(None, ge=1, description="Most sweeps; default: the method's own.")
    tol: float | None = Field(None, ge=0, description="Stop tolerance; default: the method's own.")
    code_penalty: float | None = Field(
        None,
        ge=0,
        description="L1 penalty on the codes, relative to the median row norm (snmf only). "
        "Default: 0.03 for bcd and pgd; 0 is the published objective, with dense codes.",
    )
    max_active: int | None = Field(
        None,
        ge=1,
        description="Most features a token may express at once (snmf, sae-topk, sae-l1).",
    )
    center: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Take the mean row off before factorising (snmf only)."
    )
    n_contexts: int = Field(12, ge=1, description="Top contexts kept for each feature.")


class DemoConfig(FitConfig):
    """Run the main job on a small real model and bundled sentences, and write the report.

    Gemma 3 270M reads 1,290 sentences about 46 concepts; its MLP activations at four layers are
    factorised into 100 features each.

    Example:

        cofire demo
    """

    layers: str | None = Field("0,5,11,17", description="Layers, counted from 0.")
    output: OutputFolder = Field(Path("runs/demo"), description="Output folder.")
