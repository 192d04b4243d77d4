"""Settings of ``cofire capture``; every command that reads a model's activations adds to them."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro
from pydantic import Field

from cofire.config.base import Config, ConfigType, OutputFolder
from cofire.site import SiteKind

_NAMES = ("concepts", "-", "gemma-3-270m")  # no paths, whatever lies in the folder


class CaptureConfig(Config):
    """Collect activations of a model on some texts.

    Every token of every text becomes a row: what the model's neurons did at that token. Special
    tokens and padding are left out. With the same command an interrupted capture goes on.

    Examples:

        cofire capture --layers 0,9-12

        cofire capture --model ./my-llama --data reviews.csv --layers all -o runs/acts
    """

    takes_file: ClassVar[bool] = True

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
    output: OutputFolder = Field(
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
        ge=1,
        description="Tokens of one forward pass, padding included. Default: what suits the device.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number type the model computes in."
    )
    store_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number type activations are kept in."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")

    def with_absolute_paths(self: ConfigType) -> ConfigType:
        """The same settings with local inputs named so that they are found from anywhere."""
        named = ("model", "data", "activations", "sae", "local_model", "llm_prompts")
        inputs = {name: getattr(self, name, None) for name in named}
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
