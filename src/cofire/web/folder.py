"""The explorer's pages as a folder of plain files, for any web host.

::

    index.html, static/      the pages, the same as those of the server
    data/                    their JSON twins, under the addresses that the server gives them
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from cofire.errors import InputError, StoreError
from cofire.progress import SILENT, Progress
from cofire.report.embedding import embed_json
from cofire.web import reading
from cofire.web.records import FeaturePage, Record, RunCard, RunList
from cofire.web.records.results import DocumentCard, ResultCard, ResultList
from cofire.web.results import Results
from cofire.web.shelf import Shelf

MOST_LINES = 20_000
"""Lines of a stored table that are put into the folder; longer tables are left out."""

_KINDS = {  # of results, and the folder that holds them
    "tree": "tree",
    "core": "core",
    "reuse": "reuse",
    "flow": "flow",
    "stack": "stack",
    "weights": "weights",
    "comparisons": "compare",
    "path": "path",
}
_WITH_PATHS = ("manifest", "verdicts")  # documents that hold settings such as folders
_STORED = 'data-source="stored"'
_PARTS = (".js", ".css", ".svg")

_logger = logging.getLogger(__name__)


def write_folder(runs: Sequence[Path], output: Path, *, progress: Progress = SILENT) -> Path:
    """Write everything there is to read in some runs as a folder of pages.

    The pages are those of the explorer without what needs a server: testing, steering, editing
    labels. They must lie on a web host, since browsers read no data from pages of a disk.

    Args:
        runs: run folders, or folders that hold some.
        output: a folder that does not exist, is empty, or was written by this function before.
        progress: shown while writing.

    Returns:
        The folder.

    Raises:
        InputError: when a run folder does not exist, or the output holds something else.
        StoreError: when no run can be read, or the folder cannot be written.
    """
    _check_output(output)
    shelf, results = Shelf(runs), Results(runs)
    cards = [card for card in shelf.cards() if card.layers]
    if not cards:
        raise StoreError(f"No finished layer in {', '.join(map(str, runs))}; run fit again.")
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _copy_pages(partial)
        features = sum(len(shelf.layer(card.run, n)) for card in cards for n in card.layers)
        with progress.task("Writing pages", features, "feature") as advance:
            for address, record in _twins(shelf, results, cards):
                _write(partial / "data" / f"{address}.json", record)
                if isinstance(record, FeaturePage):
                    advance(1)
        shutil.rmtree(output, ignore_errors=True)
        os.replace(partial, output)
    except OSError as error:
        raise StoreError(f"Cannot write {output}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(partial)
    _logger.info("Wrote %s.", output)
    return output


def _check_output(output: Path) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    index = output / "index.html"
    if not index.is_file() or _STORED not in index.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"{output} holds something else; name an empty folder, or one that is to be made."
        )


def _copy_pages(folder: Path) -> None:
    pages = Path(str(files("cofire.web"))) / "static"
    shared = Path(str(files("cofire.report"))) / "assets"
    for source, place in ((pages, "static"), (shared, "static/shared")):
        for file in sorted(source.rglob("*")):
            if file.suffix in _PARTS:
                copy = folder / place / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    page = (pages / "index.html").read_text(encoding="utf-8")
    for served, stored in (
        ('<html lang="en">', f'<html lang="en" {_STORED}>'),
        ('"/static/', '"static/'),
        ('href="/"', 'href="#/"'),
    ):
        page = page.replace(served, stored)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _twins(shelf: Shelf, results: Results, cards: list[RunCard]) -> Iterator[tuple[str, Record]]:
    """Every record that the pages ask for, by its address."""
    listed = [card.model_copy(update={"path": card.run}) for card in cards]
    alone = [one.model_copy(update={"path": one.result}) for one in results.alone()]
    yield "index", RunList(cofire_version=version("cofire"), runs=listed, results=alone)
    for card in listed:
        glimpses, problems = shelf.glimpses(card.run)
        run = shelf.run(card.run)
        yield f"runs/{card.run}", reading.overview(card.run, card, run, glimpses, problems)
        for glimpse in glimpses:
            layer = shelf.layer(card.run, glimpse.site.layer)
            place = f"runs/{card.run}/{layer.site.layer}/features"
            yield (
                place,
                reading.feature_list(
                    card.run, layer, offset=0, limit=len(layer), sort="feature", order="asc"
                ),
            )
            for index in range(len(layer)):
                yield f"{place}/{index}", reading.feature_page(card.run, layer, index)
    for kind, stored_as in _KINDS.items():
        found = [_exported(card) for card in results.cards(stored_as, shelf.folders)]
        for address in (kind, f"results/{kind}"):
            yield address, ResultList(kind=kind, results=found)
        for result in found:
            for one in result.documents:
                yield (
                    f"results/{kind}/{result.result}/{one.document}",
                    results.document(
                        stored_as,
                        result.result,
                        one.document,
                        shelf.folders,
                        offset=0,
                        limit=MOST_LINES,
                        where={},
                    ),
                )


def _exported(card: ResultCard) -> ResultCard:
    """A result without where it lay, and without what is too long or tells of this computer."""

    def kept(one: DocumentCard) -> bool:
        long = one.rows is not None and one.rows > MOST_LINES
        return one.document not in _WITH_PATHS and not long

    documents = [one for one in card.documents if kept(one)]
    return card.model_copy(update={"path": card.result, "documents": documents, "problem": None})


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(embed_json(record.model_dump(mode="json"))), encoding="utf-8")
