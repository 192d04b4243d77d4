"""The runs that are served: each opened when it is asked for, each with its own problem if any."""

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cofire.errors import CofireError, InputError
from cofire.report.facts import model_name, site_words
from cofire.site import Site
from cofire.store import Run
from cofire.store.archive import MANIFEST
from cofire.store.catalogue import catalogue
from cofire.web.layer import LayerGlimpse, ServedLayer
from cofire.web.records import RunCard
from cofire.web.refusals import UnknownError, UnreadableError
from cofire.web.result_places import ALONE, kind_of, results_alone

_FEATURES_KEPT = 16_000
"""Features of all layers that stay in memory, where there is more than one layer: about 1 GB with
20 contexts each."""

_READING_ERRORS = (CofireError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a folder may raise that somebody writes or deletes meanwhile."""


class Shelf:
    """Runs by their keys. Safe to use from several threads.

    A run is opened anew whenever its manifest changes, so that layers that are finished while it is
    served appear, and what was deleted is said to be missing.

    Args:
        paths: run folders, or folders that hold some.

    Raises:
        InputError: when a path does not exist.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._places: dict[str, Path] = {}
        for path in paths:
            for folder in _run_folders(path):
                self._places[_key(folder, self._places)] = folder
        self._open: dict[str, tuple[float, Run]] = {}
        self._layers: OrderedDict[tuple[str, Site], tuple[Run, ServedLayer]] = OrderedDict()
        self._glimpses: dict[tuple[str, Site], tuple[Run, LayerGlimpse]] = {}
        self._lock = threading.RLock()
        self._loading: dict[tuple[str, Site], threading.Lock] = {}

    @property
    def keys(self) -> list[str]:
        """Keys of all runs, in the order in which they were given."""
        return list(self._places)

    @property
    def folders(self) -> dict[str, Path]:
        """Folders of all runs by their keys."""
        return dict(self._places)

    def cards(self) -> list[RunCard]:
        """One card a run, also for those that cannot be read."""
        return [self.card(key) for key in self._places]

    def card(self, key: str) -> RunCard:
        """The card of one run.

        Raises:
            UnknownError: when there is no such run.
        """
        path = self._place(key)
        try:
            run = self.run(key)
            config = run.config
            sites, missing = run.sites, run.unfinished
            state, problem = "complete", None
            if missing:
                layers = ", ".join(str(site.layer) for site in missing)
                have = f"Layer {layers} has" if len(missing) == 1 else f"Layers {layers} have"
                state = "unfinished" if sites else "unreadable"
                problem = (
                    f"{have} no complete results: the run is still being written, was "
                    "interrupted or lost files; run its fit command again."
                )
            return RunCard(
                run=key,
                path=str(path),
                state=state,
                problem=problem,
                model=model_name(run.manifest),
                method=_text(config.get("method")),
                site=site_words(sites or missing),
                created=_text(run.manifest.get("created")),
                features=_number(config.get("n_components")),
                layers=[site.layer for site in sites],
                unfinished=[site.layer for site in missing],
            )
        except _READING_ERRORS as error:
            return RunCard(
                run=key,
                path=str(path),
                state="unreadable",
                problem=reason(error, path),
                model=None,
                method=None,
                site=None,
                created=None,
                features=None,
                layers=[],
                unfinished=[],
            )

    def run(self, key: str) -> Run:
        """The run as it is now.

        Raises:
            UnknownError: when there is no such run.
            UnreadableError: when its folder cannot be read.
        """
        path = self._place(key)
        try:
            changed = (path / MANIFEST).stat().st_mtime_ns
            with self._lock:
                known = self._open.get(key)
                if known is None or known[0] != changed:
                    self._open[key] = known = (changed, Run.open(path))
                return known[1]
        except _READING_ERRORS as error:
            with self._lock:
                self._open.pop(key, None)
            raise UnreadableError(reason(error, path)) from error

    def glimpses(self, key: str) -> tuple[list[LayerGlimpse], list[str]]:
        """Glimpses of the layers that can be read, and a sentence for everything that cannot.

        Raises:
            UnknownError: when there is no such run.
            UnreadableError: when it cannot be opened at all.
        """
        card = self.card(key)
        found, problems = [], [] if card.problem is None else [card.problem]
        for number in card.layers:
            try:
                found.append(self.glimpse(key, number))
            except UnreadableError as error:
                problems.append(str(error))
        return found, problems

    def layer(self, key: str, layer: int) -> ServedLayer:
        """One layer of a run, from memory where it was read before.

        Raises:
            UnknownError: when there is no such run or layer.
            UnreadableError: when its files cannot be read.
        """
        run, site = self._site(key, layer)
        place = (key, site)
        known = self._known(place, run)
        if known is not None:
            return known
        with self._lock:
            loading = self._loading.setdefault(place, threading.Lock())
        with loading:  # whoever comes second waits and finds it read
            known = self._known(place, run)
            if known is not None:
                return known
            try:
                served = ServedLayer(run, site)
            except _READING_ERRORS as error:
                raise UnreadableError(reason(error, run.path)) from error
            with self._lock:
                self._layers[place] = (run, served)
                while len(self._layers) > 1 and self._listed() > _FEATURES_KEPT:
                    self._layers.popitem(last=False)
            return served

    def glimpse(self, key: str, layer: int) -> LayerGlimpse:
        """What an overview tells of a layer; much quicker to read than the layer.

        Raises:
            UnknownError, UnreadableError: as ``layer``.
        """
        run, site = self._site(key, layer)
        with self._lock:
            known = self._glimpses.get((key, site))
        if known is not None and known[0] is run:
            return known[1]
        try:
            found = LayerGlimpse.of(run, site)
        except _READING_ERRORS as error:
            raise UnreadableError(reason(error, run.path)) from error
        with self._lock:
            self._glimpses[key, site] = (run, found)
        return found

    def _site(self, key: str, layer: int) -> tuple[Run, Site]:
        run = self.run(key)
        try:
            return run, run.site_at(layer)
        except InputError as error:
            unfinished = any(site.layer == layer for site in run.unfinished)
            kind = UnreadableError if unfinished else UnknownError
            raise kind(str(error)) from error

    def _known(self, place: tuple[str, Site], run: Run) -> ServedLayer | None:
        with self._lock:
            known = self._layers.get(place)
            if known is None or known[0] is not run:
                return None
            self._layers.move_to_end(place)
            return known[1]

    def _listed(self) -> int:
        return sum(len(layer) for _, layer in self._layers.values())

    def _place(self, key: str) -> Path:
        path = self._places.get(key)
        if path is None:
            raise UnknownError(
                f"There is no run {key!r} here; the start page lists those there are."
            )
        return path


def reason(error: Exception, path: Path) -> str:
    """Why a folder cannot be read, in one sentence."""
    if isinstance(error, CofireError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"{path} has no {MANIFEST}: it is no run, was deleted, or is just being begun."
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}."
    return f"{path} is damaged ({type(error).__name__}): run its fit command again."


def _run_folders(path: Path) -> list[Path]:
    """The path itself, or the runs below it where it is no run but holds some.

    Folders of other results are no runs.
    """
    if not path.is_dir():
        raise InputError(
            f"There is no folder {path}; name run folders, or a folder that holds some."
        )
    if kind_of(path) is not None:
        return []
    if (path / MANIFEST).exists():
        return [path]
    below = [Path(record["path"]) for record in catalogue(path) if record["kind"] in ("run", "?")]
    if not below and any(any(results_alone([path], kind)) for kind in ALONE):
        return []
    return sorted(below) or [path]


def _key(folder: Path, taken: dict[str, Any]) -> str:
    name = re.sub(r"[^A-Za-z0-9._=+-]", "-", folder.resolve().name)[:80].strip(".-") or "run"
    name = re.sub(r"\.json$", "-json", name)
    key, number = name, 2
    while key in taken:
        key, number = f"{name}-{number}", number + 1
    return key


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
