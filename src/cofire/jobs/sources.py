"""Where a fit takes its rows from: a store on disk, or a model that reads texts now."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cofire.activations import Activations
from cofire.config import CaptureConfig
from cofire.corpus import Corpus
from cofire.errors import CofireError, InputError
from cofire.jobs.capturing import (
    capture_header,
    capture_settings,
    counting_texts,
    open_inputs,
    run_name,
)
from cofire.models import LanguageModel, capture_activations, load_model
from cofire.progress import Progress
from cofire.site import Site, parse_layers
from cofire.store import ActivationStore

_logger = logging.getLogger(__name__)


@runtime_checkable
class RowSource(Protocol):
    """Activations at some sites, and the model they came from.

    Attributes:
        name: for naming a run.
        sites: those that were asked for.
        header: model and capture settings, for a manifest.
        settings: the config fields that are the source's own, as they really were.
        corpus: the texts.
        model: None when it cannot be had any more.
    """

    name: str
    sites: list[Site]
    header: Mapping[str, Any]
    settings: Mapping[str, Any]
    corpus: Corpus
    model: LanguageModel | None

    def rows(self, sites: Sequence[Site]) -> Iterator[Activations]:
        """The rows of some of the sites, one site after the other."""
        ...


class StoredRows:
    """Rows of an activation store.

    Args:
        path: the store.
        config: which of its layers (None for all), and where to load the model, which is only
            needed to project features on the vocabulary.
        with_model: whether to load it.

    Raises:
        InputError: for a layer that the store does not hold, or a setting that is not as it was
            captured.
    """

    def __init__(
        self, path: Path, config: CaptureConfig, progress: Progress, *, with_model: bool = True
    ) -> None:
        self._store = ActivationStore.open(path)
        self.corpus = self._store.corpus
        self.name = path.resolve().name
        self.header: Mapping[str, Any] = {
            key: self._store.manifest[key] for key in ("model", "capture")
        }
        self.settings: Mapping[str, Any] = {
            "model": self.header["model"]["name"],
            **self.header["capture"],
        }
        for name, value in self.settings.items():
            default = type(config).model_fields[name].default
            if getattr(config, name) not in (default, value):
                raise InputError(
                    f"{path} was captured with {name} {value!r}, but {getattr(config, name)!r} is "
                    "asked for; leave it out, or capture again."
                )
        self.sites = self._store.sites
        if config.layers is not None and config.layers != "all":
            wanted = parse_layers(config.layers)
            held = [site.layer for site in self.sites]
            absent = [layer for layer in wanted if layer not in held]
            if absent:
                raise InputError(
                    f"{path} holds no layer {absent[0]}; it holds {', '.join(map(str, held))}."
                )
            self.sites = [site for site in self.sites if site.layer in wanted]
        self.model = self._open_model(config.device, progress) if with_model else None

    def rows(self, sites: Sequence[Site]) -> Iterator[Activations]:
        """See ``RowSource.rows``; they stay on disk."""
        for site in sites:
            yield self._store.activations(site)

    def _open_model(self, device: str, progress: Progress) -> LanguageModel | None:
        # A store outlives its model: everything but the vocabulary works without it.
        record = self.header["model"]
        try:
            with progress.task(f"Loading {record['name']}", None, "") as advance:
                model = load_model(record["name"], device=device, dtype=record["dtype"])
                advance(1)
        except CofireError as error:
            _logger.warning("Features get no promoted and demoted tokens: %s", error)
            return None
        if model.fingerprint != record["fingerprint"]:
            _logger.warning(
                "Features get no promoted and demoted tokens: %s is another model now than the one "
                "the activations came from.",
                record["name"],
            )
            return None
        return model


class FreshRows:
    """Rows that a model computes now, kept in memory.

    Args:
        config: model, texts, sites and how to read them.
    """

    def __init__(self, config: CaptureConfig, progress: Progress) -> None:
        self.model: LanguageModel | None
        self.model, self.corpus, self.sites = open_inputs(config, progress)
        self.settings: Mapping[str, Any] = {}
        self._settings = capture_settings(config)
        self._progress = progress
        self.name = run_name(self.model, self.sites)
        self.header: Mapping[str, Any] = {
            "model": self.model.describe(),
            "capture": capture_header(config),
        }

    def rows(self, sites: Sequence[Site]) -> Iterator[Activations]:
        """See ``RowSource.rows``; all sites in one pass over the texts."""
        if not sites or self.model is None:
            return
        with self._progress.task("Capturing", len(self.corpus), "text") as advance:
            captured = capture_activations(
                self.model,
                self.corpus,
                sites,
                self._settings,
                progress=counting_texts(advance, len(self.corpus)),
            )
        for site in sites:
            yield captured.pop(site)  # let go of each site's rows when it is done
