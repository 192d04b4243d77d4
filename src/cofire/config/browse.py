"""Settings of the commands that read what is stored."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from cofire.config.base import Config, ListingConfig, RunFolder


class FeaturesConfig(ListingConfig):
    """List the features of a run.

    Examples:

        cofire features runs/demo --layer 11

        cofire features runs/demo --layer 11 --search monday --json
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    search: str | None = Field(
        None, description="Only features with this in their label, concept or tokens."
    )
    concept: str | None = Field(None, description="Only features that select this concept best.")
    sort: Literal["index", "auroc", "density", "max_code", "label"] = Field(
        "index", description="Order; figures come highest first."
    )
    limit: int | None = Field(None, ge=1, description="Print at most this many.")


class ShowConfig(ListingConfig):
    """Show one feature: label, contexts, neurons, promoted and demoted tokens, concepts.

    Example:

        cofire show runs/demo 12 --layer 11
    """

    run: RunFolder = Field(description="Run folder.")
    feature: Annotated[int, tyro.conf.Positional] = Field(description="Number of the feature.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    contexts: int = Field(8, ge=0, description="Top contexts to print.")


class RunsConfig(ListingConfig):
    """List the runs, paths, comparisons, weights and activation folders below a folder.

    Example:

        cofire runs
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Field(
        Path("runs"), description="Where to look."
    )


class MethodsConfig(ListingConfig):
    """List the methods that `cofire fit --method` takes."""


class ReportConfig(Config):
    """Write the report of a run: one HTML file that opens in any browser, without network.

    Example:

        cofire report runs/demo -o demo.html

        cofire report runs/demo --folder demo-pages

    A folder holds the pages of ``cofire serve``, for any web host; it needs the extra web.
    """

    run: RunFolder = Field(description="Run folder.")
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = Field(
        None, description="HTML file. Default: report.html in the run folder."
    )
    comparison: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = Field(
        None,
        description="Folder made by `cofire compare`; its figures at the run's layers are put into "
        "the report.",
    )
    folder: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = Field(
        None, description="Write the explorer's pages into this folder instead."
    )
