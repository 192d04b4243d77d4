"""What docs/results/weights.md is written from, and choices that its sections share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cofire.weights.head_record import ComponentRecord, HeadRecord

METHODS = ("svd", "ica", "snmf")
NAMES = {"svd": "SVD", "ica": "ICA", "ica-stable": "ICA, stable", "nmf": "NMF", "snmf": "semi-NMF"}
LEVEL = 0.05
OUTSTANDING = 3  # heads shown of each kind


@dataclass(frozen=True)
class Study:
    """What the page is written from.

    Attributes:
        heads: all of them.
        tried: those whose components were taken out.
        manifest: of the weights folder.
        behaviour: what heads do: grids [layers][heads] by score, under ``repeats`` and ``texts``;
            and ``fan_out``, of random directions.
        induction: what heads do where a passage comes twice, see ``weights_induction.py``.
        seconds: what each step took.
        command: how to make the page again.
        most_removed: components of a method taken out of a head.
        texts: sentences that the model read meanwhile.
    """

    heads: list[HeadRecord]
    tried: list[HeadRecord]
    manifest: dict[str, Any]
    behaviour: dict[str, Any]
    induction: dict[str, Any]
    seconds: dict[str, float]
    command: str
    most_removed: int
    texts: int


def copying(one: HeadRecord) -> float:
    """How much a head copies."""
    return -2.0 if one.copying is None else one.copying.value


def suppressing(one: HeadRecord) -> float:
    """How much a head suppresses."""
    return -2.0 if one.copying is None else -one.copying.value


def inducing(one: HeadRecord) -> float:
    """How much a head looks behind the last occurrence of its token."""
    return -1.0 if one.induction is None else one.induction


def outstanding(heads: Sequence[HeadRecord]) -> list[HeadRecord]:
    """The heads that copy, suppress and look for repeats the most."""
    chosen: dict[str, HeadRecord] = {}
    for key in (copying, suppressing, inducing):
        for one in sorted(heads, key=key, reverse=True)[:OUTSTANDING]:
            chosen[one.name] = one
    return list(chosen.values())


def by_method(heads: Sequence[HeadRecord]) -> list[tuple[str, list[ComponentRecord]]]:
    """Components of all heads, those of ICA also the stable ones alone."""
    found = [(m, [c for one in heads for c in one.of_method(m)]) for m in METHODS]
    stable = [c for one in heads for c in one.of_method("ica") if c.stable]
    return [*found[:2], ("ica-stable", stable), *found[2:]]


def heads_of_several_operations(heads: Sequence[HeadRecord]) -> list[HeadRecord]:
    """Heads whose stable components are not all of one class."""
    return [
        one
        for one in heads
        if len({c.operation for c in one.of_method("ica") if c.stable and c.operation}) > 1
    ]


def clear(
    lines: Sequence[ComponentRecord],
) -> tuple[list[ComponentRecord], list[ComponentRecord]]:
    """Components that surely do more, and those that surely do less, than random ones."""
    sure = [
        c
        for c in lines
        if c.p_ablation is not None
        and c.p_ablation <= LEVEL
        and c.kl_own is not None
        and c.kl_random is not None
    ]
    more = [c for c in sure if (c.kl_own or 0.0) > (c.kl_random or 0.0)]
    return more, [c for c in sure if c not in more]
