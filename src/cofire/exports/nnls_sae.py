"""Exact nonnegative least squares as an architecture of SAELens: ``cofire-nnls``.

SAELens keeps its architectures in a registry. Once this one is in it, ``SAE.load_from_disk`` opens
a folder that cofire wrote with exact codes, and everything that takes an SAELens object takes it.
``import cofire.exports.nnls_sae`` does that.

This module imports SAELens, so it is itself imported only where SAELens is.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from sae_lens.registry import SAE_CLASS_REGISTRY
from sae_lens.saes.sae import SAE, SAEConfig, SAEMetadata
from torch import Tensor

from cofire.baselines.sae_folder import NNLS_ARCHITECTURE
from cofire.errors import InputError
from cofire.nnls import nonnegative_codes


@dataclass
class NonnegativeSAEConfig(SAEConfig):
    """What ``Dictionary`` calls penalty, top_k and rectify."""

    penalty: float = 0.0
    max_active: int | None = None
    rectify: bool = False
    metadata: Any = field(default_factory=SAEMetadata)  # SAELens passes a dict first

    @classmethod
    def architecture(cls) -> str:
        """Name in the registry."""
        return NNLS_ARCHITECTURE


class NonnegativeSAE(SAE[NonnegativeSAEConfig]):
    """Codes are the argmin over c ≥ 0 of ½‖x − b_dec − c W_dec‖² + penalty · Σc.

    They have no gradient with respect to x. ``W_enc`` is the transposed decoder, for tools that
    look at encoder directions; it is not what encodes.
    """

    @property
    def W_enc(self) -> Tensor:  # noqa: N802  (SAELens' name)
        """The transposed decoder [channels features]."""
        return self.W_dec.T

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "W_enc":  # the base class makes a parameter of that name
            super().__setattr__(name, value)

    def encode(self, x: Tensor) -> Tensor:
        """Exact codes [..., features] of rows [..., channels]."""
        rows = self.process_sae_in(x.clamp_min(0) if self.cfg.rectify else x)
        with torch.no_grad():
            codes = nonnegative_codes(
                rows.reshape(-1, rows.shape[-1]),
                self.W_dec.detach(),
                penalty=self.cfg.penalty,
                max_active=self.cfg.max_active,
            )
        return self.hook_sae_acts_post(codes.to(rows).reshape(*rows.shape[:-1], -1))

    def decode(self, feature_acts: Tensor) -> Tensor:
        """Rows that codes stand for, in the shape SAELens read them in."""
        rows = self.hook_sae_recons(feature_acts @ self.W_dec + self.b_dec)
        return self.reshape_fn_out(self.run_time_activation_norm_fn_out(rows), self.d_head)

    def fold_W_dec_norm(self) -> None:  # noqa: N802  (SAELens' name)
        """Refused: the penalty would weigh features otherwise afterwards.

        Raises:
            InputError: always.
        """
        raise InputError(
            "The decoder's norms cannot be folded into exact codes; load without fold_W_dec_norm."
        )


SAE_CLASS_REGISTRY.setdefault(NNLS_ARCHITECTURE, (NonnegativeSAE, NonnegativeSAEConfig))
