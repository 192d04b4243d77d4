"""Settings of ``cofire serve``."""

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from cofire.config.base import Config


class ServeConfig(Config):
    """Open runs in the browser: read, search, compare and steer features, on this computer only.

    Prints an address to open; the token at its end lets the page change labels and use the model.
    Runs that are still being written appear as they grow. Needs the extra `web`.

    Examples:

        cofire serve runs/demo

        cofire serve runs/k100 runs/k200 --port 8080

        cofire serve runs --no-model
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")] = (
        Field(
            (Path("runs"),),
            description="Run folders, or folders that hold runs and stored results.",
        )
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Any but a loopback one lets others read these runs.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port; 0 takes any free one.")
    no_model: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Only read: never load a model."
    )
    device: str = Field("auto", description="Where models compute: auto, cpu, cuda or mps.")
