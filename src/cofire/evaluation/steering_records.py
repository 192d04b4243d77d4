"""What steering a feature leaves behind: cells, texts and shifts, and how they are made."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cofire.errors import InputError
from cofire.evaluation.kl_search import MatchStatus
from cofire.sampling import SamplingSettings

Sign: TypeAlias = Literal[1, -1]

PUBLISHED_TARGETS = (0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5)
"""KL targets in nats of Shafran, Geiger and Geva (arXiv 2506.10920)."""

PUBLISHED_PROMPT = "I think that"

EXTRA_PROMPTS = (
    "The first thing you notice is",
    "Yesterday afternoon we",
    "According to the report,",
    "Here is a list of",
)
"""Beginnings of other kinds of text, to see whether an effect hangs on the published prompt."""


@dataclass(frozen=True, kw_only=True)
class SteeringSettings:
    """How features are steered; the defaults are the published ones where they are sound.

    Attributes:
        prompts: what is continued; the beginning-of-sequence token goes before each.
        targets: KL(base ‖ steered) at the last prompt token, in nats.
        signs: 1 adds the atom, −1 takes it away; each is matched on its own.
        shared_strength: whether the strength found for sign 1 serves both signs, as published.
        samples: continuations a cell.
        new_tokens: longest continuation.
        sampling: how tokens are drawn.
        steer_bos: whether the beginning-of-sequence token's position is steered like the others,
            as published.
        tolerance: largest relative distance between reached and target KL of a found cell.
        largest_strength: how far strengths are tried, in units of the median length of the
            activations at the site over the prompt.
        seed: what every cell's own seed is made from.
        batch_rows: rows of a forward pass; None for 128 on a CPU and 1024 elsewhere.

    Raises:
        InputError: when a setting is out of range.
    """

    prompts: tuple[str, ...] = (PUBLISHED_PROMPT,)
    targets: tuple[float, ...] = PUBLISHED_TARGETS
    signs: tuple[Sign, ...] = (1, -1)
    shared_strength: bool = False
    samples: int = 8
    new_tokens: int = 50
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    steer_bos: bool = True
    tolerance: float = 0.01
    largest_strength: float = 64.0
    seed: int = 0
    batch_rows: int | None = None

    def __post_init__(self) -> None:
        if not self.prompts or not self.targets or not self.signs:
            raise InputError("Steering needs at least one prompt, one KL target and one sign.")
        for name in ("samples", "new_tokens", "batch_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1; got {value}.")
        if any(sign not in (1, -1) for sign in self.signs):
            raise InputError(f"A sign is 1 or -1; got {self.signs}.")
        wrong = [target for target in self.targets if not 0 < target < math.inf]
        if wrong:
            raise InputError(f"Targets are finite KL divergences above 0 nats; got {wrong[0]}.")
        for name in ("prompts", "targets", "signs"):  # what comes twice would count twice
            values = getattr(self, name)
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise InputError(f"{name} has {twice!r} twice; give every value once.")


@dataclass(frozen=True, order=True)
class CellKey:
    """Which cell: a feature, a sign, a KL target in nats, and the number of the prompt."""

    feature: int
    sign: Sign
    target_kl: float
    prompt: int = 0


@dataclass(frozen=True)
class SteeringCell:
    """A cell with the strength that was found for it.

    Attributes:
        feature, sign, target_kl, prompt: as in ``CellKey``.
        alpha: strength, at least 0: sign · alpha · (unit atom) is added to the activations.
        reached_kl: KL(base ‖ steered) at alpha, in nats.
        status: ``found``; ``unreachable``, when alpha and reached_kl are those of the largest KL
            reached; or ``inexact``, when the KL jumps past the target.
    """

    feature: int
    sign: Sign
    target_kl: float
    prompt: int
    alpha: float
    reached_kl: float
    status: MatchStatus

    @property
    def key(self) -> CellKey:
        """Which cell it is."""
        return CellKey(self.feature, self.sign, self.target_kl, self.prompt)


@dataclass(frozen=True)
class Promotion:
    """How a cell moves the feature's own tokens, at the last token of the prompt.

    Attributes:
        cell: how the model was steered; compare cells of the same target KL, and look at the status
            first: what was unreachable is measured at the largest KL reached.
        n_tokens: how many tokens were looked at.
        logit_shift: see ``promotion.logit_shift``; None when the cell's logits are not finite.
        log_probability_change: see ``promotion.log_probability_change``, in nats; None as above.
        kl_efficiency: see ``promotion.kl_efficiency``; None as above or when nothing was reached.
    """

    cell: SteeringCell
    n_tokens: int
    logit_shift: float | None
    log_probability_change: float | None
    kl_efficiency: float | None


@dataclass(frozen=True)
class Generation:
    """One continuation.

    Attributes:
        cell: how the model was steered; None for the model as it is.
        prompt: number of the prompt.
        sample: number of the continuation within its cell, from 0.
        text: the continuation, without the prompt and without special tokens.
        token_ids: its tokens, without the prompt and the token that ended it.
        ended: whether the model ended it before the longest length.
        seed: seed of the continuation's own random numbers.
    """

    cell: SteeringCell | None
    prompt: int
    sample: int
    text: str
    token_ids: tuple[int, ...]
    ended: bool
    seed: int


def plan_cells(features: Iterable[int], settings: SteeringSettings) -> list[CellKey]:
    """Every cell of some features: prompt by prompt, and within one feature by feature.

    >>> settings = SteeringSettings(targets=(0.1, 0.5), signs=(1,))
    >>> [(key.feature, key.target_kl) for key in plan_cells([7, 3], settings)]
    [(7, 0.1), (7, 0.5), (3, 0.1), (3, 0.5)]
    """
    chosen: Sequence[int] = list(features)
    return [
        CellKey(feature, sign, target, prompt)
        for prompt in range(len(settings.prompts))
        for feature in chosen
        for sign in settings.signs
        for target in settings.targets
    ]


def sample_seed(seed: int, prompt: str, key: CellKey | None, sample: int) -> int:
    """The seed of one continuation, from what it is and nothing else (63 bits of a hash)."""
    cell = None if key is None else (key.feature, key.sign, key.target_kl)
    identity = repr((seed, prompt, cell, sample)).encode()
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "big") >> 1
