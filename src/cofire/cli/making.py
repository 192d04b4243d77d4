"""Commands that compute: capture, fit, demo, path."""

import logging
from typing import Any

from cofire.cli.listing import check_form, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import CaptureConfig, DemoConfig, FitConfig, MethodsConfig, PathConfig
from cofire.store import Run


def capture(config: CaptureConfig) -> None:
    """Run ``cofire capture``."""
    from cofire import jobs

    store = jobs.capture(config, TerminalProgress())
    say(f"{store.n_rows:,} rows at {', '.join(map(str, store.sites))} in {store.path}")
    say(f"Next: cofire fit {store.path}")


def fit(config: FitConfig) -> None:
    """Run ``cofire fit``, one of several processes where torchrun started it."""
    from cofire import jobs
    from cofire.jobs.processes import joined

    with joined(config.device) as ranks:
        if ranks.rank > 0:
            logging.getLogger("cofire").setLevel(logging.ERROR)  # the first one says it
            jobs.fit(config, ranks=ranks)
            return
        run = jobs.fit(config, TerminalProgress(), ranks)
    _print_summary(run)
    say(f"Next: cofire features {run.path}   or   cofire report {run.path}")


def demo(config: DemoConfig) -> None:
    """Run ``cofire demo``."""
    from cofire import jobs
    from cofire.report import write_report

    run = jobs.fit(config, TerminalProgress())
    _print_summary(run)
    say(f"Report: {write_report(run).resolve()}")


def path(config: PathConfig) -> None:
    """Run ``cofire path``."""
    from cofire import jobs
    from cofire.report import write_path_page

    check_form(config)
    folder = jobs.path(config, TerminalProgress())
    page = write_path_page(folder)
    records = [
        {
            "k": point.n_components,
            "sparsity": point.sparsity,
            "held-out loss": point.loss_heldout,
            "training loss": point.loss_train,
            "active": point.active,
            "concepts": point.concepts,
            "agreement": point.agreement,
            "survived": point.survived,
            "seeds agree": point.seed_agreement,
            "dead": point.dead,
            "duplicate": point.duplicate,
            "sweeps": point.sweeps,
            "seconds": point.seconds,
            "start": "neighbour" if point.warm else "anew",
        }
        for point in folder.points
    ]
    print_listing(records, config, empty="No finished point.")
    if not (config.as_json or config.as_csv):
        if folder.suggestion is not None:
            say("\n" + "\n".join(folder.suggestion.words))
        say(f"Page: {page.resolve()}")


def _print_summary(run: Run) -> None:
    from cofire.store.summary import LEGEND, summary

    records: list[dict[str, Any]] = summary(run)
    print_listing(records, MethodsConfig(), empty="No finished layer.")
    if records:
        say(f"\n{LEGEND}\n")
