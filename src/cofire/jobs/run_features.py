"""Features of a run as directions in the residual stream, to hold components of weights against."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cofire.errors import InputError, StoreError
from cofire.interpret.carrying import carry_to_residual
from cofire.models import LanguageModel
from cofire.store import Run
from cofire.weights.alignment import ResidualFeatures

# What agrees between copies of one model in different number types, whose fingerprints differ.
_SHAPE = ("architecture", "n_layers", "d_model", "d_mlp", "n_parameters", "vocabulary")


class RunFeatures:
    """Features of a run layer by layer, those of MLP neurons carried into the stream.

    Args:
        path: of the run; None for no features.

    Raises:
        StoreError: when it is no run, or one without a finished layer.
    """

    def __init__(self, path: Path | None) -> None:
        self._run = None if path is None else Run.open(path)
        if self._run is not None and not self._run.sites:
            raise StoreError(f"{path} has no finished layer yet; run its fit command again.")
        self._known: dict[int, ResidualFeatures] = {}

    def check_model(self, model: LanguageModel) -> None:
        """Make sure that the features are of this model: those of another mean nothing in it.

        Raises:
            InputError: when they are of another one.
        """
        record: Any = None if self._run is None else self._run.manifest.get("model")
        if self._run is None or not isinstance(record, dict):
            return
        own = model.describe()
        keys = ("fingerprint",) if record.get("dtype") == own["dtype"] else _SHAPE
        if any(record.get(key) != own[key] for key in keys):
            raise InputError(
                f"{self._run.path} holds features of {record.get('name')}, which is another model "
                f"than {model.name}; give a run of the same model with --features."
            )

    def of_rows(self, matrix: str, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """What the rows of a matrix can read; None where they are neurons."""
        return None if matrix == "mlp-out" else self._before(layer, model)

    def of_columns(self, matrix: str, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """What the columns of a matrix can write, or read as keys; None where they are neurons."""
        if matrix in ("mlp-in", "mlp-gate"):
            return None
        return self._before(layer, model) if matrix == "qk" else self._after(layer, model)

    def _before(self, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """Those of the nearest layer whose features this layer can read."""
        return self._nearest(model, lambda at: (at >= layer, abs(at - layer)))

    def _after(self, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """Those of the nearest layer that can read what this layer writes."""
        return self._nearest(model, lambda at: (at < layer, abs(at - layer)))

    def _nearest(
        self, model: LanguageModel, key: Callable[[int], tuple[bool, int]]
    ) -> ResidualFeatures | None:
        if self._run is None:
            return None
        site = min(self._run.sites, key=lambda one: key(one.layer))
        if site.layer not in self._known:
            dictionary = self._run.dictionary(site)
            carried = carry_to_residual(dictionary, model) if site.kind == "mlp" else dictionary
            labels = tuple(feature.label for feature in self._run.features(site))
            self._known[site.layer] = ResidualFeatures(
                dictionary=carried,
                names=labels,
                source=f"{dictionary.provenance.get('method', 'features')} of {site.name}",
            )
        return self._known[site.layer]
