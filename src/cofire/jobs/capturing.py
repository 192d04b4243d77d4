"""The capture job: a model and texts in, an activation store out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cofire.config import CAPTURE_SETTINGS, CaptureConfig
from cofire.corpus import Corpus
from cofire.data import load_corpus
from cofire.device import resolve_dtype
from cofire.errors import InputError, StoreError
from cofire.jobs.environment import environment
from cofire.models import CaptureSettings, LanguageModel, capture_texts, load_model
from cofire.models.tokens import name_of
from cofire.progress import SILENT, Advance, Progress
from cofire.site import Site, parse_layers
from cofire.store import ActivationStore

_logger = logging.getLogger(__name__)

_NAMES_SHOWN = 10


def capture(
    config: CaptureConfig,
    progress: Progress = SILENT,
    *,
    check: Callable[[Corpus, Sequence[Site]], None] | None = None,
) -> ActivationStore:
    """Collect activations into a store; go on with a store that was begun with the same settings.

    Args:
        config: what to capture; ``output`` defaults to a telling name under ``runs/``.
        progress: shown while working.
        check: refuses texts and sites before anything is computed or written.

    Raises:
        CofireError: for input that cannot be used; finished shards are kept.
    """
    config = config.with_absolute_paths()
    model, corpus, sites = open_inputs(config, progress)
    if check is not None:
        check(corpus, sites)
    path = config.output or Path("runs") / f"activations-{run_name(model, sites)}"
    settings = capture_settings(config)
    if ActivationStore.present(path):
        store = ActivationStore.open(path)
        wanted = {"model": identity(model.describe()), "capture": capture_header(config)}
        same_settings(path, store.manifest, wanted)
        if store.sites != sites:
            raise StoreError(
                f"{path} was begun for {', '.join(map(str, store.sites))}; choose another folder "
                "with -o, or remove it."
            )
        if store.restore_texts(corpus):
            _logger.warning("%s: the texts were missing or damaged; wrote them again.", path)
    else:
        header = {
            "model": model.describe(),
            "capture": capture_header(config),
            "environment": environment(model.device),
        }
        row_bytes = resolve_dtype(config.store_dtype).itemsize * sum(map(model.site_width, sites))
        store = ActivationStore.create(path, corpus, sites, header, row_bytes=row_bytes)
    left = store.unfinished()
    texts = sum(stop - start for _, (start, stop) in left)
    with progress.task("Capturing", texts, "text") as advance:
        for number, (start, stop) in left:
            captured = capture_texts(
                model,
                corpus,
                range(start, stop),
                sites,
                settings,
                progress=counting_texts(advance, stop - start),
            )
            store.write_shard(
                number,
                captured.tokens,
                captured.activations,
                truncated=captured.truncated,
                skipped=captured.skipped,
            )
    _warn(store.truncated, corpus, "were cut at the longest length")
    _warn(store.skipped, corpus, "gave no token and were skipped")
    return store


def _warn(text_ids: Sequence[int], corpus: Corpus, what: str) -> None:
    if text_ids:
        names = [name_of(corpus[text_id], text_id) for text_id in text_ids[:_NAMES_SHOWN]]
        more = ", ..." if len(text_ids) > _NAMES_SHOWN else ""
        _logger.warning(
            "%d of %d texts %s: %s%s", len(text_ids), len(corpus), what, ", ".join(names), more
        )


def open_inputs(
    config: CaptureConfig, progress: Progress
) -> tuple[LanguageModel, Corpus, list[Site]]:
    """Load the texts and the model of a config, and find the sites it asks for."""
    # Texts first: they are quick to read, and a mistake there should not cost a model load.
    corpus = load_corpus(
        config.data,
        text_column=config.text_column,
        label_column=config.label_column,
        heldout=_amount(config.heldout),
        limit=config.limit,
        on_error="skip" if config.skip_bad_rows else "raise",
    )
    with progress.task(f"Loading {config.model}", None, "") as advance:
        model = load_model(config.model, device=config.device, dtype=config.dtype)
        advance(1)
    if config.layers is None:
        layers = [model.n_layers // 2]
    else:
        layers = parse_layers(config.layers, model.n_layers)
    return model, corpus, [Site(layer, config.site) for layer in layers]


def capture_settings(config: CaptureConfig) -> CaptureSettings:
    """The part of a config that says how texts go through the model."""
    return CaptureSettings(
        batch_tokens=config.batch_tokens,
        max_length=config.max_length,
        prepend_bos=config.bos,
        dtype=config.store_dtype,
        skip_empty=config.skip_bad_rows,
    )


def counting_texts(advance: Advance, n_texts: int) -> Callable[[int, int], None]:
    """Turn news of rows done out of rows in all into texts done."""
    shown = 0

    def report(done: int, total: int) -> None:
        nonlocal shown
        texts = n_texts * done // max(total, 1)
        advance(texts - shown)
        shown = texts

    return report


def identity(described: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a model's description that must agree between two sittings of one job."""
    return {name: described[name] for name in ("name", "fingerprint", "dtype")}


def capture_header(config: CaptureConfig) -> dict[str, Any]:
    """The settings that change the rows, for a manifest."""
    return config.model_dump(mode="json", include=set(CAPTURE_SETTINGS))


def same_settings(path: Path, manifest: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Check that a folder that was begun earlier was begun with the same settings.

    Raises:
        StoreError: naming the first setting that differs.
    """
    for key in ("model", "capture", "config"):
        begun = manifest.get(key, {})
        for name, value in wanted.get(key, {}).items():
            if begun.get(name) != value:
                raise StoreError(
                    f"{path} was begun with {name} {begun.get(name)!r}, not {value!r}; choose "
                    "another folder with -o, or remove it."
                )


def run_name(model: LanguageModel, sites: list[Site]) -> str:
    """A folder name such as ``gemma-3-270m-mlp-L0,9-12``."""
    layers = [site.layer for site in sites]
    runs: list[str] = []
    first = layers[0]
    for i, layer in enumerate(layers):
        if i + 1 == len(layers) or layers[i + 1] != layer + 1:
            runs.append(str(first) if first == layer else f"{first}-{layer}")
            first = layers[i + 1] if i + 1 < len(layers) else layer
    short = Path(model.name).name or "model"
    return f"{short}-{sites[0].kind}-L{','.join(runs)}"


def _amount(heldout: float | None) -> int | float | None:
    if heldout is not None and heldout >= 1:
        if heldout != int(heldout):
            raise InputError(
                f"heldout is a number of texts (5) or a fraction below 1 (0.2); got {heldout}."
            )
        return int(heldout)
    return heldout
