"""Commands that read what is stored: features, show, runs, methods, report."""

from dataclasses import asdict
from pathlib import Path

from cofire.cli.feature_page import print_feature, print_judged
from cofire.cli.listing import output, print_json, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import FeaturesConfig, MethodsConfig, ReportConfig, RunsConfig, ShowConfig
from cofire.errors import InputError
from cofire.store import CompareFolder, Run
from cofire.store.judged import judged_features


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
    judged = judged_features(run, found.site).get(feature.index)
    if config.as_json:
        print_json({**asdict(feature), "judged": None if judged is None else asdict(judged)})
    elif config.as_csv:
        records = [
            {"rank": rank, "code": c.code, "token": c.tokens[c.focus], "text": "".join(c.tokens)}
            for rank, c in enumerate(feature.contexts[: config.contexts])
        ]
        print_listing(records, config, empty="")
    else:
        console = output()
        print_feature(console, feature, contexts=config.contexts)
        if judged is not None:
            print_judged(console, judged)


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
    records.append(
        {
            "method": "sae",
            "what it finds": "Nothing: reads a sparse autoencoder that was trained elsewhere",
            "settings": "sae",
            "source": "SAELens",
        }
    )
    print_listing(records, config, empty="No methods.")


def report(config: ReportConfig) -> None:
    """Run ``cofire report``."""
    from cofire.report import write_report

    if config.folder is not None:
        say(str(_pages(config.run, config.folder).resolve()))
    if config.folder is None or config.output is not None:
        comparison = None if config.comparison is None else CompareFolder.open(config.comparison)
        path: Path = write_report(Run.open(config.run), config.output, comparison=comparison)
        say(str(path.resolve()))


def _pages(run: Path, folder: Path) -> Path:
    try:
        from cofire.web.folder import write_folder
    except ImportError as error:
        raise InputError(
            f"A folder of pages needs the extra web ({error.name} is missing): "
            "pip install 'cofire[web]'."
        ) from error
    Run.open(run)  # says what is wrong when it is none
    return write_folder([run], folder, progress=TerminalProgress())
