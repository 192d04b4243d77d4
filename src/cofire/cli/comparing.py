"""Commands that compare methods: compare, sweep."""

from typing import Any

import pyarrow.parquet as pq

from cofire.cli.listing import check_form, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import CompareConfig, SweepConfig
from cofire.errors import CofireError
from cofire.store import CompareFolder

_SHOWN = {  # column -> measure and score
    "FVU": ("unexplained-variance", None),
    "L0": ("active-features", None),
    "KL recovered": ("divergence-recovered-mean", None),
    "S_CD": ("concept-detection", "cosine"),
    "best AUROC": ("concept-auroc", "codes"),
    "stability": ("stability", None),
    "steering": ("steering-score", None),
    "gain": ("steering-gain", None),
    "shift": ("steering-shift", None),
}


def compare(config: CompareConfig) -> None:
    """Run ``cofire compare``."""
    from cofire import jobs

    check_form(config)
    _show(jobs.compare(config, TerminalProgress()), config)


def sweep(config: SweepConfig) -> None:
    """Run ``cofire sweep``."""
    from cofire import jobs

    check_form(config)
    _show(jobs.sweep(config, TerminalProgress()), config)


def _show(folder: CompareFolder, config: CompareConfig) -> None:
    from cofire.jobs.comparing import failures
    from cofire.report import write_compare_page

    page = write_compare_page(folder)
    print_listing(_records(folder), config, empty="No finished cell.")
    failed, cells = failures(folder), len(folder.cells)
    if not (config.as_json or config.as_csv):
        for name, sentence in failed.items():
            say(f"Failed: {name}: {sentence}")
        if 0 < len(failed) < cells:
            say(f"{len(failed)} of {cells} cells failed. The same command tries them again.")
        say(f"Page: {page.resolve()}")
    if failed and len(failed) == cells:
        name, sentence = next(iter(failed.items()))
        raise CofireError(f"All {cells} cells failed; the first, {name}: {sentence}")


def _records(folder: CompareFolder) -> list[dict[str, Any]]:
    """A line a method and setting: the figures of all seeds together."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = {of: column for column, of in _SHOWN.items()}
    for row in pq.read_table(folder.path / "results.parquet").to_pylist():
        column = names.get((row["measure"], row["score"]))
        if row["seed"] is not None or column is None:
            continue
        axes = {name: row[name] for name in ("method", "layer", "k", "sparsity")}
        line = found.setdefault(tuple(axes.values()), {**axes, **dict.fromkeys(_SHOWN)})
        line[column] = row["value"]
    return list(found.values())
