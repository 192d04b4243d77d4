"""What each command does: parse, call one library function, print."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from cofire.cli.feature_page import print_feature
from cofire.cli.listing import check_form, print_json, print_listing
from cofire.cli.progress import TerminalProgress
from cofire.config import (
    CaptureConfig,
    DemoConfig,
    FeaturesConfig,
    FitConfig,
    MethodsConfig,
    PathConfig,
    ReportConfig,
    RunsConfig,
    ShowConfig,
)
from cofire.errors import InputError
from cofire.store import Run


def capture(config: CaptureConfig) -> None:
    """Run ``cofire capture``."""
    from cofire import jobs

    store = jobs.capture(config, TerminalProgress())
    _say(f"{store.n_rows:,} rows at {', '.join(map(str, store.sites))} in {store.path}")
    _say(f"Next: cofire fit {store.path}")


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
    _say(f"Next: cofire features {run.path}   or   cofire report {run.path}")


def demo(config: DemoConfig) -> None:
    """Run ``cofire demo``."""
    from cofire import jobs
    from cofire.report import write_report

    run = jobs.fit(config, TerminalProgress())
    _print_summary(run)
    _say(f"Report: {write_report(run).resolve()}")


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
            _say("\n" + "\n".join(folder.suggestion.words))
        _say(f"Page: {page.resolve()}")


def features(config: FeaturesConfig) -> None:
    """Run ``cofire features``."""
    run = Run.open(config.run)
    found = run.features(run.site_at(config.layer))
    chosen = list(found)
    if config.search is not None:
        chosen = found.search(config.search)
    if config.concept is not None:
        selecting = {feature.index for feature in found.selecting(config.concept)}
        chosen = [feature for feature in chosen if feature.index in selecting]
    records = [
        {
            "feature": feature.index,
            "label": feature.label,
            "concept": feature.concept.concept if feature.concept else None,
            "auroc": feature.concept.auroc if feature.concept else None,
            "sure": feature.concept.sure if feature.concept else None,
            "density": feature.density,
            "max_code": feature.max_code,
            "neurons": len(feature.neurons),
            "flags": ", ".join(feature.flags),
        }
        for feature in chosen
    ]
    if config.sort == "label":
        records.sort(key=lambda record: str(record["label"]))
    elif config.sort != "index":
        records.sort(key=lambda record: -(record[config.sort] or 0.0))  # type: ignore[operator]
    print_listing(records[: config.limit], config, empty="No feature matches.")


def show(config: ShowConfig) -> None:
    """Run ``cofire show``."""
    run = Run.open(config.run)
    found = run.features(run.site_at(config.layer))
    if not 0 <= config.feature < len(found):
        raise InputError(
            f"Feature {config.feature} does not exist: this layer has features 0 to "
            f"{len(found) - 1}."
        )
    feature = found[config.feature]
    if config.as_json:
        print_json(asdict(feature))
    elif config.as_csv:
        records = [
            {"rank": rank, "code": c.code, "token": c.tokens[c.focus], "text": "".join(c.tokens)}
            for rank, c in enumerate(feature.contexts[: config.contexts])
        ]
        print_listing(records, config, empty="")
    else:
        print_feature(Console(file=sys.stdout), feature, contexts=config.contexts)


def runs(config: RunsConfig) -> None:
    """Run ``cofire runs``."""
    from cofire.store.catalogue import catalogue

    print_listing(
        catalogue(config.folder),
        config,
        empty=f"No runs below {config.folder}; make one with `cofire fit` or `cofire demo`.",
    )


def methods(config: MethodsConfig) -> None:
    """Run ``cofire methods``."""
    from cofire.registry import methods as registered

    records = [
        {
            "method": method.name,
            "what it finds": method.summary,
            "settings": ", ".join(sorted(method.honours)),
            "source": method.source,
        }
        for method in registered().values()
    ]
    print_listing(records, config, empty="No methods.")


def report(config: ReportConfig) -> None:
    """Run ``cofire report``."""
    from cofire.report import write_report

    path: Path = write_report(Run.open(config.run), config.output)
    sys.stdout.write(f"{path.resolve()}\n")


def _print_summary(run: Run) -> None:
    from cofire.store.summary import summary

    records: list[dict[str, Any]] = summary(run)
    print_listing(records, MethodsConfig(), empty="No finished layer.")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
