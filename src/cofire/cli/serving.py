"""The command that serves: serve."""

import sys

from cofire.cli.listing import say
from cofire.config import ServeConfig
from cofire.errors import InputError


def serve(config: ServeConfig) -> None:
    """Run ``cofire serve``."""
    try:
        from cofire.web import serving
    except ImportError as error:
        raise InputError(
            f"cofire serve needs the extra web ({error.name} is missing): "
            "pip install 'cofire[web]'."
        ) from error

    def announce(address: str) -> None:
        say(f"Open {address}")
        say("Ctrl-C ends it.")
        sys.stdout.flush()

    serving.serve(config, announce)
