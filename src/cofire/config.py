"""Typed settings of every command: the same for Python, YAML files and command line flags.

No heavy import here: ``cofire fit --help`` reads this module and must be quick.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cofire.errors import InputError
from cofire.site import SiteKind

_Config = TypeVar("_Config", bound="Config")


_NAMES = ("concepts", "-", "gemma-3-270m")  # no paths, whatever lies in the folder


class Config(BaseModel):
    """Base of all settings: frozen, and a misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def resolved(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        return self.model_dump(mode="json")


class CaptureConfig(Config):
    """Collect activations of a model on some texts.

    Every token of every text becomes a row: what the model's neurons did at that token. Special
    tokens and padding are left out. With the same command an interrupted capture goes on.

    Examples:

        cofire capture --layers 0,9-12

        cofire capture --model ./my-llama --data reviews.csv --layers all -o runs/acts
    """

    model: str = Field(
        "gemma-3-270m",
        description="Model: a hub id, a local folder, a .gguf file, or gemma-3-270m (comes with "
        "the extra cofire[demo], works offline).",
    )
    data: str = Field(
        "concepts",
        description="Texts: concepts (bundled), a .json/.jsonl/.csv/.tsv/.parquet/.txt file, - for "
        "standard input, or a hub dataset as owner/name.",
    )
    site: SiteKind = Field(
        "mlp",
        description="Where in each layer: mlp (neurons after the non-linearity), mlp_out, attn "
        "(head outputs), resid_pre, resid_post.",
    )
    layers: str | None = Field(
        None, description="Layers, counted from 0: 9, or 0,9-12, or all. Default: the middle one."
    )
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FOLDER")] = Field(
        None, description="Output folder. Default: a telling name under runs/."
    )
    text_column: str | None = Field(
        None, description="Column of the text, when not text or prompt."
    )
    label_column: str | None = Field(None, description="Column of the concept, when not label.")
    heldout: float | None = Field(
        None,
        description="Texts to hold out of each label when the data does not say: a number (5) or a "
        "fraction (0.2); the choice does not depend on --seed. Held-out texts are never fitted, "
        "only used to judge.",
    )
    limit: int | None = Field(None, ge=1, description="Read at most this many texts.")
    skip_bad_rows: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Leave out rows and texts that cannot be used, and name them."
    )
    max_length: int | None = Field(
        None,
        ge=2,
        description="Cut texts to this many tokens. Default: the model's context length.",
    )
    bos: bool = Field(True, description="Put the model's BOS token before every text.")
    batch_tokens: int | None = Field(
        None,
        description="Tokens of one forward pass, padding included. Default: what suits the device.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number type the model computes in."
    )
    store_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number type activations are kept in."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, description="Seed of everything random.")

    def with_absolute_paths(self: _Config) -> _Config:
        """The same settings with local inputs named so that they are found from anywhere."""
        inputs = {name: getattr(self, name, None) for name in ("model", "data", "activations")}
        return self.model_copy(
            update={
                name: type(value)(Path(value).resolve())
                for name, value in inputs.items()
                if value is not None and value not in _NAMES and Path(value).exists()
            }
        )


CAPTURE_SETTINGS = (
    "data",
    "site",
    "text_column",
    "label_column",
    "heldout",
    "limit",
    "skip_bad_rows",
    "max_length",
    "bos",
    "dtype",
    "store_dtype",
)
"""Settings that decide which rows a capture gives, beside the model and the layers."""


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

        torchrun --nproc-per-node 4 -m cofire fit runs/acts -k 4096
    """

    activations: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = (
        Field(
            None,
            description="Folder made by `cofire capture`; model, texts and site are then its own.",
        )
    )
    method: str = Field("snmf", description="How to factorise; `cofire methods` lists them.")
    n_components: Annotated[int, tyro.conf.arg(aliases=["-k"])] = Field(
        100, description="Number of features."
    )
    sparsity: float = Field(
        0.01, description="Share of neurons each feature keeps, 0 to 1 (snmf and its controls)."
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
    max_iter: int | None = Field(None, description="Most sweeps; default: the method's own.")
    tol: float | None = Field(None, description="Stop tolerance; default: the method's own.")
    code_penalty: float | None = Field(
        None,
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
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FOLDER")] = Field(
        Path("runs/demo"), description="Output folder."
    )


class ListingConfig(Config):
    """How a listing is printed."""

    as_json: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="json")] = Field(
        False, description="Print JSON."
    )
    as_csv: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="csv")] = Field(
        False, description="Print CSV."
    )
    as_table: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="table")] = Field(
        False, description="Print a table (the default)."
    )


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


_RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


class FeaturesConfig(ListingConfig):
    """List the features of a run.

    Examples:

        cofire features runs/demo --layer 11

        cofire features runs/demo --layer 11 --search monday --json
    """

    run: _RunFolder = Field(description="Run folder.")
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

    run: _RunFolder = Field(description="Run folder.")
    feature: Annotated[int, tyro.conf.Positional] = Field(description="Number of the feature.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    contexts: int = Field(8, ge=0, description="Top contexts to print.")


class RunsConfig(ListingConfig):
    """List the runs, paths and activation stores below a folder.

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
    """

    run: _RunFolder = Field(description="Run folder.")
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = Field(
        None, description="HTML file. Default: report.html in the run folder."
    )


def read_yaml(path: Path, kind: type[_Config]) -> _Config:
    """Read settings from a YAML file; names left out keep their defaults.

    Raises:
        InputError: when the file is missing, is no YAML mapping, or has unknown names or values.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the config {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise InputError(f"{path} is no valid YAML: {reason}.") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path} must hold a mapping of settings, such as `layers: 0,9-12`.")
    for name in loaded:
        if name not in kind.model_fields:
            close = difflib.get_close_matches(str(name), kind.model_fields, 1)
            hint = f"did you mean {close[0]!r}?" if close else "see --help for the names."
            raise InputError(f"{path} has an unknown setting {name!r}; {hint}")
    try:
        return kind(**loaded)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{path}: setting {'.'.join(map(str, first['loc']))!r} is {first['input']!r}; "
            f"{first['msg'][0].lower()}{first['msg'][1:]}."
        ) from error
