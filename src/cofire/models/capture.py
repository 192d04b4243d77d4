"""Activations of texts at sites of a model, in as little computing as they need."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus
from cofire.device import resolve_dtype
from cofire.errors import InputError, ModelError
from cofire.models.adapter import LanguageModel
from cofire.models.batching import (
    CPU_BATCH_TOKENS,
    CPU_PASS_COST,
    GPU_BATCH_TOKENS,
    GPU_PASS_COST,
    PaddingSide,
    plan_batches,
)
from cofire.models.reading import finite_rows, read_rows
from cofire.models.tokens import TokenizedTexts, name_of, tokenize
from cofire.site import Site

logger = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of rows done and the number of rows in all."""


@dataclass(frozen=True, kw_only=True)
class CaptureSettings:
    """How activations are captured; what changes the rows is in the manifest of a store.

    Attributes:
        max_length: longest input in tokens, special tokens included; longer texts are cut.
            None for the model's context length.
        prepend_bos: put the beginning-of-sequence token first, in tokenizers that have one.
        skip_empty: leave out texts without tokens in place of raising.
        dtype: number type of the result, ``float32``, ``bfloat16`` or ``float16``.
        batch_tokens: most tokens of a forward pass, padding included; a longer text goes alone.
            None for 1024 on a CPU and 16 384 elsewhere.
        batch_size: most texts of a forward pass, None for no limit.
        padding_side: where padding goes; rows do not depend on it beyond rounding.
    """

    max_length: int | None = None
    prepend_bos: bool = True
    skip_empty: bool = False
    dtype: str = "float32"
    batch_tokens: int | None = None
    batch_size: int | None = None
    padding_side: PaddingSide = "right"


@dataclass(frozen=True, eq=False)
class Captured:
    """Activations of some texts of a corpus.

    Attributes:
        activations: for each site a matrix [rows channels] in main memory.
        tokens: one line a row, texts in the order in which they were asked for.
        truncated: numbers of the texts that were cut at the longest length allowed.
        skipped: numbers of the texts that gave no token.
    """

    activations: Mapping[Site, Tensor]
    tokens: TokenTable
    truncated: tuple[int, ...]
    skipped: tuple[int, ...]


def capture_texts(
    model: LanguageModel,
    corpus: Corpus,
    text_ids: Sequence[int],
    sites: Sequence[Site],
    settings: CaptureSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Captured:
    """Capture some texts: the unit of work that can be stored, and done again, by itself.

    The texts are batched by length, the rows come out in the order of ``text_ids``. The same call
    on the same machine gives the same bytes.

    Args:
        model: the model.
        corpus: the texts.
        text_ids: which of them, by number.
        sites: where to read; all are read in one pass, which ends at the last of them.
        settings: how to capture.
        progress: called after every forward pass.

    Raises:
        InputError: for a setting out of range, or a layer or text that does not exist.
        DataError: for an empty text, unless these are skipped.
        ModelError: when the model lacks a site or gives values that are not finite.
    """
    settings = settings or CaptureSettings()
    handles = [model.resolve(site) for site in _distinct(sites)]
    dtype = resolve_dtype(settings.dtype)
    texts = tokenize(
        model.tokenizer,
        corpus,
        text_ids,
        max_length=_longest(model, settings.max_length),
        prepend_bos=settings.prepend_bos,
        skip_empty=settings.skip_empty,
    )
    _check_vocabulary(model, texts)
    n_rows = len(texts.table)
    results = {handle.site: torch.empty(n_rows, handle.width, dtype=dtype) for handle in handles}
    ends = torch.tensor([len(rows) for rows in texts.rows], dtype=torch.long).cumsum(0).tolist()
    done = 0
    for places in planned(model, texts, settings):
        destination = torch.cat(
            [torch.arange(ends[place] - len(texts.rows[place]), ends[place]) for place in places]
        )
        rows = read_rows(model, handles, texts, places, settings.padding_side)
        for site, values in rows.items():
            results[site][destination] = finite_rows(
                values, dtype, site, texts.table, destination, corpus
            )
        done += len(destination)
        if progress is not None:
            progress(done, n_rows)
    return Captured(results, texts.table, texts.truncated, texts.skipped)


def capture_batches(
    model: LanguageModel,
    corpus: Corpus,
    sites: Sequence[Site],
    settings: CaptureSettings | None = None,
    *,
    texts_per_slice: int = 1024,
) -> Iterator[Captured]:
    """Capture a corpus slice by slice, in its order; holds one slice in memory at a time.

    Args:
        model: the model.
        corpus: the texts.
        sites: where to read.
        settings: how to capture.
        texts_per_slice: number of texts of each result; also the window within which texts are
            sorted by length.

    Raises:
        InputError, DataError, ModelError: as ``capture_texts``.
    """
    if texts_per_slice < 1:
        raise InputError(f"texts_per_slice must be at least 1; got {texts_per_slice}.")
    for start in range(0, len(corpus), texts_per_slice):
        text_ids = range(start, min(start + texts_per_slice, len(corpus)))
        yield capture_texts(model, corpus, text_ids, sites, settings)


def capture_activations(
    model: LanguageModel,
    corpus: Corpus,
    sites: Sequence[Site],
    settings: CaptureSettings | None = None,
    *,
    progress: Progress | None = None,
) -> dict[Site, Activations]:
    """Capture a whole corpus into memory.

    Args:
        model: the model.
        corpus: the texts.
        sites: where to read.
        settings: how to capture.
        progress: called with rows done and rows in all.

    Returns:
        Activations of each site, rows in the order of the corpus, all with the same token table.

    Raises:
        InputError, DataError, ModelError: as ``capture_texts``.
    """
    settings = settings or CaptureSettings()
    captured = capture_texts(model, corpus, range(len(corpus)), sites, settings, progress=progress)
    if captured.truncated:
        logger.warning(
            "%d of %d texts were cut at the longest length", len(captured.truncated), len(corpus)
        )
    if captured.skipped:
        names = ", ".join(name_of(corpus[number], number) for number in captured.skipped[:10])
        logger.warning("%d texts without tokens were skipped: %s", len(captured.skipped), names)
    provenance = capture_provenance(model, corpus, settings, captured)
    return {
        site: Activations((values,), captured.tokens, corpus, site, provenance)
        for site, values in captured.activations.items()
    }


def planned(
    model: LanguageModel, texts: TokenizedTexts, settings: CaptureSettings
) -> Iterator[list[int]]:
    """Batches that suit the model's device, as places in ``texts``."""
    on_cpu = model.device.type == "cpu"
    standard = CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS
    return plan_batches(
        [len(ids) for ids in texts.ids],
        batch_tokens=standard if settings.batch_tokens is None else settings.batch_tokens,
        batch_size=settings.batch_size,
        pass_cost=CPU_PASS_COST if on_cpu else GPU_PASS_COST,
    )


def _longest(model: LanguageModel, max_length: int | None) -> int | None:
    """The longest input: what was asked for, else all that the model takes."""
    context = model.context_length
    if max_length is not None and context is not None and max_length > context:
        raise InputError(
            f"max_length is {max_length}, but {model.name} reads at most {context} tokens; "
            f"give {context} or less."
        )
    return context if max_length is None else max_length


def _check_vocabulary(model: LanguageModel, texts: TokenizedTexts) -> None:
    """Check that the model has an embedding for every token."""
    highest = max((max(ids) for ids in texts.ids), default=0)
    if highest >= model.n_embeddings:
        raise ModelError(
            f"The tokenizer gives token {highest}, but {model.name} only knows "
            f"{model.n_embeddings}; load the tokenizer that belongs to the model."
        )


def _distinct(sites: Sequence[Site]) -> list[Site]:
    if not sites:
        raise InputError("No site was asked for; name at least one, e.g. Site(9, 'mlp').")
    return list(dict.fromkeys(sites))


def capture_provenance(
    model: LanguageModel, corpus: Corpus, settings: CaptureSettings, captured: Captured
) -> dict[str, Any]:
    """What made the rows, as plain JSON values.

    Args:
        model: the model.
        corpus: all texts.
        settings: how they were captured.
        captured: what came out, for the texts that were cut or skipped.
    """
    return {
        "model": model.describe(),
        "corpus": corpus.fingerprint,
        "n_texts": len(corpus),
        "max_length": _longest(model, settings.max_length),
        "prepend_bos": settings.prepend_bos and model.tokenizer.bos_token_id is not None,
        "dtype": settings.dtype,
        "truncated": list(captured.truncated),
        "skipped": list(captured.skipped),
    }
