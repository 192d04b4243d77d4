"""Features of a run as directions in the residual stream, to hold components of weights against."""

from pathlib import Path
from typing import Any

from cofire.errors import InputError, StoreError
from cofire.interpret.carrying import carry_to_residual
from cofire.models import LanguageModel
from cofire.site import Site
from cofire.store import Run
from cofire.weights.alignment import ResidualFeatures

# Where in its layer a site lies in the stream: attention reads at 0 and writes before the MLP does.
_PLACES = {"resid_pre": 0.0, "mlp": 0.5, "mlp_out": 0.5, "resid_post": 1.0}
# What agrees between copies of one model in different number types, whose fingerprints differ.
_SHAPE = ("architecture", "n_layers", "d_model", "d_mlp", "n_parameters", "vocabulary")


class RunFeatures:
    """Features of a run layer by layer, those of MLP neurons carried into the stream.

    Args:
        path: of the run; None for no features.

    Raises:
        StoreError: when it is no run, or one without a finished layer.
        InputError: when none of its features lie in the stream or can be carried there.
    """

    def __init__(self, path: Path | None) -> None:
        self._run = None if path is None else Run.open(path)
        sites = [] if self._run is None else self._run.sites
        if self._run is not None and not sites:
            raise StoreError(f"{path} has no finished layer yet; run its fit command again.")
        self._sites = [site for site in sites if site.kind in _PLACES]
        if sites and not self._sites:
            raise InputError(
                f"{path} holds features at {sites[0]}, which cannot be carried into the residual "
                f"stream; give a run at one of {', '.join(_PLACES)} with --features."
            )
        self._known: dict[Site, ResidualFeatures] = {}

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
        """What the rows of a matrix can read; None where they are neurons, or none lie before."""
        return None if matrix == "mlp-out" else self._before(layer, model)

    def of_columns(self, matrix: str, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """What the columns of a matrix write to, or read as keys; None as in ``of_rows``."""
        if matrix in ("mlp-in", "mlp-gate"):
            return None
        return self._before(layer, model) if matrix == "qk" else self._after(layer, model)

    def _before(self, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """The last ones that are in the stream when the layer reads it."""
        found = [site for site in self._sites if _place(site) <= layer]
        return self._of(max(found, key=_place), model) if found else None

    def _after(self, layer: int, model: LanguageModel) -> ResidualFeatures | None:
        """The first ones of a stream that the layer has written to."""
        found = [site for site in self._sites if _place(site) > layer]
        return self._of(min(found, key=_place), model) if found else None

    def _of(self, site: Site, model: LanguageModel) -> ResidualFeatures:
        assert self._run is not None  # there are no sites without a run
        if site not in self._known:
            dictionary = self._run.dictionary(site)
            carried = carry_to_residual(dictionary, model) if site.kind == "mlp" else dictionary
            labels = tuple(feature.label for feature in self._run.features(site))
            self._known[site] = ResidualFeatures(
                dictionary=carried,
                names=labels,
                source=f"{dictionary.provenance.get('method', 'features')} of {site.name}",
            )
        return self._known[site]


def _place(site: Site) -> float:
    """Where the features of a site are in the stream, in layers."""
    return site.layer + _PLACES[site.kind]
