"""One layer of a run as the explorer reads it: lists from memory, contexts a feature at a time."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cofire.activations import TokenTable
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.interpret.positive_codes import PositiveCodes
from cofire.interpret.reading import Feature, FeatureSet, searchable
from cofire.report.facts import site_title
from cofire.report.figures import LayerFigures, site_figures
from cofire.site import Site
from cofire.store import Run
from cofire.store.feature_tables import SCHEMAS
from cofire.store.label_file import FILE as LABELS
from cofire.store.text_file import TEXTS
from cofire.types import Float
from cofire.web.measures import measured
from cofire.web.refusals import UnknownError

_LISTED_WITHOUT = ("contexts",)  # tables a list does not need


@dataclass(frozen=True, eq=False)
class LayerGlimpse:
    """What an overview tells of a layer, read without its contexts and tokens.

    Attributes:
        site: where it is.
        title: its name among the layers of the run.
        summary: its figures.
        objective: one record a sweep of the solver.
    """

    site: Site
    title: str
    summary: LayerFigures
    objective: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, run: Run, site: Site) -> "LayerGlimpse":
        """Read it.

        Raises:
            StoreError: when a file is missing or damaged.
        """
        concepts = run.table(site, "concepts")
        lines = {name: schema.empty_table() for name, schema in SCHEMAS.items()}
        lines["features"] = _without_types(run.table(site, "features"))
        lines["neurons"] = run.table(site, "neurons")
        # Every feature was tried on the same concepts: one of them names all.
        lines["concepts"] = concepts.filter(pc.equal(concepts["feature"], 0))
        return cls(
            site=site,
            title=site_title(site, run.sites),
            summary=site_figures(run.features_of(site, lines), run.figures(site)),
            objective=run.objective(site),
        )


class ServedLayer:
    """The features of one site.

    The tables of contexts stay columns; what a list shows of every feature is made once, codes and
    atoms when they are first asked for. Safe to use from several threads.

    Args:
        run: an open run.
        site: one of its finished sites.

    Raises:
        StoreError: when a file is missing or damaged.
    """

    def __init__(self, run: Run, site: Site) -> None:
        self.site = site
        self.manifest: Mapping[str, Any] = run.manifest
        self.folder = run.path
        self.title = site_title(site, run.sites)
        self._run = run
        self._lock = threading.RLock()
        self._tables = {name: _by_feature(table) for name, table in run.tables(site).items()}
        self._starts = {
            name: np.searchsorted(
                table["feature"].to_numpy(), np.arange(self._tables["features"].num_rows + 1)
            )
            for name, table in self._tables.items()
        }
        listed = {
            name: table.slice(0, 0) if name in _LISTED_WITHOUT else table
            for name, table in self._tables.items()
        }
        # Every feature was tried on the same concepts: one of them names all.
        listed["concepts"] = self._lines("concepts", 0)
        self.features: FeatureSet = run.features_of(site, listed)
        self.figures: Mapping[str, Float[np.ndarray, "features"]] = measured(self.features)
        self._labels: tuple[int, dict[int, str]] = (-1, {})
        self.given_labels()

    def __len__(self) -> int:
        return len(self.features)

    def feature(self, index: int) -> Feature:
        """One feature with everything there is to read of it.

        Raises:
            UnknownError: when there is no such feature.
        """
        self.check(index)
        lines = {name: self._lines(name, index) for name in self._tables}
        return self._run.features_of(self.site, lines)[0]

    def check(self, index: int) -> None:
        """Refuse the number of a feature that does not exist.

        Raises:
            UnknownError: saying which there are.
        """
        if not 0 <= index < len(self):
            raise UnknownError(
                f"Feature {index} does not exist: layer {self.site.layer} has features 0 to "
                f"{len(self) - 1}."
            )

    def given_labels(self) -> Mapping[int, str]:
        """Labels that people gave, read again when their file changes.

        Raises:
            StoreError: when the file is damaged.
        """
        try:
            changed = (self._run.path / LABELS).stat().st_mtime_ns
        except OSError:
            changed = 0
        if self._labels[0] != changed:
            self._labels = (changed, self._run.given_labels(self.site))
        return self._labels[1]

    @property
    def edited(self) -> Collection[int]:
        """Features whose label somebody gave, as of the last ``given_labels``."""
        return self._labels[1].keys()

    def label(self, index: int) -> str:
        """The label of a feature: the one that somebody gave, else the one cofire made."""
        return self._labels[1].get(index, self.features[index].label)

    def give_label(self, index: int, label: str | None) -> None:
        """Give a feature a label, or take it back.

        Raises:
            UnknownError: when there is no such feature.
            StoreError: when the run's folder cannot be written.
        """
        self.check(index)
        self._run.label_feature(self.site, index, label)
        self._labels = (-1, {})
        self.given_labels()

    @cached_property
    def concepts(self) -> list[str]:
        """Concepts that are the best of some feature, in alphabetical order."""
        return sorted({f.concept.concept for f in self.features if f.concept is not None})

    @property
    def search_texts(self) -> list[str]:
        """For every feature the text that a search looks in."""
        with self._lock:
            return self._search_texts

    @property
    def codes(self) -> PositiveCodes:
        """Where the features fire; read when first used."""
        with self._lock:
            return self._codes

    @property
    def text_starts(self) -> np.ndarray:
        """The first row of every text that has rows, and one more than the last row."""
        with self._lock:
            return self._text_starts

    @property
    def corpus(self) -> Corpus | None:
        """The texts; None where the run was made without keeping them."""
        with self._lock:
            return self._corpus

    @property
    def counted(self) -> Literal["train", "all"]:
        """Which rows ``codes`` counts: all where it is not known which are held out."""
        return "all" if self.corpus is None else "train"

    @cached_property
    def summary(self) -> LayerFigures:
        """The figures of the layer."""
        return site_figures(self.features, self._run.figures(self.site))

    @cached_property
    def objective(self) -> list[dict[str, Any]]:
        """One record a sweep of the solver."""
        return self._run.objective(self.site)

    @property
    def tokens(self) -> TokenTable:
        """One line a row of the codes; read when first used."""
        with self._lock:
            return self._tokens

    @property
    def dictionary(self) -> Dictionary:
        """Atoms and encoder; read when first used."""
        with self._lock:
            return self._dictionary

    @cached_property
    def _search_texts(self) -> list[str]:
        return [searchable(feature) for feature in self.features]

    @cached_property
    def _tokens(self) -> TokenTable:
        return self._run.tokens(self.site)

    @cached_property
    def _text_starts(self) -> np.ndarray:
        edges = np.flatnonzero(np.diff(self._tokens.text_id)) + 1
        return np.concatenate([[0], edges, [len(self._tokens)]])

    @cached_property
    def _dictionary(self) -> Dictionary:
        return self._run.dictionary(self.site)

    @cached_property
    def _codes(self) -> PositiveCodes:
        rows = None
        if self._corpus is not None:
            trained = np.array([text.split != "heldout" for text in self._corpus], dtype=bool)
            rows = trained[self._tokens.text_id]
        return PositiveCodes(self._run.codes(self.site), rows)

    @cached_property
    def _corpus(self) -> Corpus | None:
        return self._run.corpus if TEXTS in self.manifest["parts"] else None

    def _lines(self, name: str, index: int) -> pa.Table:
        start, stop = self._starts[name][index : index + 2]
        return self._tables[name].slice(start, stop - start)


def _without_types(features: pa.Table) -> pa.Table:
    place = features.column_names.index("firing_types")
    kind = features.schema.field(place)
    none = pa.array([[]] * features.num_rows, kind.type)
    return features.set_column(place, kind, none)


def _by_feature(table: pa.Table) -> pa.Table:
    """The table in one piece, its lines in order of the features and as they were within one."""
    numbers = table["feature"].to_numpy()
    if np.any(numbers[1:] < numbers[:-1]):
        table = table.take(np.argsort(numbers, kind="stable"))
    return table.combine_chunks()
