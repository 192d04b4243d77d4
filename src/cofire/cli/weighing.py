"""The command that takes weights apart."""

from cofire.cli.listing import check_form, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import WeightsConfig


def weights(config: WeightsConfig) -> None:
    """Run ``cofire weights``."""
    from cofire import jobs
    from cofire.report import write_weights_pages

    check_form(config)
    folder = jobs.weights(config, TerminalProgress())
    page = write_weights_pages(folder)
    records = [
        {
            "head": one.name,
            "structure": one.verdict.structure,
            **{pattern.name: pattern.answer for pattern in one.verdict.patterns},
            "copying": None if one.copying is None else one.copying.value,
            "induction": one.induction,
            "stable": None
            if one.evidence.independence is None
            else one.evidence.independence.n_stable,
            "effective rank": one.evidence.spectrum.effective_rank.value,
            **{f"error {name}": value for name, value in one.evidence.errors.items()},
            "seconds": one.seconds,
        }
        for one in folder.heads()
    ]
    print_listing(records, config, empty="No finished head.")
    if not (config.as_json or config.as_csv):
        say(f"Page: {page.resolve()}")
