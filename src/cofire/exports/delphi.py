"""Codes as the cached latents of EleutherAI's delphi, which explains and scores features.

One folder a site, named after it, with the files that delphi's ``LatentCache.save_splits`` leaves:

``FIRST_LAST.safetensors``   ``locations`` [codes 3] (window, place in it, feature less FIRST),
                             uint16 or uint32; ``activations`` [codes] float16 (float32 where that
                             overflows); ``tokens`` [windows length]
``config.json``              its ``CacheConfig`` and the model's name

delphi reads windows of one length. As in its own caches the texts follow one another and are cut
there: a window may hold the end of one text and the beginning of the next. The special tokens
before a text are no rows of a run and are left out, as are the rows after the last whole window.
"""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from cofire.errors import InputError
from cofire.exports.folder import write_about, write_json
from cofire.exports.source import RunSite
from cofire.progress import SILENT, Progress
from cofire.store.archive import write_atomically

WINDOW = 32
"""Tokens of a window: delphi's default length of an example."""

_LEAST = 1e-5  # codes of no larger size are 0 to delphi
_SMALL = 2**16


def write_delphi(
    source: RunSite,
    folder: Path,
    *,
    window: int = WINDOW,
    shards: int = 1,
    progress: Progress = SILENT,
) -> None:
    """Write the cache of one site into a folder of its name.

    Args:
        source: what to write.
        folder: becomes delphi's folder of latents.
        window: tokens of a window; a multiple of delphi's ``example_ctx_len``.
        shards: files the features are split over.
        progress: shown while working.

    Raises:
        InputError: when the model has no name, fewer rows than a window, or a number is too small.
        StoreError: when a file cannot be written.
    """
    features = source.dictionary.n_features
    if window < 2 or not 1 <= shards <= features:
        raise InputError(
            f"A window has 2 tokens or more, and there is 1 shard to {features}; got {window} and "
            f"{shards}."
        )
    whole = len(source.tokens) // window
    if whole == 0:
        raise InputError(
            f"The run has {len(source.tokens)} rows, too few for a window of {window} tokens; give "
            "a smaller --window."
        )
    rows = whole * window
    model = source.named_model()
    tokens = source.tokens.token_id[:rows].reshape(whole, window).astype(np.int64)
    place = folder / source.site.name
    place.mkdir()
    bounds = np.linspace(0, features, shards + 1).astype(int)
    with progress.task("Writing latents", shards, "shard") as advance:
        for first, end in pairwise(bounds.tolist()):
            codes = source.codes[:rows, first:end].float()
            where = torch.nonzero(codes.abs() > _LEAST)
            flat = where[:, 0].numpy()
            locations = np.stack([flat // window, flat % window, where[:, 1].numpy()], axis=1)
            values = codes[where[:, 0], where[:, 1]]
            half = values.half() if bool(values.half().isfinite().all()) else values
            small = whole <= _SMALL and end - first <= _SMALL
            tensors = {
                "locations": locations.astype(np.uint16 if small else np.uint32),
                "activations": half.numpy(),
                "tokens": tokens,
            }
            file = place / f"{first}_{end - 1}.safetensors"
            write_atomically(file, partial(save_file, tensors))
            advance(1)
    config = {
        "dataset_repo": source.data_name,
        "dataset_split": "train",
        "dataset_name": "",
        "dataset_column": "text",
        "batch_size": 1,
        "cache_ctx_len": window,
        "n_tokens": rows,
        "n_splits": shards,
        "model_name": model,
    }
    write_json(place / "config.json", config)
    # Beside the shards: delphi takes everything in the folder above for a site.
    left_out = len(source.tokens) - rows
    write_about(place, {**source.facts(), "rows": rows, "rows_left_out": left_out})
