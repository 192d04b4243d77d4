"""Settings of ``cofire weights``."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro
from pydantic import Field

from cofire.config.base import ListingConfig, OutputFolder


class WeightsConfig(ListingConfig):
    """Take weight matrices apart and judge whether the parts mean anything.

    Every matrix is decomposed by SVD, ICA, NMF of its magnitudes and semi-NMF, all with the same
    number of components. Every figure is held against matrices without structure; ICA is run many
    times and only components that come back count. For W_OV each component is read through the
    vocabulary: copy, suppress or transform. Every head is watched on texts: where it looks and what
    it raises. The result is a folder with pages (weights.html and one a head), tables
    (heads.parquet, components.parquet), verdicts.json and the factors. Finished heads are kept;
    with the same command an interrupted run goes on; other --data only watch the heads again.

    Examples:

        cofire weights gemma-3-270m --layers 9 --heads all

        cofire weights gemma-3-270m --matrix ov --layers 0-17 --heads all \
--methods svd,ica,nmf,snmf -o runs/ov

        cofire weights ./my-llama --matrix mlp-out --layers 4 -k 32 --seeds 40

        cofire weights gemma-3-270m --layers 9 --features runs/mlp-features

        cofire weights gemma-3-270m --layers 9 --data reviews.csv
    """

    takes_file: ClassVar[bool] = True

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = Field(
        "gemma-3-270m",
        description="Model: a hub id, a local folder, a .gguf file, or gemma-3-270m.",
    )
    data: str = Field(
        "concepts",
        description="Texts on which heads are watched, the held-out ones where there are any: "
        "concepts (bundled), a .json/.jsonl/.csv/.tsv/.parquet/.txt file, - for standard input, or "
        "a hub dataset as owner/name.",
    )
    text_column: str | None = Field(
        None, description="Column of the text, when not text or prompt."
    )
    matrix: Literal["ov", "qk", "mlp-in", "mlp-gate", "mlp-out"] = Field(
        "ov",
        description="Which matrix: ov (W_V W_O of a head), qk (W_Q W_K of a head), or one of the "
        "MLP's. The norms around it are folded in.",
    )
    layers: Annotated[str, tyro.conf.arg(aliases=["--layer"])] = Field(
        "all", description="Layers, counted from 0: 9, or 0,9-12, or all."
    )
    heads: Annotated[str, tyro.conf.arg(aliases=["--head"])] = Field(
        "all", description="Heads of each layer, counted from 0: 2, or 0,2-3, or all."
    )
    methods: Annotated[str, tyro.conf.arg(metavar="M,M,...")] = Field(
        "svd,ica,nmf,snmf", description="Which of svd, ica, nmf, snmf; svd is always there."
    )
    n_components: Annotated[int, tyro.conf.arg(aliases=["-k"])] = Field(
        16, ge=2, description="Components of each method; at most the rank of the matrix."
    )
    samples: Literal["rows", "columns"] | None = Field(
        None,
        description="Over which side sources are independent and codes live. Default: columns "
        "(what is written), for mlp-out rows (the neurons).",
    )
    seeds: int = Field(
        20, ge=2, description="Runs of ICA for its stability, half of them on bootstraps."
    )
    algorithm: Literal["fastica", "picard"] = Field(
        "fastica", description="Of ICA; picard needs the extra cofire[picard]."
    )
    draws: int = Field(10, ge=3, description="Matrices of each null.")
    sparsity: float = Field(
        1.0, gt=0, le=1, description="Share of entries an atom of snmf keeps, 0 to 1."
    )
    features: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = Field(
        None,
        description="Run folder of `cofire fit`, whose features components are matched with (the "
        "residual stream, or MLP features carried there).",
    )
    ablate: int = Field(
        0,
        ge=0,
        description="Take so many components of svd, and of the stable ones of ica, out of each "
        "head and measure what it does to the next token (ov only; slow).",
    )
    tokens: int = Field(8, ge=1, description="Tokens kept at each end of a component.")
    output: OutputFolder = Field(
        None, description="Output folder. Default: a telling name under runs/."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number type the model is loaded in; weights are read as float32."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps, for the model.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
