"""The command ``export``: features for other tools."""

from cofire.cli.listing import say
from cofire.cli.progress import TerminalProgress
from cofire.config import ExportConfig


def export(config: ExportConfig) -> None:
    """Run ``cofire export``."""
    from cofire.exports import export_run

    exported = export_run(config, TerminalProgress())
    for note in exported.notes:
        say(note)
    say(str(exported.path.resolve()))
