"""Several features of one layer steered at once: strengths, the next token's chances, texts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from cofire.errors import InputError
from cofire.evaluation.kl_search import kl_divergence
from cofire.evaluation.steering import GenerationWatch, Steering
from cofire.evaluation.steering_records import (
    CellKey,
    Generation,
    Sign,
    SteeringCell,
    SteeringSettings,
)
from cofire.models.adapter import LanguageModel
from cofire.models.generation import TextGenerator
from cofire.site import Site
from cofire.types import AtomMatrix

_NOTHING = 1e-5
"""Length of a sum, relative to what was added, that is put down to rounding."""

PushStatus: TypeAlias = Literal["given", "found", "unreachable", "inexact"]


@dataclass(frozen=True, kw_only=True)
class Push:
    """How one feature is steered: by a strength, or until the next token has changed so much.

    Attributes:
        feature: row of the atoms.
        strength: how much of the unit atom is added, at least 0, in units of the median length of
            the activations at the site over the prompt.
        kl: KL(base ‖ steered) at the last prompt token that the feature is to reach by itself, in
            nats.
        sign: 1 adds the atom, −1 takes it away.

    Raises:
        InputError: when there is not one of strength and KL, or it is out of range.
    """

    feature: int
    strength: float | None = None
    kl: float | None = None
    sign: Sign = 1

    def __post_init__(self) -> None:
        if (self.strength is None) == (self.kl is None):
            raise InputError(f"Give feature {self.feature} a strength or a KL target, one of them.")
        if self.strength is not None and not 0 <= self.strength < math.inf:
            raise InputError(f"A strength must be 0 or more; got {self.strength}.")
        if self.kl is not None and not 0 < self.kl < math.inf:
            raise InputError(f"A KL target must be above 0 nats; got {self.kl}.")
        if self.sign not in (1, -1):
            raise InputError(f"A sign is 1 or -1; got {self.sign}.")


@dataclass(frozen=True)
class Pushed:
    """The strength of one feature, and what it does by itself.

    Attributes:
        feature: row of the atoms.
        sign: 1 or −1.
        strength: in the units of ``Push.strength``.
        kl: what it reaches by itself, in nats; None when the model gives no numbers there.
        status: ``given``, or how the search for its KL target ended.
    """

    feature: int
    sign: Sign
    strength: float
    kl: float | None
    status: PushStatus


@dataclass(frozen=True)
class TokenChance:
    """A next token's probability before and after steering.

    Attributes:
        token_id: number in the vocabulary.
        token: its text.
        before: probability under the model as it is.
        after: probability under the steered model.
    """

    token_id: int
    token: str
    before: float
    after: float


class SteeringTogether:
    """The model steered along Σ sign · strength · (unit atom) of some features, at one site.

    Features with a KL target are matched one by one, each by itself; all are then added. With a
    target for the sum, the sum is scaled until it reaches that.

    Attributes:
        pushed: the features one by one.
        strength: length of the sum, in the units of ``Push.strength``.
        kl: KL(base ‖ steered) of all together at the last prompt token, in nats; None when the
            model gives no numbers there.
        status: ``given``, or how the search for the target of the sum ended.

    Args:
        model: the model.
        site: where it is steered.
        atoms: [features channels]; only their directions count.
        pushes: which features, and how.
        settings: one prompt; samples, sampling, seed. Targets and signs are not used.
        kl: target for all together, in nats; None to add the features as they are.
        generator: of the same model, when one was made already.

    Raises:
        InputError: when a feature does not exist or comes twice, its atom is zero, the features
            cancel one another out, or there is not one prompt.
        ModelError: when the model lacks the site or a language head.
    """

    def __init__(
        self,
        model: LanguageModel,
        site: Site,
        atoms: AtomMatrix,
        pushes: Sequence[Push],
        settings: SteeringSettings,
        *,
        kl: float | None = None,
        generator: TextGenerator | None = None,
    ) -> None:
        _check(atoms, pushes, settings)
        generator = generator or TextGenerator(model)
        chosen = atoms[[push.feature for push in pushes]].float().cpu()
        alone = Steering(model, site, chosen, settings, generator=generator)
        self._unit = alone.site_length()
        cells = _matched(alone, pushes, self._unit)
        self.pushed = tuple(
            Pushed(push.feature, push.sign, cell.alpha / self._unit, reached, _status(push, cell))
            for push, cell, reached in zip(pushes, cells, _reached(alone, cells), strict=True)
        )
        units = torch.nn.functional.normalize(chosen, dim=1)
        strengths = torch.tensor([cell.sign * cell.alpha for cell in cells])
        total = strengths @ units
        if strengths.any() and total.norm() <= _NOTHING * strengths.abs().sum():
            raise InputError("These features cancel one another out: nothing is left to add.")
        self._steering = Steering(model, site, total[None], settings, generator=generator)
        self._cell = SteeringCell(0, 1, 0.0, 0, float(total.norm()), 0.0, "found")
        self.status: PushStatus = "given"
        if kl is not None:
            (self._cell,) = self._steering.match([CellKey(0, 1, kl)])
            self.status = self._cell.status
        self.strength = self._cell.alpha / self._unit
        (self.kl,) = _reached(self._steering, [self._cell])

    def chances(self, n: int = 10) -> list[TokenChance]:
        """The ``n`` most likely next tokens before and the ``n`` after, largest change first.

        Empty when the steered model gives no numbers.
        """
        ((_, logits),) = self._steering.logits([self._cell])
        if not torch.isfinite(logits).all():
            return []
        before = torch.softmax(self._steering.base_logits().double(), dim=0)
        after = torch.softmax(logits.double(), dim=0)
        n = min(n, len(before))
        shown = torch.cat([before.topk(n).indices, after.topk(n).indices]).unique().tolist()
        tokens = self._steering.model.tokenizer.batch_decode([[token_id] for token_id in shown])
        found = [
            TokenChance(token_id, token, float(before[token_id]), float(after[token_id]))
            for token_id, token in zip(shown, tokens, strict=True)
        ]
        return sorted(found, key=lambda chance: -abs(chance.after - chance.before))

    def texts(self, watch: GenerationWatch | None = None) -> Iterator[Generation]:
        """Continuations of the model as it is, then of the steered one, from the same draws.

        Args:
            watch: called after every new token with all of them so far; what it raises ends it.
        """
        yield from self._steering.beside_reference(self._cell, watch=watch)


def _check(atoms: AtomMatrix, pushes: Sequence[Push], settings: SteeringSettings) -> None:
    numbers = [push.feature for push in pushes]
    if not numbers or len(set(numbers)) != len(numbers):
        raise InputError(f"Steering needs features, each of them once; got {numbers}.")
    if len(settings.prompts) != 1:
        raise InputError(f"Steering together takes one prompt; got {len(settings.prompts)}.")
    for number in numbers:
        if not 0 <= number < len(atoms):
            raise InputError(
                f"Feature {number} does not exist: there are features 0 to {len(atoms) - 1}."
            )
        if not atoms[number].any():
            raise InputError(f"The atom of feature {number} is zero; there is nothing to add.")


def _matched(alone: Steering, pushes: Sequence[Push], unit: float) -> list[SteeringCell]:
    """A cell for every push; each push is a feature of ``alone`` by its place."""
    cells = [
        SteeringCell(place, push.sign, 0.0, 0, (push.strength or 0.0) * unit, 0.0, "found")
        for place, push in enumerate(pushes)
    ]
    wanted = [
        CellKey(place, push.sign, push.kl)
        for place, push in enumerate(pushes)
        if push.kl is not None
    ]
    for cell in alone.match(wanted):
        cells[cell.feature] = cell
    return cells


def _reached(steering: Steering, cells: Sequence[SteeringCell]) -> list[float | None]:
    """KL of every cell by itself; None where the model gives no numbers."""
    found: dict[CellKey, float] = {
        cell.key: float(kl_divergence(steering.base_logits(cell.prompt), logits[None])[0])
        for cell, logits in steering.logits(cells)
    }
    return [found[cell.key] if math.isfinite(found[cell.key]) else None for cell in cells]


def _status(push: Push, cell: SteeringCell) -> PushStatus:
    return "given" if push.strength is not None else cell.status
