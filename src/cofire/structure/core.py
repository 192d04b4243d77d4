"""Core neurons, which most of some features share, and exclusive ones, which one of them has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cofire.code_descent import unit_atoms
from cofire.errors import InputError
from cofire.structure.overlap import check_features
from cofire.structure.support import Support, signed_support
from cofire.types import AtomMatrix, Float, Tensor

SHARE = 0.5
"""Share of the members that must hold a core neuron, unless said otherwise."""


@dataclass(frozen=True)
class HeldNeuron:
    """A neuron that some of the features hold with one sign.

    Attributes:
        neuron: its channel.
        sign: 1 or -1. A neuron that some hold with one sign and some with the other is two entries.
        members: the features that hold it so.
        weights: its weight in each of their atoms of unit length.
    """

    neuron: int
    sign: int
    members: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class SharedNeurons:
    """The neurons of some features, by how many of them hold each.

    Attributes:
        features: the members.
        share: share of the members that must hold a core neuron.
        needed: how many that makes, at least two.
        held: every neuron and sign that a member holds, the most shared first.
    """

    features: tuple[int, ...]
    share: float
    needed: int
    held: tuple[HeldNeuron, ...]

    @property
    def core(self) -> tuple[HeldNeuron, ...]:
        """Neurons that at least ``needed`` members hold with the same sign."""
        return tuple(one for one in self.held if len(one.members) >= self.needed)

    @property
    def between(self) -> tuple[HeldNeuron, ...]:
        """Neurons that several members hold, but too few for the core."""
        return tuple(one for one in self.held if 1 < len(one.members) < self.needed)

    def exclusive(self, feature: int) -> tuple[HeldNeuron, ...]:
        """Neurons that this member alone holds with this sign.

        One that another member holds with the other sign is among them: it tells the two apart.
        """
        return tuple(one for one in self.held if one.members == (feature,))


def shared_neurons(
    atoms: AtomMatrix,
    features: Sequence[int],
    *,
    share: float = SHARE,
    keep: float | None = None,
) -> SharedNeurons:
    """Sort the neurons of some features by how many of the features hold them.

    Args:
        atoms: of the whole dictionary.
        features: the members, at least two.
        share: see ``SHARE``; a core neuron is held by at least two members whatever the share.
        keep: see ``signed_support``.

    Raises:
        InputError: for a share outside (0, 1], for features that do not exist, or dense atoms.

    Example:
        Both features hold neuron 0 with the same sign, and neuron 1 with opposite signs.

        >>> atoms = torch.tensor([[3.0, 4.0, 0, 0, 0, 0, 0, 0], [3.0, -4.0, 0, 0, 0, 0, 0, 0]])
        >>> found = shared_neurons(atoms, [0, 1])
        >>> [(one.neuron, one.sign) for one in found.core]
        [(0, 1)]
        >>> [(one.neuron, one.sign) for one in found.exclusive(1)]
        [(1, -1)]
    """
    if not 0 < share <= 1:
        raise InputError(
            f"The share of members that a core neuron needs is above 0 and at most 1; got {share}."
        )
    chosen = check_features(features, len(atoms))
    support = signed_support(atoms[chosen], keep=keep)
    unit, _ = unit_atoms(atoms[chosen].detach().float().cpu())
    held = []
    for sign in (1, -1):
        for neuron in (support == sign).any(axis=0).nonzero()[0].tolist():
            rows = (support[:, neuron] == sign).nonzero()[0].tolist()
            held.append(
                HeldNeuron(
                    neuron,
                    sign,
                    tuple(chosen[row] for row in rows),
                    tuple(float(unit[row, neuron]) for row in rows),
                )
            )
    held.sort(key=lambda one: (-len(one.members), -sum(map(abs, one.weights)), one.neuron))
    needed = max(2, math.ceil(share * len(chosen) - 1e-9))
    return SharedNeurons(tuple(chosen), share, needed, tuple(held))


def core_size(support: Support, needed: int) -> int:
    """How many neurons at least ``needed`` of these atoms hold with the same sign."""
    plus, minus = (support > 0).sum(axis=0), (support < 0).sum(axis=0)
    return int((plus >= needed).sum() + (minus >= needed).sum())


def core_direction(found: SharedNeurons, channels: int) -> Float[Tensor, "channels"]:
    """The members' unit atoms on the core neurons, averaged over all members; not normalised.

    A member that does not hold a core neuron counts with 0.
    """
    direction = torch.zeros(channels)
    for one in found.core:
        direction[one.neuron] += sum(one.weights) / len(found.features)
    return direction


def exclusive_direction(
    found: SharedNeurons, feature: int, channels: int
) -> Float[Tensor, "channels"]:
    """A member's unit atom on its exclusive neurons; not normalised."""
    direction = torch.zeros(channels)
    for one in found.exclusive(feature):
        direction[one.neuron] = one.weights[0]
    return direction
