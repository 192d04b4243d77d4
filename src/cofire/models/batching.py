"""Which texts go through the model together, and how they are padded."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.types import Int, Tensor

PaddingSide: TypeAlias = Literal["left", "right"]


def plan_batches(
    lengths: Sequence[int], *, batch_tokens: int, batch_size: int | None = None
) -> Iterator[list[int]]:
    """Group texts of like length, longest first, so that little is spent on padding.

    Longest first, because a batch that does not fit into memory then fails at the start.

    Args:
        lengths: tokens of each text.
        batch_tokens: most tokens of a batch, padding included; a longer text goes alone.
        batch_size: most texts of a batch; None for no limit.

    Yields:
        Places in ``lengths``, each place once.

    >>> list(plan_batches([3, 9, 4, 4], batch_tokens=9))
    [[1], [2, 3], [0]]
    """
    if batch_tokens < 1 or (batch_size is not None and batch_size < 1):
        raise InputError(
            f"batch_tokens and batch_size must be at least 1; got {batch_tokens} and {batch_size}."
        )
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    start = 0
    while start < len(order):
        fitting = max(1, batch_tokens // max(1, lengths[order[start]]))
        stop = start + min(fitting, batch_size or fitting)
        yield order[start:stop]
        start = stop


def pad(
    ids: Sequence[Sequence[int]], pad_id: int, side: PaddingSide, device: torch.device
) -> tuple[
    Int[Tensor, "batch position"], Int[Tensor, "batch position"], Int[Tensor, "batch position"]
]:
    """Pad texts to one length.

    Returns:
        Token ids, attention mask (1 for tokens) and position ids, which count each text's tokens
        from 0 on either side and stay at the nearest token's number on padding.
    """
    width = max(map(len, ids))
    tokens = torch.full((len(ids), width), pad_id)
    mask = torch.zeros((len(ids), width), dtype=torch.long)
    for row, text in enumerate(ids):
        place = slice(0, len(text)) if side == "right" else slice(width - len(text), width)
        tokens[row, place] = torch.tensor(text)
        mask[row, place] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return tokens.to(device), mask.to(device), positions.to(device)
