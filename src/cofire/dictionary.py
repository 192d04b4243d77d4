"""Dictionary: what every method ends as, so that measures and reports serve them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch

from cofire.activations import Activations
from cofire.errors import InputError
from cofire.nnls import nonnegative_codes
from cofire.site import Site
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

EncoderKind: TypeAlias = Literal["nnls", "linear", "relu", "topk", "jumprelu"]
EstimatorEncoder: TypeAlias = Literal["nnls", "linear", "relu", "topk"]

_TENSORS = ("atoms", "encoder_weight", "encoder_bias", "offset", "threshold")
_BLOCK_ROWS = 16384  # bounds the memory of encoding


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Atoms and the rule that turns an activation into codes.

    With x' = x - offset, or max(0, x) - offset where the method rectifies its input:

    ========  =================================================================================
    nnls      codes = argmin over c ≥ 0 of ½‖x' - c D‖² + penalty · Σc, with ``top_k`` only
              the largest, improved given that the others are 0
    linear    codes = x' W + b
    relu      codes = max(0, x' W + b)
    topk      codes = the ``top_k`` largest entries of max(0, x' W + b), the others 0
    jumprelu  codes = max(0, x' W + b) where x' W + b is above ``threshold``, the others 0
    ========  =================================================================================

    Encoding is deterministic and does not depend on how rows are batched.

    Attributes:
        atoms: D [features channels].
        site: where in the model the rows live.
        encoder: one of the five rules.
        encoder_weight: W [channels features]; not used by ``nnls``.
        encoder_bias: b [features]; zero when None.
        offset: added back by ``decode``; zero when None.
        top_k: most features active a row: needed for ``topk``, no limit for ``nnls`` when None.
        penalty: weight of the L1 term, for ``nnls``.
        threshold: [features], for ``jumprelu``.
        rectify: whether negative activations count as 0 when encoding.
        feature_names: what the features are called, where the method itself knows.
        provenance: how it was made, as plain JSON values.
    """

    atoms: AtomMatrix
    site: Site
    encoder: EncoderKind = "nnls"
    encoder_weight: Float[Tensor, "channels features"] | None = None
    encoder_bias: Float[Tensor, "features"] | None = None
    offset: Float[Tensor, "channels"] | None = None
    top_k: int | None = None
    penalty: float = 0.0
    threshold: Float[Tensor, "features"] | None = None
    rectify: bool = False
    feature_names: tuple[str, ...] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.encoder not in get_args(EncoderKind):
            raise InputError(
                f"Unknown encoder {self.encoder!r}; use one of {', '.join(get_args(EncoderKind))}."
            )
        if (self.encoder == "nnls") != (self.encoder_weight is None):
            raise InputError(
                f"Encoder {self.encoder!r} {'takes no' if self.encoder == 'nnls' else 'needs an'} "
                "encoder_weight."
            )
        if self.encoder == "topk" and self.top_k is None:
            raise InputError("The encoder 'topk' needs top_k, the features active a row.")
        if self.top_k is not None and self.encoder not in ("topk", "nnls"):
            raise InputError("top_k goes with the encoders 'topk' and 'nnls' only.")
        if (self.encoder == "jumprelu") != (self.threshold is not None):
            raise InputError("The encoder 'jumprelu' needs a threshold, and no other takes one.")
        if self.feature_names is not None and len(self.feature_names) != self.n_features:
            raise InputError(
                f"{len(self.feature_names)} names for {self.n_features} features; give one each."
            )

    @property
    def n_features(self) -> int:
        """Number of atoms."""
        return self.atoms.shape[0]

    @property
    def n_channels(self) -> int:
        """Width of the rows it encodes."""
        return self.atoms.shape[1]

    def to(self, device: torch.device) -> "Dictionary":
        """The same dictionary with its tensors on another device."""
        moved: dict[str, Any] = {name: t.to(device) for name, t in self.tensors().items()}
        return replace(self, **moved)

    def encode(self, X: ActivationMatrix | Activations) -> CodeMatrix:
        """Codes of some rows, on the device of the atoms; shards are encoded one by one.

        Raises:
            InputError: when the rows are not as wide as the atoms.
        """
        if X.shape[1] != self.n_channels:
            raise InputError(
                f"This dictionary encodes rows of {self.n_channels} channels ({self.site}); "
                f"got {X.shape[1]}. Are these activations of the same site and model?"
            )
        blocks = torch.split(X, _BLOCK_ROWS) if isinstance(X, Tensor) else X.chunks(_BLOCK_ROWS)
        codes = [self._encode_block(block) for block in blocks]
        return torch.cat(codes) if codes else self.atoms.new_zeros(0, self.n_features)

    def _encode_block(self, X: ActivationMatrix) -> CodeMatrix:
        x = X.to(self.atoms.device, self.atoms.dtype)
        if self.rectify:
            x = x.clamp_min(0)
        if self.offset is not None:
            x = x - self.offset
        if self.encoder_weight is None:
            return nonnegative_codes(x, self.atoms, penalty=self.penalty, max_active=self.top_k)
        codes = x @ self.encoder_weight
        if self.encoder_bias is not None:
            codes = codes + self.encoder_bias
        if self.encoder == "linear":
            return codes
        if self.threshold is not None:
            return torch.where(codes > self.threshold, codes.clamp_min(0), 0.0)
        codes = codes.clamp_min(0)
        if self.top_k is not None:
            kept = codes.topk(min(self.top_k, self.n_features), dim=1)
            codes = torch.zeros_like(codes).scatter_(1, kept.indices, kept.values)
        return codes

    def decode(self, codes: CodeMatrix) -> ActivationMatrix:
        """Rows rebuilt from codes: ``codes @ atoms + offset``."""
        X = codes.to(self.atoms) @ self.atoms
        return X if self.offset is None else X + self.offset

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that make up the dictionary, by attribute name."""
        present = {name: getattr(self, name) for name in _TENSORS}
        return {name: tensor for name, tensor in present.items() if tensor is not None}

    def settings(self) -> dict[str, Any]:
        """Everything but the tensors, as plain JSON values; ``from_parts`` takes it back."""
        settings: dict[str, Any] = {
            "site": self.site.name,
            "encoder": self.encoder,
            "top_k": self.top_k,
            "penalty": self.penalty,
            "rectify": self.rectify,
            "provenance": dict(self.provenance),
        }
        if self.feature_names is not None:
            settings["feature_names"] = list(self.feature_names)
        return settings

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> "Dictionary":
        """Put together what ``tensors`` and ``settings`` took apart."""
        parts: dict[str, Any] = {**tensors, **settings, "site": Site.parse(settings["site"])}
        if parts.get("feature_names") is not None:
            parts["feature_names"] = tuple(parts["feature_names"])
        return cls(**parts)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        site: Site,
        *,
        encoder: EstimatorEncoder | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> "Dictionary":
        """The dictionary of a fitted scikit-learn style estimator.

        ``linear`` reads encoder and atoms off the estimator's own ``transform`` and
        ``inverse_transform``, so that it encodes exactly as the estimator does. ``nnls`` takes
        ``components_``, with the estimator's ``code_penalty_``, ``offset_`` and ``max_active``
        where it has them. ``relu`` and ``topk`` take ``components_``, ``encoder_weight_``
        [channels features], ``encoder_bias_``, ``offset_`` and, for ``topk``, ``max_active_``.
        Names come from ``feature_names_`` where the estimator has it.

        Args:
            estimator: has ``components_`` [features channels].
            site: where its rows came from.
            encoder: rule by which to encode; by default ``linear`` when it centres its data
                (has a ``mean_``), else ``nnls``.
            provenance: how it was made, as plain JSON values.

        Raises:
            InputError: when the estimator is not fitted, has no ``components_``, or should be
                linear and is not, or cannot say how it decodes.
        """
        if not hasattr(estimator, "components_"):
            raise InputError(
                f"{type(estimator).__name__} has no components_; fit it first, or make the "
                "Dictionary from its atoms."
            )
        kind = encoder or ("linear" if hasattr(estimator, "mean_") else "nnls")
        names = getattr(estimator, "feature_names_", None)
        if kind in ("relu", "topk"):
            return cls(
                atoms=_tensor(estimator.components_),
                site=site,
                encoder=kind,
                encoder_weight=_tensor(estimator.encoder_weight_),
                encoder_bias=_tensor(estimator.encoder_bias_),
                offset=_tensor(estimator.offset_),
                top_k=estimator.max_active_ if kind == "topk" else None,
                feature_names=names,
                provenance=provenance or {},
            )
        if kind == "nnls":
            offset = np.asarray(getattr(estimator, "offset_", 0.0))
            return cls(
                atoms=_tensor(estimator.components_),
                site=site,
                offset=_tensor(offset) if offset.any() else None,
                top_k=getattr(estimator, "max_active", None),
                penalty=float(getattr(estimator, "code_penalty_", 0.0)),
                rectify=bool(getattr(estimator, "rectifies", False)),
                feature_names=names,
                provenance=provenance or {},
            )
        if not hasattr(estimator, "inverse_transform"):
            raise InputError(
                f"{type(estimator).__name__} centres its data but has no inverse_transform to take "
                "the atoms from; make the Dictionary from its atoms and offset."
            )
        channels, features = estimator.components_.shape[1], len(estimator.components_)
        origin = estimator.transform(np.zeros((1, channels)))
        weight = estimator.transform(np.eye(channels)) - origin
        probe = np.random.default_rng(0).normal(size=(2, channels))
        if not np.allclose(estimator.transform(probe), probe @ weight + origin, atol=1e-4):
            raise InputError(
                f"{type(estimator).__name__} does not encode linearly; use encoder='nnls'."
            )
        offset = estimator.inverse_transform(np.zeros((1, features)))
        return cls(
            atoms=_tensor(estimator.inverse_transform(np.eye(features)) - offset),
            site=site,
            encoder="linear",
            encoder_weight=_tensor(weight),
            encoder_bias=_tensor(estimator.transform(offset)[0]),
            offset=_tensor(offset[0]),
            feature_names=names,
            provenance=provenance or {},
        )

    def __repr__(self) -> str:
        return (
            f"Dictionary({self.n_features} features × {self.n_channels} channels at {self.site}, "
            f"encoder={self.encoder!r})"
        )


def _tensor(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).contiguous()
