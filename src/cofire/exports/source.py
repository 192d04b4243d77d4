"""What every export reads: one site of a stored run."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from cofire.activations import TokenTable
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.interpret.reading import FeatureSet
from cofire.site import Site
from cofire.store import Run
from cofire.structure.tree_labels import training_rows
from cofire.types import Bool, CodeMatrix


class RunSite:
    """One site of a run; each part is read when it is asked for, once.

    Args:
        run: the run.
        site: one of its finished sites.
        model_name: what the other tool calls the model; the run's own name for it when None.
    """

    def __init__(self, run: Run, site: Site, *, model_name: str | None = None) -> None:
        self.run = run
        self.site = site
        self._model_name = model_name

    @property
    def model_name(self) -> str | None:
        """Name of the model; None when the run does not say it."""
        record = self.run.manifest.get("model") or {}
        return self._model_name or record.get("name")

    @property
    def data_name(self) -> str:
        """What the texts are called, without folders."""
        return str(self.run.config.get("data", "")).replace("\\", "/").rsplit("/", 1)[-1]

    @cached_property
    def dictionary(self) -> Dictionary:
        """Atoms and encoder."""
        return self.run.dictionary(self.site)

    @cached_property
    def codes(self) -> CodeMatrix:
        """Stored codes of all rows."""
        return self.run.codes(self.site)

    @cached_property
    def tokens(self) -> TokenTable:
        """The token of every row."""
        return self.run.tokens(self.site)

    @cached_property
    def features(self) -> FeatureSet:
        """Features, with the labels people gave."""
        return self.run.features(self.site)

    @cached_property
    def training(self) -> Bool[np.ndarray, "rows"]:
        """True for the rows of training texts."""
        return training_rows(self.tokens, self.run.corpus)

    @property
    def names(self) -> list[str]:
        """Number and label of every feature."""
        return [f"{feature.index} {feature.label}".strip() for feature in self.features]

    @property
    def bos(self) -> bool:
        """Whether the model's BOS token stood before every text."""
        return bool(self.run.config.get("bos", True))

    def named_model(self) -> str:
        """The model's name, for a format that cannot do without.

        Raises:
            InputError: when nobody says it.
        """
        if self.model_name is None:
            raise InputError("The run does not name its model; say it with --model-name.")
        return self.model_name

    def facts(self) -> Mapping[str, Any]:
        """Where an export comes from, for ``cofire.json``."""
        return {
            "run": self.run.path.resolve().name,
            "site": self.site.name,
            "model": self.model_name,
            "data": self.data_name,
            "features": self.dictionary.n_features,
            "method": self.dictionary.provenance.get("method"),
        }


def chosen_site(run: Run, layer: int | None = None, site: str | None = None) -> Site:
    """The finished site that is meant by a layer, or by its full name.

    Raises:
        InputError: when both are given, or there is no such finished site, or several.
    """
    if site is None:
        return run.site_at(layer)
    if layer is not None:
        raise InputError("--layer and --site say the same thing; give one of them.")
    wanted = Site.parse(site)
    if wanted not in run.sites:
        known = ", ".join(map(str, run.sites)) or "none yet"
        raise InputError(f"{run.path} has no finished results at {wanted}; it has {known}.")
    return wanted
