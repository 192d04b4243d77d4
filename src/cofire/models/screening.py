"""The k highest logits without all logits: a coarse product finds every token that can be one.

On processors with bfloat16 units the product of the stream with a vocabulary of 262 144 is several
times faster in bfloat16. Its error has a bound, so that it can be used to leave out the tokens that
cannot be among the highest; the logits of those that can are then computed in float32.
"""

import time

import torch

from cofire.types import Float, Int, Tensor

GROUP = 64
"""Tokens whose highest coarse logit is looked at together."""

_ROUNDOFF = 2.0**-9
"""Largest relative error of rounding to bfloat16 (8 significant bits)."""

_MOST_SHARE = 1 / 64
"""Where more of the tokens, or eight times this of the groups, could be among the highest, all
logits are computed."""

_SLACK = 1 + 2.0**-16
"""Covers the rounding of a length that is computed in float32."""

_BLOCK = 16_384
_PROBE_TOKENS, _PROBE_ROWS, _PROBE_REPEATS = 16_384, 32, 3
_WORTHWHILE = 1.5
"""How many times faster the coarse product must be."""


class Screen:
    """Finds the highest entries of ``W h`` for rows h.

    Writing ĥ, ŵ for the values rounded to bfloat16, u = 2⁻⁹ and d for the width, the coarse logit
    z = round(ĥ · ŵ), summed in float32, is within

        ε = ‖h − ĥ‖ ‖w‖ + ‖ĥ‖ ‖w − ŵ‖ + d 2⁻²³ ‖ĥ‖ ‖ŵ‖ + u |z| / (1 − u)

    of h · w, by the Cauchy-Schwarz inequality. Tokens are looked at in groups, each group first
    standing for its highest z. With τ the k-th highest z − ε of the groups, no token with
    z + ε < τ is among the k highest.

    Args:
        weight: W [vocab d_model] in float32; a copy in bfloat16 is kept.
    """

    def __init__(self, weight: Float[Tensor, "vocab d_model"]) -> None:
        self._weight = weight
        n_tokens, width = weight.shape
        self._n_tokens = n_tokens
        n_groups = -(-n_tokens // GROUP)
        self._coarse = torch.zeros(n_groups * GROUP, width, dtype=torch.bfloat16)
        self._coarse[:n_tokens] = weight
        lengths, losses = torch.zeros(2, n_groups * GROUP).unbind(0)
        lengths[:n_tokens] = weight.norm(dim=1)
        for start in range(0, n_tokens, _BLOCK):
            block = slice(start, min(start + _BLOCK, n_tokens))
            losses[block] = (weight[block] - self._coarse[block].float()).norm(dim=1)
        # Twice the rounding of a sum of d products, so that the norms' own rounding is covered.
        losses += width * 2.0**-23 * lengths
        self._lengths = lengths.view(n_groups, GROUP)
        self._losses = losses.view(n_groups, GROUP)
        self.most = min(n_groups, n_tokens // 4)
        """The largest k that can be asked for."""

    @classmethod
    def where_faster(cls, weight: Float[Tensor, "vocab d_model"]) -> "Screen | None":
        """A screen for float32 weights on a processor that multiplies bfloat16 faster, else None.

        Measured on a part of the weights. The choice changes the time and never the result beyond
        the rounding of float32.
        """
        small = len(weight) < _PROBE_TOKENS
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or small:
            return None
        part = weight[:_PROBE_TOKENS]
        rows = torch.ones(_PROBE_ROWS, weight.shape[1])
        fine = _seconds(rows, part)
        coarse = _seconds(rows.bfloat16(), part.bfloat16())
        return cls(weight) if coarse * _WORTHWHILE < fine else None

    def top(
        self, stream: Float[Tensor, "batch d_model"], k: int
    ) -> tuple[Float[Tensor, "batch vocab"], Int[Tensor, "batch vocab"]]:
        """The k highest logits and their tokens, highest first.

        Args:
            stream: h, one a row.
            k: at most ``most``.
        """
        logits = stream.bfloat16() @ self._coarse.T
        logits[:, self._n_tokens :] = -torch.inf
        grouped = logits.view(len(stream), -1, GROUP)
        coarse = stream.bfloat16().float()
        length, loss = coarse.norm(dim=1), (stream - coarse).norm(dim=1) * _SLACK
        highest = grouped.amax(dim=2).float()
        error = torch.outer(length, self._losses.amax(dim=1)) + _rounding(highest)
        error += torch.outer(loss, self._lengths.amax(dim=1))
        limit = (highest - error).topk(k, dim=1).values[:, -1:]
        n_groups = int(((highest + error) >= limit).sum(dim=1).max())
        if not torch.isfinite(limit).all() or n_groups > 8 * _MOST_SHARE * len(self._lengths):
            return _highest(stream @ self._weight.T, k)
        groups = (highest + error).topk(max(n_groups, k), dim=1).indices
        near = grouped.gather(1, groups[..., None].expand(-1, -1, GROUP)).float()
        near = near + _rounding(near) + length[:, None, None] * self._losses[groups]
        near += loss[:, None, None] * self._lengths[groups]
        n_near = max(int((near >= limit[..., None]).sum(dim=(1, 2)).max()), k)
        if n_near > _MOST_SHARE * self._n_tokens:
            return _highest(stream @ self._weight.T, k)
        bound, place = near.flatten(1).topk(n_near, dim=1)
        tokens = groups.gather(1, place // GROUP) * GROUP + place % GROUP
        tokens = tokens.clamp_max(self._n_tokens - 1)
        exact = torch.einsum("bcd,bd->bc", self._weight[tokens], stream)
        exact = exact.masked_fill(bound == -torch.inf, -torch.inf)  # padding
        best = exact.topk(k, dim=1)
        return best.values, tokens.gather(1, best.indices)


def _rounding(coarse: Tensor) -> Tensor:
    """Error of rounding the sums themselves; 0 for the padding, whose logit is -inf."""
    size = coarse.abs() * (_ROUNDOFF / (1 - _ROUNDOFF))
    return size.masked_fill_(coarse == -torch.inf, 0.0)


def _highest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    best = logits.topk(k, dim=1)
    return best.values, best.indices


def _seconds(rows: Tensor, weight: Tensor) -> float:
    """Fastest of a few products."""
    times = []
    for _ in range(_PROBE_REPEATS + 1):
        start = time.perf_counter()
        torch.matmul(rows, weight.T)
        times.append(time.perf_counter() - start)
    return min(times[1:])
