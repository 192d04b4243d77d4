"""Sparse autoencoders trained elsewhere: a run is made of one without fitting anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cofire.activations import Activations
from cofire.baselines import load_public_sae, load_sae
from cofire.config import FitConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.interpret.carrying import carry_to_residual
from cofire.method import Method, MethodSettings
from cofire.models import LanguageModel
from cofire.registry import method_named
from cofire.site import Site

NAME = "sae"
"""What ``--method`` takes."""

_CARRIED_TO = ("resid_post", "mlp_out")


@dataclass(frozen=True)
class ReadySae(Method):
    """The method that gives one dictionary, whatever the rows.

    Attributes:
        loaded: the SAE, at its own site.
    """

    loaded: Dictionary | None = field(default=None, repr=False)

    def estimator(self, settings: MethodSettings) -> Any:
        """Something to be fitted, which does nothing.

        Raises:
            InputError: when a setting was changed: nothing is fitted.
        """
        own = _loaded(self).n_features
        super().estimator(replace(settings, n_components=MethodSettings().n_components))
        if settings.n_components not in (MethodSettings().n_components, own):
            raise InputError(
                f"This SAE has {own} features; leave n_components (-k) out, it is not fitted."
            )
        return _Nothing()

    def check_size(self, n_components: int, rows: int, channels: int) -> None:
        """Refuse rows of another width.

        Raises:
            InputError: saying both widths.
        """
        own = _loaded(self)
        if own.n_channels != channels:
            raise InputError(
                f"This SAE reads {own.n_channels} channels at {own.site}; the model's rows there "
                f"have {channels}. It was trained on another model."
            )

    def dictionary(self, estimator: Any, site: Site, provenance: Mapping[str, Any]) -> Dictionary:
        """The SAE as it was loaded; where it was carried to, as it was carried."""
        own = _loaded(self)
        made = {**provenance, **own.provenance, "n_components": own.n_features}
        return replace(own, provenance=made)

    def placed(self, site: Site, model: LanguageModel | None) -> "ReadySae":
        """The method for one site: the SAE itself, or its image in the residual stream.

        Raises:
            InputError: when it was trained elsewhere and cannot be carried there.
        """
        own = _loaded(self)
        if site == own.site:
            return self
        carried = own.site.kind == "mlp" and site == Site(own.site.layer, site.kind)
        if not carried or site.kind not in _CARRIED_TO:
            raise InputError(
                f"This SAE was trained at {own.site}, not at {site}, and means nothing there; "
                "leave --layers and --site out, or capture its own site."
            )
        if model is None:
            raise InputError("Carrying an SAE to the residual stream needs the model at hand.")
        self.check_size(own.n_features, 0, model.site_width(own.site))
        kind: Literal["mlp_out", "resid_post"]
        kind = "mlp_out" if site.kind == "mlp_out" else "resid_post"
        return replace(self, loaded=carry_to_residual(own, model, kind=kind))


class _Nothing:
    """An estimator with nothing to learn."""

    stop_reason_ = "not fitted"

    def fit(self, X: Activations) -> "_Nothing":
        """Nothing is done."""
        return self


def method_of(config: FitConfig) -> Method:
    """The method that the settings name; an SAE is loaded.

    Raises:
        InputError: for an unknown method, or an SAE without ``--method sae`` and the reverse.
        DataError: when the SAE cannot be read.
    """
    if (config.method == NAME) != (config.sae is not None):
        raise InputError(
            "An SAE that was trained elsewhere needs both --method sae and --sae FOLDER or --sae "
            "RELEASE:ID."
        )
    if config.sae is None:
        return method_named(config.method)
    return ReadySae(
        name=NAME,
        summary="Sparse autoencoder that was trained elsewhere",
        source="SAELens",
        build=lambda settings: _Nothing(),
        encoder="relu",
        loaded=_opened(config.sae),
    )


def with_own_site(config: FitConfig, method: Method) -> FitConfig:
    """Settings with site, layer and number of features of an SAE, where none were given."""
    if not isinstance(method, ReadySae):
        return config
    own = _loaded(method)
    update: dict[str, Any] = {"n_components": own.n_features}
    if config.layers is None:
        update["layers"] = str(own.site.layer)
        if config.activations is None:
            update["site"] = own.site.kind
    return config.model_copy(update=update)


def check_sites(method: Method, sites: Sequence[Site], model: LanguageModel | None) -> None:
    """Refuse sites that an SAE has nothing to say of.

    Raises:
        InputError: naming the site, or the two widths.
    """
    for site in sites:
        if isinstance(method, ReadySae):
            placed = method.placed(site, model)
            if model is not None:
                placed.check_size(0, 0, model.site_width(site))


def _opened(name: str) -> Dictionary:
    if Path(name).is_dir():
        return load_sae(name)
    release, colon, sae_id = name.rpartition(":")
    if not colon or not release or not sae_id or Path(name).is_absolute():
        raise InputError(
            f"There is no folder {name}; give a folder with an SAE in SAELens format, or "
            "RELEASE:ID of SAELens' list."
        )
    return load_public_sae(release, sae_id)


def _loaded(method: ReadySae) -> Dictionary:
    if method.loaded is None:
        raise InputError("No SAE was loaded.")
    return method.loaded
