"""What a norm does to a vector, measured from the module itself: gain, bias, centring."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from cofire.errors import ModelError
from cofire.types import Float, Tensor

_TOLERANCE = 1e-3
_PROBE_LENGTH = 100.0
"""Size of the entries of the probes: large, so that a norm's epsilon does not count."""


@dataclass(frozen=True, eq=False)
class NormMap:
    """A norm as ``N(x) = gain · c(x) / rms(c(x)) + bias``, c the identity or x − mean(x).

    Attributes:
        gain: g, one a channel; Gemma's 1 + w is already added up.
        bias: b, one a channel; zeros in an RMSNorm.
        centred: whether the mean over channels is taken off first (LayerNorm).
    """

    gain: Float[Tensor, "channels"]
    bias: Float[Tensor, "channels"]
    centred: bool

    def fold(self, weight: Float[Tensor, "channels d_head"]) -> Float[Tensor, "channels d_head"]:
        """The map ``weight`` behind the norm as a map of x / rms(c(x)): C diag(g) W."""
        folded = self.gain[:, None] * weight
        return folded - folded.mean(dim=0) if self.centred else folded

    def fold_after(
        self, weight: Float[Tensor, "d_head channels"]
    ) -> Float[Tensor, "d_head channels"]:
        """The map ``weight`` before the norm, past it, save for the division by a length."""
        centred = weight - weight.mean(dim=1, keepdim=True) if self.centred else weight
        return centred * self.gain


def measure_norm(norm: nn.Module, width: int) -> NormMap:
    """Gain, bias and centring of a LayerNorm or RMSNorm of any make, in float32.

    The module is copied, run on a few vectors and must behave as ``NormMap`` says on random ones.

    Args:
        norm: a module from vectors to vectors.
        width: number of channels.

    Raises:
        ModelError: when the module is no such norm.
    """
    exact = copy.deepcopy(norm).float()
    device = next((p.device for p in norm.parameters()), torch.device("cpu"))
    signs = torch.ones(width, device=device)
    signs[1::2] = -1
    flat = _PROBE_LENGTH * (signs - signs.mean())  # of mean 0, and nowhere 0
    noise = torch.randn(3, width, generator=torch.Generator().manual_seed(0)).to(device)
    noise = _PROBE_LENGTH * (1 + noise)
    try:
        with torch.inference_mode():
            seen = exact(torch.cat([torch.zeros_like(flat)[None], flat[None], noise]))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(f"{type(norm).__name__} does not run on single vectors.") from error
    seen = seen.clone()
    bias, gain = seen[0], (seen[1] - seen[0]) * flat.square().mean().sqrt() / flat
    for centred in (False, True):
        c = noise - noise.mean(dim=1, keepdim=True) if centred else noise
        expected = gain * c / c.square().mean(dim=1, keepdim=True).sqrt() + bias
        if torch.allclose(seen[2:], expected, rtol=_TOLERANCE, atol=_TOLERANCE):
            return NormMap(gain, bias, centred)
    raise ModelError(
        f"{type(norm).__name__} is neither a LayerNorm nor an RMSNorm; its weights cannot be "
        "folded into the maps around it. From Python, fold_norm=False gives the weights as they "
        "are."
    )
