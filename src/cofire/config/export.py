"""Settings of ``cofire export``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from cofire.config.base import Config, OutputFolder, RunFolder


class ExportConfig(Config):
    """Write the features of a run for another tool.

    saelens: a folder that SAELens opens anywhere. Nonnegative least squares is replaced by a linear
    encoder with thresholds, fitted to its codes on the run's rows; what that loses is printed and
    kept in the folder. The rows come from --activations, or are captured again.

    saelens-exact: the same with exact codes; opens in SAELens after `import
    cofire.exports.nnls_sae`.

    saedashboard: directions in the residual stream, as a vector set of SAEDashboard.

    neuronpedia: dashboards, uploads and steering vectors of Neuronpedia.

    delphi: codes as cached latents of EleutherAI's delphi.

    csv, parquet: features, contexts, neurons, tokens, concepts, texts, and codes in long form.

    Features of MLP neurons live among those neurons (hook_post). Their directions in the residual
    stream are images through W_out, which need the model; --image makes an SAE of the images.

    Examples:

        cofire export runs/demo --layer 11 --to saelens -o runs/demo-sae

        cofire export runs/demo --layer 11 --to neuronpedia -o runs/demo-neuronpedia

        cofire export runs/demo --layer 11 --to parquet
    """

    run: RunFolder = Field(description="Run folder.")
    to: Literal[
        "saelens", "saelens-exact", "saedashboard", "neuronpedia", "delphi", "csv", "parquet"
    ] = Field(description="Format.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    site: str | None = Field(
        None, description="The site by its full name instead, such as blocks.9.mlp.hook_post."
    )
    output: OutputFolder = Field(
        None,
        description="A new folder; nothing is overwritten. Default: one in exports/ of the run.",
    )
    image: Literal["resid_post", "mlp_out"] | None = Field(
        None,
        description="Export the images of MLP features at this site of their layer (saelens, "
        "saelens-exact).",
    )
    activations: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = Field(
        None, description="Folder of `cofire capture` with the run's rows (saelens)."
    )
    model_name: str | None = Field(
        None, description="What the other tool calls the model. Default: as the run does."
    )
    source_set: str | None = Field(
        None, description="Name of the set of features on Neuronpedia (neuronpedia)."
    )
    without_model: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Leave out steering vectors, which need the model (neuronpedia)."
    )
    window: int | None = Field(None, ge=2, description="Tokens of a window (delphi). Default: 32.")
    shards: int | None = Field(
        None, ge=1, description="Files to split the features over (delphi). Default: 1."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
