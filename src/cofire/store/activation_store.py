"""Activations on disk: safetensors shards read as memory maps, with a token table each.

Layout, format version 1::

    manifest.json                              settings, model, shards, checksums
    texts.parquet                              text, label, group, detail, split, source
    shard-00000/tokens.parquet                 text_id, position, token_id, token
    shard-00000/blocks.9.mlp.hook_post.safetensors     "activations" [rows channels]

A shard holds a run of consecutive texts and is the unit of resuming: what is named in the manifest
is done, the rest is still to do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import StoreError
from cofire.site import Site
from cofire.store.archive import Archive
from cofire.store.token_file import read_tokens, token_table
from cofire.types import ActivationMatrix, Tensor

FORMAT = "cofire-activations"
FORMAT_VERSION = 1

_TEXTS = "texts.parquet"
_CHARACTERS_PER_SHARD = 250_000  # about 60,000 tokens of English: 0.5 GB at 2,048 channels


def shard_slices(corpus: Corpus) -> list[tuple[int, int]]:
    """Cut a corpus into runs of texts [start, stop) of similar size, the same way every time."""
    slices: list[tuple[int, int]] = []
    start = characters = 0
    for i, text in enumerate(corpus):
        characters += len(text.text)
        if characters >= _CHARACTERS_PER_SHARD or i == len(corpus) - 1:
            slices.append((start, i + 1))
            start, characters = i + 1, 0
    return slices


class ActivationStore:
    """A folder of activations at one or more sites of one model.

    Made by ``create``, found again by ``open``; ``activations(site)`` gives the rows.
    """

    def __init__(self, archive: Archive, corpus: Corpus) -> None:
        self._archive = archive
        self.corpus = corpus

    @classmethod
    def create(
        cls, path: Path, corpus: Corpus, sites: Iterable[Site], header: Mapping[str, Any]
    ) -> "ActivationStore":
        """Start a store with its texts and no shard yet.

        Args:
            path: a folder that does not exist or is empty.
            corpus: all texts, in the order of their ids.
            sites: the sites every shard will hold.
            header: model, settings; plain JSON values, compared when a capture goes on.
        """
        archive = Archive.create(
            path,
            format=FORMAT,
            format_version=FORMAT_VERSION,
            header={
                **header,
                "corpus": {"texts": len(corpus), "sha256": corpus.fingerprint},
                "sites": [site.name for site in sites],
                "shards": [
                    {"texts": [start, stop], "rows": None} for start, stop in shard_slices(corpus)
                ],
            },
        )
        table = pa.Table.from_pylist([asdict(text) for text in corpus], schema=_TEXT_SCHEMA)
        archive.write(_TEXTS, partial(pq.write_table, table))
        archive.save()
        return cls(archive, corpus)

    @classmethod
    def open(cls, path: Path | str) -> "ActivationStore":
        """Open a store; its shards are checked when they are read.

        Raises:
            StoreError: when the folder is no store, is damaged or of a newer format.
        """
        archive = Archive.open(Path(path), format=FORMAT, format_version=FORMAT_VERSION)
        table = pq.read_table(archive.file(_TEXTS))
        names = {field.name for field in fields(Text)}
        rows = table.select([name for name in table.column_names if name in names]).to_pylist()
        return cls(archive, Corpus(Text(**row) for row in rows))

    @staticmethod
    def present(path: Path) -> bool:
        """Whether a store was begun in this folder."""
        return Archive.present(path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._archive.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Settings, model and parts, as plain JSON values."""
        return self._archive.manifest

    @property
    def sites(self) -> list[Site]:
        """Sites every shard holds."""
        return [Site.parse(name) for name in self.manifest["sites"]]

    @property
    def n_rows(self) -> int:
        """Rows captured so far."""
        return sum(shard["rows"] or 0 for shard in self.manifest["shards"])

    @property
    def complete(self) -> bool:
        """Whether every shard is done."""
        return not self.unfinished()

    def unfinished(self) -> list[tuple[int, tuple[int, int]]]:
        """Shards still to capture: (number, texts [start, stop)).

        A shard with a part missing from disk counts as unfinished.
        """
        return [
            (i, (shard["texts"][0], shard["texts"][1]))
            for i, shard in enumerate(self.manifest["shards"])
            if shard["rows"] is None or not all(self._archive.has(part) for part in self._parts(i))
        ]

    def write_shard(self, number: int, tokens: TokenTable, X: Mapping[Site, Tensor]) -> None:
        """Write one shard; it counts as done only when every part is safe on disk.

        Args:
            number: which shard.
            tokens: one line a row; text ids are those of the whole corpus.
            X: [rows channels] for every site of the store.
        """
        if len(tokens) and set(X) != set(self.sites):
            raise StoreError(f"A shard of {self.path} must hold exactly the sites of the store.")
        table = token_table(tokens)
        self._archive.write(_tokens_part(number), partial(pq.write_table, table))
        for site, rows in X.items():
            self._archive.write(
                _site_part(number, site),
                partial(save_file, {"activations": rows.contiguous()}),
            )
        self._archive.manifest["shards"][number]["rows"] = len(tokens)
        self._archive.save()

    def activations(self, site: Site) -> Activations:
        """The rows at one site, as memory maps of the shards.

        Raises:
            StoreError: when the store has no such site, is incomplete or corrupted.
        """
        if site not in self.sites:
            known = ", ".join(self.manifest["sites"])
            raise StoreError(f"{self.path} holds no activations at {site}; it holds {known}.")
        if not self.complete:
            done = len(self.manifest["shards"]) - len(self.unfinished())
            raise StoreError(
                f"{self.path} is incomplete: {done} of {len(self.manifest['shards'])} shards are "
                "there. Run the same capture command again; it goes on where it stopped."
            )
        tables, shards = [], []
        for number in range(len(self.manifest["shards"])):
            tables.append(read_tokens(self._archive.file(_tokens_part(number))))
            shards.append(_map_rows(self._archive.file(_site_part(number, site))))
        return Activations(
            shards=tuple(shards),
            tokens=TokenTable.concatenate(tables),
            corpus=self.corpus,
            site=site,
            provenance={key: self.manifest[key] for key in ("model", "corpus", "capture")},
        )

    def _parts(self, number: int) -> list[str]:
        return [_tokens_part(number), *(_site_part(number, site) for site in self.sites)]

    def __repr__(self) -> str:
        return f"ActivationStore({str(self.path)!r}, {self.n_rows} rows, {self.manifest['sites']})"


_TEXT_SCHEMA = pa.schema([(field.name, pa.string()) for field in fields(Text)])


def _tokens_part(number: int) -> str:
    return f"shard-{number:05d}/tokens.parquet"


def _site_part(number: int, site: Site) -> str:
    return f"shard-{number:05d}/{site.name}.safetensors"


def _map_rows(path: Path) -> ActivationMatrix:
    try:
        with safe_open(path, framework="pt") as file:  # maps the file, copies nothing
            return file.get_tensor("activations")
    except SafetensorError as error:
        raise StoreError(f"{path} cannot be read: {error}.") from error
