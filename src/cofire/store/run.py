"""Runs: a folder with the dictionaries of one model and everything read from them.

Layout, format version 1::

    manifest.json                         resolved config, model, data, hardware, figures, checksums
    config.yaml                           the resolved config; `cofire fit --config` takes it back
    labels.json                           labels that people gave to features, if any
    texts.parquet                         text, label, group, detail, split, source; line i is the
                                          text with text_id i
    blocks.9.mlp.hook_post/               one folder a site
        dictionary.safetensors            atoms [features channels], and encoder tensors if any
        codes.safetensors                 codes [rows features], rows in the order of rows.parquet
        rows.parquet                      text_id, position, token_id, token of every row
        objective.parquet                 one line a sweep of the solver
        features.parquet, contexts.parquet, neurons.parquet, vocabulary.parquet, concepts.parquet
    steering/blocks.9.mlp.hook_post/, labels/blocks.9.mlp.hook_post/
                                          tables that were added later, see ``Run.add_tables``
    trees/blocks.9.mlp.hook_post/         trees of the features of a site (tree_parts.py)
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.torch import load_file, save_file

from cofire.activations import TokenTable
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError, StoreError
from cofire.evaluation.fidelity import Fidelity
from cofire.interpret.display import run_html
from cofire.interpret.reading import FeatureSet
from cofire.site import Site
from cofire.store.archive import MANIFEST, Archive, damaged
from cofire.store.archive_folder import ArchiveFolder
from cofire.store.feature_tables import SCHEMAS, from_tables, to_tables
from cofire.store.label_file import read_labels, write_label
from cofire.store.run_features import RunFeatures
from cofire.store.text_file import TEXTS, read_texts, restore_texts, text_writer
from cofire.store.token_file import read_tokens, token_table
from cofire.types import CodeMatrix

_CONFIG = "config.yaml"


class Run(ArchiveFolder):
    """A stored run. Made by ``create``, found again by ``open``.

    >>> run = Run.open("runs/demo")                                      # doctest: +SKIP
    >>> run.features(run.sites[0])[12].label                             # doctest: +SKIP
    >>> run.features[12]                # where there is one site only   # doctest: +SKIP
    """

    format = "cofire-run"
    required = MappingProxyType({"sites": dict, "config": dict})

    def __init__(self, archive: Archive) -> None:
        super().__init__(archive)
        self._features: dict[Site, FeatureSet] = {}

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        config: Mapping[str, Any],
        sites: Sequence[Site],
        corpus: Corpus | Mapping[str, Any] | None = None,
        **header: Any,
    ) -> "Run":
        """Start a run without results.

        Args:
            path: a folder that does not exist or is empty.
            config: the resolved config, plain JSON values.
            sites: the sites that will be filled.
            corpus: the texts, which the run then keeps; or only what the manifest is to say of
                them.
            header: further entries of the manifest (model, hardware).

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        parts: dict[str, Callable[[Path], object]] = {
            _CONFIG: lambda file: file.write_text(text, encoding="utf-8")
        }
        if isinstance(corpus, Corpus):
            parts[TEXTS] = text_writer(corpus)
            corpus = {"texts": len(corpus), "sha256": corpus.fingerprint}
        return cls._begin(
            path,
            {
                **header,
                **({} if corpus is None else {"corpus": dict(corpus)}),
                "config": dict(config),
                "sites": {site.name: None for site in sites},
            },
            parts,
        )

    def _check(self) -> None:
        for name, record in self.manifest["sites"].items():
            if not isinstance(record, dict | None):
                raise damaged(self.path, f"the record of {name} is none")

    @property
    def blank(self) -> bool:
        """Whether no site was ever finished; a site that lost a file since was."""
        return not any(self.manifest["sites"].values())

    def discard(self) -> None:
        """Remove a blank run, so that another can begin in its folder.

        Raises:
            StoreError: when a site was finished.
        """
        if not self.blank:
            raise StoreError(f"{self.path} has finished results; remove it by hand if you mean to.")
        for name in self.manifest["sites"]:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for part in (*self.manifest["parts"], MANIFEST):
            (self.path / part).unlink(missing_ok=True)

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""
        return dict(self.manifest["config"])

    @cached_property
    def corpus(self) -> Corpus:
        """The texts that ``tokens(site).text_id`` points to.

        Raises:
            StoreError: when they are missing or damaged.
        """
        return read_texts(self._archive)

    def restore_texts(self, corpus: Corpus) -> bool:
        """Write the texts when they are missing or damaged; tells whether they were.

        Raises:
            StoreError: when the run was begun with other texts.
        """
        return restore_texts(self._archive, corpus)

    @property
    def sites(self) -> list[Site]:
        """Sites with complete results, in order."""
        return sorted(Site.parse(name) for name in self.manifest["sites"] if self._done(name))

    @property
    def unfinished(self) -> list[Site]:
        """Sites still without results."""
        return sorted(Site.parse(name) for name in self.manifest["sites"] if not self._done(name))

    def _done(self, name: str) -> bool:
        parts = [part for part in self.manifest["parts"] if part.startswith(f"{name}/")]
        return bool(self.manifest["sites"][name]) and all(self._archive.has(p) for p in parts)

    def site_at(self, layer: int | None = None) -> Site:
        """The finished site of a layer; without a layer, the only one there is.

        Raises:
            InputError: when there is none, or several and no layer was named.
        """
        if not self.sites:
            raise InputError(f"{self.path} has no finished layer yet; run its fit command again.")
        if layer is None:
            if len(self.sites) > 1:
                layers = ", ".join(str(site.layer) for site in self.sites)
                raise InputError(f"This run has layers {layers}; choose one with --layer.")
            return self.sites[0]
        for site in self.sites:
            if site.layer == layer:
                return site
        layers = ", ".join(str(site.layer) for site in self.sites)
        raise InputError(f"This run has no finished layer {layer}; it has {layers}.")

    def write_site(
        self,
        dictionary: Dictionary,
        codes: CodeMatrix,
        tokens: TokenTable,
        features: FeatureSet,
        *,
        objective: Sequence[Mapping[str, Any]],
        figures: Mapping[str, Any],
    ) -> None:
        """Store the results of one site; the site counts as done when all of it is on disk.

        Args:
            dictionary: atoms and encoder.
            codes: [rows features] of all rows, held-out ones included.
            tokens: one line a row of ``codes``.
            features: what was read.
            objective: one record a sweep of the solver; may be empty.
            figures: anything else worth keeping (stop reason, seconds), plain JSON values.
        """
        site = dictionary.site
        write = self._archive.write
        tensors = {name: tensor.cpu().contiguous() for name, tensor in dictionary.tensors().items()}
        write(f"{site.name}/dictionary.safetensors", partial(save_file, tensors))
        write(
            f"{site.name}/codes.safetensors",
            partial(save_file, {"codes": codes.cpu().contiguous()}),
        )
        tables = {
            "rows": token_table(tokens),
            "objective": pa.Table.from_pylist([dict(record) for record in objective]),
            **to_tables(features),
        }
        for name, table in tables.items():
            write(f"{site.name}/{name}.parquet", partial(pq.write_table, table))
        self._archive.manifest["sites"][site.name] = {
            "dictionary": dictionary.settings(),
            "fit": asdict(features.fit),
            "heldout": None if features.heldout is None else asdict(features.heldout),
            **figures,
        }
        self._archive.save()

    def dictionary(self, site: Site) -> Dictionary:
        """The dictionary of one site."""
        settings = self._record(site).get("dictionary")
        if settings is None:
            raise self._other_version(f"The manifest lacks the dictionary at {site}")
        tensors = load_file(self._archive.file(f"{site.name}/dictionary.safetensors"))
        return Dictionary.from_parts(tensors, settings)

    def codes(self, site: Site) -> CodeMatrix:
        """Codes [rows features] of all rows, held-out ones included."""
        self._record(site)
        return load_file(self._archive.file(f"{site.name}/codes.safetensors"))["codes"]

    def tokens(self, site: Site) -> TokenTable:
        """One line a row of ``codes``."""
        self._record(site)
        return read_tokens(self._archive.file(f"{site.name}/rows.parquet"))

    def objective(self, site: Site) -> list[dict[str, Any]]:
        """One record a sweep of the solver; empty for methods without sweeps."""
        self._record(site)
        records: list[dict[str, Any]] = self._table(site, "objective").to_pylist()
        return records

    def figures(self, site: Site) -> Mapping[str, Any]:
        """What the manifest says of one site."""
        return self._record(site)

    @property
    def features(self) -> RunFeatures:
        """The features of one site, ``run.features(site)``; of the only site, ``run.features[12]``.

        They are read from their tables (once), with the labels that people gave.

        Raises:
            InputError: for ``run.features[12]`` of a run with several sites.
            StoreError: when there are none, they are damaged, or another version wrote them.
        """
        return RunFeatures(self._features_at, self.site_at)

    def _features_at(self, site: Site) -> FeatureSet:
        if site not in self._features:
            found = self.features_of(site, self.tables(site))
            given = read_labels(self.path, site)
            named = [replace(f, label=given.get(f.index, f.label)) for f in found]
            self._features[site] = replace(found, features=tuple(named))
        return self._features[site]

    def add_tables(
        self, name: str, tables: Mapping[str, pa.Table], record: Mapping[str, Any]
    ) -> None:
        """Store tables beside the results of the fit; those of the same name are replaced.

        Args:
            name: of the folder they stand in, such as ``steering/blocks.9.mlp.hook_post``.
            tables: by name.
            record: what to say of them in the manifest, under ``added``; plain JSON values.
        """
        for key, table in tables.items():
            self._archive.write(f"{name}/{key}.parquet", partial(pq.write_table, table))
        added = self._archive.manifest.setdefault("added", {})
        added[name] = {**record, "tables": list(tables)}
        self._archive.save()

    def added_tables(self, name: str) -> tuple[dict[str, pa.Table], Mapping[str, Any]] | None:
        """Tables that were added under a name and what was said of them; None when none were.

        Raises:
            StoreError: when one is missing or damaged.
        """
        record = self.manifest.get("added", {}).get(name)
        if record is None:
            return None
        found = {
            key: pq.read_table(self._archive.file(f"{name}/{key}.parquet"))
            for key in record["tables"]
        }
        return found, record

    def write_part(self, part: str, write: Callable[[Path], object]) -> None:
        """Keep a further file beside the sites, named in the manifest with its checksum.

        Args:
            part: its path within the folder, outside the folders of sites.
            write: writes it.
        """
        self._archive.write(part, write)
        self._archive.save()

    def part_file(self, part: str) -> Path | None:
        """A further file, after checking it; None where there is none.

        Raises:
            StoreError: when it does not match its checksum.
        """
        return self._archive.file(part) if self._archive.has(part) else None

    def label_feature(self, site: Site, feature: int, label: str | None) -> None:
        """Give a feature a label of one's own, or take it back; kept in ``labels.json``.

        Raises:
            InputError: for an empty label, or a feature that does not exist.
            StoreError: when the site has no results, or the folder cannot be written.
        """
        n_features = self.table(site, "features").num_rows
        if not 0 <= feature < n_features:
            raise InputError(
                f"Feature {feature} does not exist: there are features 0 to {n_features - 1}."
            )
        write_label(self.path, site, feature, label)
        self._features.pop(site, None)

    def given_labels(self, site: Site) -> dict[int, str]:
        """The labels that people gave to features of a site, by the features' numbers.

        Raises:
            StoreError: when the file of labels is damaged.
        """
        return read_labels(self.path, site)

    def tables(self, site: Site) -> dict[str, pa.Table]:
        """The tables that the features of one site are read from, see ``SCHEMAS``.

        Raises:
            StoreError: when there are none, they are damaged, or another version wrote them.
        """
        self._record(site)
        return {name: self.table(site, name) for name in SCHEMAS}

    def table(self, site: Site, name: str) -> pa.Table:
        """One of these tables.

        Raises:
            InputError: when no table is called so.
            StoreError: as ``tables``.
        """
        if name not in SCHEMAS:
            raise InputError(f"There is no table {name!r}; there are {', '.join(SCHEMAS)}.")
        self._record(site)
        return self._table(site, name)

    def features_of(self, site: Site, tables: Mapping[str, pa.Table]) -> FeatureSet:
        """The features that stand in some lines of the tables, with the labels cofire made.

        Thousands of features with their contexts are many objects: who shows one at a time gives
        the lines of one, and who lists them leaves out tables that a list does not need.

        Raises:
            StoreError: when the manifest lacks the figures.
        """
        record = self._record(site)
        return from_tables(
            tables,
            site,
            self._fidelity(site, record.get("fit")),
            self._fidelity(site, record["heldout"]) if record.get("heldout") else None,
        )

    def _fidelity(self, site: Site, record: Any) -> Fidelity:
        known = {field.name for field in fields(Fidelity)}
        if not isinstance(record, dict) or not known <= set(record):
            raise self._other_version(f"The manifest lacks figures of the fit at {site}")
        return Fidelity(**{name: record[name] for name in known})

    def _table(self, site: Site, name: str) -> pa.Table:
        part = f"{site.name}/{name}.parquet"
        table = pq.read_table(self._archive.file(part))
        if name not in SCHEMAS:
            return table
        columns = SCHEMAS[name].names
        missing = [column for column in columns if column not in table.column_names]
        if missing:
            raise self._other_version(f"{self.path / part} has no column {missing[0]!r}")
        return table.select(columns)

    def _other_version(self, what: str) -> StoreError:
        return StoreError(
            f"{what}: an older cofire ({self.manifest.get('cofire_version', '?')}) wrote this run. "
            "Fit again into a new folder."
        )

    def _record(self, site: Site) -> dict[str, Any]:
        record: dict[str, Any] | None = self.manifest["sites"].get(site.name)
        if record is None:
            known = ", ".join(s.name for s in self.sites) or "none yet"
            raise StoreError(f"{self.path} has no finished results at {site}; it has {known}.")
        return record

    def _repr_html_(self) -> str:
        return run_html(str(self.path), self.manifest, [site.name for site in self.unfinished])

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {[site.name for site in self.sites]})"
