"""How queries and keys become scores: the scale, the norms on them, and turning by position."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cofire.models.attention_probe import AttentionProbe, Wiring, log_odds, with_values
from cofire.models.norms import NormMap
from cofire.types import Float, Int, Tensor

_SCORE_ROWS = 16


@dataclass(frozen=True, eq=False)
class ScoreLayout:
    """How queries and keys become scores.

    Attributes:
        queries: channel of each entry of each head's query.
        keys: the same of its key; heads of one group share theirs.
        scale: factor of q·k in the score.
        rotary: whether the score depends on where the two tokens stand beyond a constant.
        query_gain, key_gain: gains of the norms on queries and keys, one row a head; None where
            they are not normed.
    """

    queries: Int[Tensor, "heads d_head"]
    keys: Int[Tensor, "heads d_head"]
    scale: float
    rotary: bool
    query_gain: Float[Tensor, "heads d_head"] | None
    key_gain: Float[Tensor, "heads d_head"] | None


def find_scores(
    probe: AttentionProbe, values: Sequence[Tensor], chunks: Sequence[tuple[Tensor, Tensor] | str]
) -> list[ScoreLayout | str]:
    """Check that scores are products of queries and keys, and find the scale."""
    generator = torch.Generator().manual_seed(1)
    given = []
    for wiring, channels, pair in zip(probe.wirings, values, chunks, strict=True):
        rows = with_values(wiring, channels, 2 * _SCORE_ROWS + 1, generator)
        if not isinstance(pair, str):
            _set_scores(rows, wiring, *pair, generator)
        given.append(rows)
    found: list[ScoreLayout | str] = []
    in_one_place, apart = probe(given, in_one_place=True), probe(given)
    for wiring, pair, rows, *heard in zip(
        probe.wirings, chunks, given, in_one_place, apart, strict=True
    ):
        if isinstance(pair, str):
            found.append(pair)
            continue
        near, far = (log_odds(one, wiring) for one in heard)
        odds = torch.cat([(near - near[-1])[:_SCORE_ROWS], (far - far[-1])[_SCORE_ROWS:-1]])
        found.append(_understand(wiring, *pair, rows, odds))
    return found


def _set_scores(
    rows: Tensor, wiring: Wiring, queries: Tensor, keys: Tensor, generator: torch.Generator
) -> None:
    """Write queries and keys whose products are of many sizes, so that some suit any scale.

    Heads with one key get one query. Its key is random but for a chosen product with it, small
    beside the lengths of both: norms could else make every score too large to be read.
    """
    query_gain, key_gain = _gain(wiring, queries), _gain(wiring, keys)
    cosines = 0.5 ** torch.arange(1.0, _SCORE_ROWS + 1)
    sizes = 2.0 ** (torch.arange(_SCORE_ROWS) / 2)
    cosines[1::2] *= -1
    for channels in keys.unique(dim=0):
        heads = (keys == channels).all(dim=1).nonzero().flatten()
        for start, position in ((0, 1), (_SCORE_ROWS, 0)):
            query = torch.randn(_SCORE_ROWS, wiring.d_head, generator=generator)
            key = torch.randn(_SCORE_ROWS, wiring.d_head, generator=generator)
            query -= query.mean(dim=1, keepdim=True)
            for row in range(_SCORE_ROWS):
                across = (query_gain[heads] * key_gain[heads] * query[row]).unique(dim=0)
                aim = cosines[row] * across.norm(dim=1) * key[row].norm()
                across = torch.cat([across, torch.ones(1, wiring.d_head)])
                aim = torch.cat([aim, torch.zeros(1)])
                key[row] += torch.linalg.pinv(across) @ (aim - across @ key[row])
                product = (query[row] @ key[row]).abs().clamp_min(1e-9)
                query[row] *= (sizes[row] / 4 / product).sqrt()
                key[row] *= (sizes[row] / 4 / product).sqrt()
                rows[start + row, 1, queries[heads]] = query[row]
                rows[start + row, position, channels] = key[row]
                rows[start + row, 1 - position, channels] = 0
        rows[-1, :, channels] = 0


def _understand(
    wiring: Wiring, queries: Tensor, keys: Tensor, rows: Tensor, odds: Tensor
) -> ScoreLayout | str:
    """Fit the scale to the log odds, without norms or with those that were found."""
    n = _SCORE_ROWS
    read = (odds.abs() > 0.05) & (odds.abs() < 4)  # others are lost in rounding
    at_self, before = read[:n], read[n:]
    raw = rows[:, 1][:, queries], rows[:, 1][:, keys], rows[:, 0][:, keys]
    normed = tuple(
        _normed(wiring, rows[:, position], channels)
        for position, channels in ((1, queries), (1, keys), (0, keys))
    )
    for q, own, first in (raw, normed):
        near = (q[:n] * own[:n]).sum(dim=-1).double()
        far = -(q[n:-1] * first[n:-1]).sum(dim=-1).double()
        x, y = near[at_self], odds[:n][at_self]
        if len(x) < wiring.n_heads:
            continue
        scale = ((x * y).sum() / x.square().sum()).item()
        if _rest(y, scale * x) > 0.05:
            continue
        straight = before.any() and _rest(odds[n:][before], scale * far[before]) < 0.05
        is_normed = q is normed[0] and bool(wiring.norms)
        return ScoreLayout(
            queries=queries,
            keys=keys,
            scale=scale,
            rotary=not straight,
            query_gain=_gain(wiring, queries) if is_normed else None,
            key_gain=_gain(wiring, keys) if is_normed else None,
        )
    return "its scores are no products of queries and keys"


def _rest(seen: Tensor, expected: Tensor) -> float:
    """Share of the seen numbers' length that is not explained."""
    return ((seen - expected).norm() / seen.norm()).item()


def _norm_on(wiring: Wiring, channels: Tensor) -> NormMap | None:
    first = int(channels.min())
    return next((norm for start, norm in wiring.norms if start == first), None)


def _groups(norm: NormMap, channels: Tensor) -> Tensor:
    """Channels that a norm takes together, one group a row: a head, or all heads."""
    return channels.unique().view(-1, len(norm.gain))


def _gain(wiring: Wiring, channels: Tensor) -> Float[Tensor, "heads d_head"]:
    """Gain of the norm on some channels; ones without a norm."""
    norm = _norm_on(wiring, channels)
    gain = torch.ones(wiring.total)
    if norm is not None:
        groups = _groups(norm, channels)
        gain[groups] = norm.gain.cpu().expand(groups.shape)
    return gain[channels]


def _normed(wiring: Wiring, rows: Tensor, channels: Tensor) -> Tensor:
    """What the norm on some channels makes of rows, [rows heads d_head]."""
    norm = _norm_on(wiring, channels)
    if norm is None:
        return rows[:, channels]
    groups = _groups(norm, channels)
    whole = rows[:, groups]
    centred = whole - whole.mean(dim=-1, keepdim=True) if norm.centred else whole
    length = centred.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-12)
    image = torch.zeros_like(rows)
    image[:, groups] = centred / length * norm.gain.cpu() + norm.bias.cpu()
    return image[:, channels]
