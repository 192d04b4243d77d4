"""Activations on disk: safetensors shards read as memory maps, with a token table each.

Layout, format version 1::

    manifest.json                              settings, model, shards, checksums, what was left out
    texts.parquet                              text, label, group, detail, split, source
    shard-00000/tokens.parquet                 text_id, position, token_id, token
    shard-00000/blocks.9.mlp.hook_post.safetensors     "activations" [rows channels]

A shard holds a run of consecutive texts and is the unit of resuming: what is named in the manifest
is done, the rest is still to do. Its record names the texts that were cut (``truncated``) and those
without tokens (``skipped``); ``skipped_rows`` are rows of the source that could not be read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
from safetensors.torch import save_file

from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus, SkippedRow
from cofire.errors import StoreError
from cofire.rows_on_disk import RowsOnDisk
from cofire.site import Site
from cofire.store.archive import damaged
from cofire.store.archive_folder import ArchiveFolder
from cofire.store.text_file import TEXTS, read_texts, restore_texts, text_writer
from cofire.store.token_file import read_tokens, token_table
from cofire.types import Tensor

_TENSOR = "activations"
_SHARD_BYTES = 512 * 2**20  # a shard is held in memory at once while it is captured
_SHARD_TOKENS = 2**16  # and is lost when the capture is killed, so narrow rows get an end too
_CHARACTERS_PER_TOKEN = 4  # of English


def estimated_tokens(text: str) -> int:
    """A guess at the tokens of a text, rather too many than too few.

    Four characters a token for ASCII; one for any other text, as scripts go that a tokenizer knows
    little of.

    >>> estimated_tokens("good morning"), estimated_tokens("おはよう")
    (3, 4)
    """
    return -(-len(text) // _CHARACTERS_PER_TOKEN) if text.isascii() else len(text)


def shard_slices(corpus: Corpus, row_bytes: int) -> list[tuple[int, int]]:
    """Cut a corpus into runs of texts [start, stop), the same way every time.

    Args:
        corpus: the texts.
        row_bytes: bytes of one row at all sites together.

    Returns:
        Runs of about 512 MB at most, unless a single text is larger.
    """
    room = min(_SHARD_TOKENS, _SHARD_BYTES // max(row_bytes, 1))
    slices: list[tuple[int, int]] = []
    start = tokens = 0
    for i, text in enumerate(corpus):
        more = estimated_tokens(text.text)
        if i > start and tokens + more > room:
            slices.append((start, i))
            start, tokens = i, 0
        tokens += more
    if len(corpus):
        slices.append((start, len(corpus)))
    return slices


class ActivationStore(ArchiveFolder):
    """A folder of activations at one or more sites of one model.

    Made by ``create``, found again by ``open``; ``activations(site)`` gives the rows.
    """

    format = "cofire-activations"
    required = MappingProxyType(
        {"model": dict, "capture": dict, "corpus": dict, "sites": list, "shards": list}
    )

    @classmethod
    def create(
        cls,
        path: Path,
        corpus: Corpus,
        sites: Iterable[Site],
        header: Mapping[str, Any],
        *,
        row_bytes: int,
    ) -> "ActivationStore":
        """Start a store with its texts and no shard yet.

        Args:
            path: a folder that does not exist or is empty.
            corpus: all texts, in the order of their ids.
            sites: the sites every shard will hold.
            header: model, settings; plain JSON values, compared when a capture goes on.
            row_bytes: bytes of one row at all sites together, which say how many texts go into a
                shard.

        Raises:
            StoreError: when the folder holds something else, or cannot be written.
        """
        return cls._begin(
            path,
            {
                **header,
                "corpus": {"texts": len(corpus), "sha256": corpus.fingerprint},
                "sites": [site.name for site in sites],
                "shards": [
                    {"texts": [start, stop], "rows": None}
                    for start, stop in shard_slices(corpus, row_bytes)
                ],
                "skipped_rows": [asdict(row) for row in corpus.skipped],
            },
            {TEXTS: text_writer(corpus)},
        )

    def _check(self) -> None:
        for shard in self.manifest["shards"]:
            if not isinstance(shard, dict) or not {"texts", "rows"} <= set(shard):
                raise damaged(self.path, "the record of a shard is incomplete")

    @cached_property
    def corpus(self) -> Corpus:
        """All texts, in the order of their ids.

        Raises:
            StoreError: when they are missing or damaged.
        """
        skipped = (SkippedRow(**row) for row in self.manifest.get("skipped_rows", ()))
        return read_texts(self._archive, skipped)

    @property
    def truncated(self) -> tuple[int, ...]:
        """Ids of the texts captured so far that were cut at the longest length allowed."""
        return self._noted("truncated")

    @property
    def skipped(self) -> tuple[int, ...]:
        """Ids of the texts that gave no token; ``corpus.skipped`` has rows that were no text."""
        return self._noted("skipped")

    def _noted(self, what: str) -> tuple[int, ...]:
        return tuple(i for shard in self.manifest["shards"] for i in shard.get(what, ()))

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

    def restore_texts(self, corpus: Corpus) -> bool:
        """Write the texts again when they are missing or damaged; tells whether they were.

        Raises:
            StoreError: when the store was begun with other texts.
        """
        return restore_texts(self._archive, corpus)

    def write_shard(
        self,
        number: int,
        tokens: TokenTable,
        X: Mapping[Site, Tensor],
        *,
        truncated: Iterable[int] = (),
        skipped: Iterable[int] = (),
    ) -> None:
        """Write one shard; it counts as done only when every part is safe on disk.

        Args:
            number: which shard.
            tokens: one line a row; text ids are those of the whole corpus.
            X: [rows channels] for every site of the store.
            truncated: ids of the texts that were cut at the longest length allowed.
            skipped: ids of the texts that gave no token.
        """
        if len(tokens) and set(X) != set(self.sites):
            raise StoreError(f"A shard of {self.path} must hold exactly the sites of the store.")
        table = token_table(tokens)
        self._archive.write(_tokens_part(number), partial(pq.write_table, table))
        for site, rows in X.items():
            self._archive.write(
                _site_part(number, site),
                partial(save_file, {_TENSOR: rows.contiguous()}),
            )
        self._archive.manifest["shards"][number].update(
            rows=len(tokens), truncated=list(truncated), skipped=list(skipped)
        )
        self._archive.save()

    def activations(self, site: Site) -> Activations:
        """The rows at one site; they stay on disk until they are read.

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
            shards.append(RowsOnDisk.open(self._archive.file(_site_part(number, site)), _TENSOR))
            _check_shard(shards[0], shards[-1], len(tables[-1]))
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


_REQUIRED = {"model": dict, "capture": dict, "corpus": dict, "sites": list, "shards": list}


def _tokens_part(number: int) -> str:
    return f"shard-{number:05d}/tokens.parquet"


def _site_part(number: int, site: Site) -> str:
    return f"shard-{number:05d}/{site.name}.safetensors"


def _check_shard(first: RowsOnDisk, shard: RowsOnDisk, n_tokens: int) -> None:
    if shard.channels != first.channels:
        raise StoreError(
            f"{shard.path} has {shard.channels} channels but {first.path} has {first.channels}: "
            "the shards of one site must be equally wide. Capture again into a new folder."
        )
    if len(shard) != n_tokens:
        raise StoreError(
            f"{shard.path} has {len(shard)} rows for {n_tokens} tokens. Capture again into a new "
            "folder."
        )
