"""Which output channels of an attention's input projections are whose queries, keys and values.

Found by what they do, whatever the layout (separate, fused, interleaved, grouped): the outputs of
the projections are replaced by chosen numbers, and what reaches the output projection is read.

Values. The first token attends to itself alone, so what it hands on *is* its value: a number
written into channel c comes out wherever c is a value. Queries and keys. With values 0 at the first
token and 1 at the second, the second token hands on its attention to itself. That changes with the
keys of the first token and never with its queries. Scores. Its log odds must be
``scale · q·k``, or that of normed q and k; this checks the order of channels and gives the scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cofire.models.attention_probe import AttentionProbe, Wiring, log_odds, with_values
from cofire.models.attention_scores import ScoreLayout, find_scores
from cofire.types import Int, Tensor

_LARGE = 1000.0
"""A value that shows a clipping of values."""

_REPEATS = 4
_AHEAD = 3.0
"""How many times the runner-up's effect that of a head's own queries or keys must be."""


@dataclass(frozen=True, eq=False)
class AttentionLayout:
    """Where the parts of every head lie among the channels of the projections.

    Attributes:
        values: channel of each entry of each head's value.
        clip: largest value that passes through unchanged, None when there is no limit.
        scores: queries and keys, or why they could not be told.
    """

    values: Int[Tensor, "heads d_head"]
    clip: float | None
    scores: ScoreLayout | str


def find_layouts(
    trunk: nn.Module, wirings: Sequence[Wiring], device: torch.device
) -> list[AttentionLayout | str]:
    """Find the layouts of many layers at once, or say why a layer's cannot be found.

    Costs three forward passes of two positions, of at most some hundred rows.
    """
    values = _find_values(AttentionProbe(trunk, wirings, device))
    known = {i: found for i, found in enumerate(values) if not isinstance(found, str)}
    layouts: dict[int, AttentionLayout | str] = {
        i: found for i, found in enumerate(values) if isinstance(found, str)
    }
    if known:
        probe = AttentionProbe(trunk, [wirings[i] for i in known], device)
        channels = [found[0] for found in known.values()]
        scores = find_scores(probe, channels, _find_chunks(probe, channels))
        for (i, found), score in zip(known.items(), scores, strict=True):
            layouts[i] = AttentionLayout(*found, score)
    return [layouts[i] for i in range(len(values))]


def _find_values(probe: AttentionProbe) -> list[tuple[Tensor, float | None] | str]:
    """Source channel of everything that the heads hand on, or why it is not a value."""
    n_bits = max(wiring.total for wiring in probe.wirings).bit_length()
    given = []
    for wiring in probe.wirings:
        rows = torch.ones(n_bits + 1, 2, wiring.total)
        numbers = torch.arange(wiring.total)
        for bit in range(n_bits):
            rows[bit, 0] += (numbers >> bit) & 1
        rows[n_bits] = _LARGE
        given.append(rows)
    found: list[tuple[Tensor, float | None] | str] = []
    for wiring, heard in zip(probe.wirings, probe(given), strict=True):
        first = heard[:, 0]
        bits = first[:-1] - 1
        if not ((bits - bits.round()).abs() < 0.02).all() or not (bits.round().abs() <= 1).all():
            found.append("its heads do not hand on plain values (gated, normed, or no attention)")
            continue
        sources = (bits.round().long() << torch.arange(n_bits)[:, None]).sum(dim=0)
        if not (sources < wiring.total).all():
            found.append("its heads hand on more than values")
            continue
        largest = first[-1].min().item()
        clip = None if largest > 0.99 * _LARGE else largest
        found.append((sources.view(wiring.n_heads, wiring.d_head), clip))
    return found


def _chunks_of(wiring: Wiring, values: Tensor) -> Tensor | None:
    """Channels that are no values, in chunks of a head's width [chunks d_head]; None if uneven."""
    rest = torch.ones(wiring.total, dtype=torch.bool)
    rest[values.flatten()] = False
    left = rest.nonzero().flatten()
    return None if len(left) % wiring.d_head else left.view(-1, wiring.d_head)


def _find_chunks(
    probe: AttentionProbe, values: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor] | str]:
    """Channels of every head's query and key, taking a head's channels to lie side by side."""
    generator = torch.Generator().manual_seed(0)
    chunks = [_chunks_of(w, v) for w, v in zip(probe.wirings, values, strict=True)]
    most = max((len(c) for c in chunks if c is not None), default=0)
    given = []
    for wiring, channels, mine in zip(probe.wirings, values, chunks, strict=True):
        base = with_values(wiring, channels, _REPEATS, generator)
        rows = base.repeat(2 * most + 1, 1, 1).view(2 * most + 1, _REPEATS, 2, wiring.total)
        for number, chunk in enumerate(() if mine is None else mine):
            for position in (0, 1):  # turned round, so that its length stays as it was
                rows[2 * number + position][:, position, chunk] *= -1
        given.append(rows.flatten(0, 1))
    found: list[tuple[Tensor, Tensor] | str] = []
    for wiring, mine, heard in zip(probe.wirings, chunks, probe(given), strict=True):
        if mine is None:
            found.append("its queries and keys are of another width than its values")
            continue
        odds = log_odds(heard, wiring).view(2 * most + 1, _REPEATS, -1)
        effect = (odds[:-1] - odds[-1]).abs().mean(dim=1).view(most, 2, -1)[: len(mine)]
        found.append(_assign(mine, effect))
    return found


def _assign(chunks: Tensor, effect: Tensor) -> tuple[Tensor, Tensor] | str:
    """Key and query chunk of every head.

    Args:
        chunks: channels [chunks d_head].
        effect: on each head of turning a chunk round at the first and second token
            [chunks 2 heads].
    """
    unclear = "it cannot be told which of its channels are the queries and keys of which head"
    if len(chunks) < 2:
        return unclear
    before = effect[:, 0].topk(2, dim=0)
    if not (before.values[0] > _AHEAD * before.values[1]).all():
        return unclear
    keys = before.indices[0]
    at_last = effect[:, 1].clone()
    at_last.scatter_(0, keys[None], 0)
    after = at_last.topk(2, dim=0)
    if not (after.values[0] > _AHEAD * after.values[1]).all():
        return unclear
    return chunks[after.indices[0]], chunks[keys]
