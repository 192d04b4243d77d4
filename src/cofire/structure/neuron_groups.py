"""Groups of neurons to intervene on, and the groups of other neurons to hold them against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.errors import InputError
from cofire.factorization.constraints import keep_largest
from cofire.structure.core import SharedNeurons, core_direction, exclusive_direction
from cofire.types import AtomMatrix, Float, Tensor

GroupKind: TypeAlias = Literal["core", "exclusive", "whole"]
Control: TypeAlias = Literal["random", "permuted", "magnitude", "feature"]

CONTROLS: tuple[Control, ...] = ("random", "permuted", "magnitude", "feature")
"""Other groups of as many neurons:

=========  ====================================================================================
random     neurons drawn from all, weights drawn from a normal distribution
permuted   the group's own weights, on neurons drawn from all
magnitude  the group's own weights, each on a neuron outside the members whose mean magnitude of
           activation is about that of the neuron it stands for
feature    the strongest neurons of a feature outside the members, with their own weights; all it
           has where these are fewer
=========  ====================================================================================
"""

_NEAREST = 10  # neurons of about the same magnitude among which one is drawn


@dataclass(frozen=True, eq=False)
class NeuronGroup:
    """Neurons with weights: a direction among the neurons of a layer.

    Attributes:
        kind: ``core`` of all members; ``exclusive`` neurons of one; ``whole`` atom of one.
        member: name of the member; None for the core.
        direction: weights, 0 for neurons outside; of any length.
    """

    kind: GroupKind
    member: str | None
    direction: Float[Tensor, "channels"]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.kind if self.member is None else f"{self.kind}: {self.member}"

    @property
    def size(self) -> int:
        """How many neurons."""
        return int((self.direction != 0).sum())


def neuron_groups(
    atoms: AtomMatrix, found: SharedNeurons, names: Mapping[int, str]
) -> list[NeuronGroup]:
    """The core, then every member's exclusive neurons, then every member's whole atom.

    Args:
        atoms: of the whole dictionary.
        found: the members' neurons.
        names: name of every member.
    """
    channels = atoms.shape[1]
    exclusive = [
        NeuronGroup("exclusive", names[f], exclusive_direction(found, f, channels))
        for f in found.features
    ]
    whole = [
        NeuronGroup("whole", names[f], atoms[f].detach().float().cpu()) for f in found.features
    ]
    return [NeuronGroup("core", None, core_direction(found, channels)), *exclusive, *whole]


class ControlGroups:
    """Draws groups to compare with.

    Args:
        atoms: of the whole dictionary.
        members: the features under test; neurons of theirs are no magnitude-matched control, and
            their atoms no ``feature`` control.
        magnitudes: mean magnitude of every neuron's activation.
        seed: of the draws; a group's draws do not depend on other groups.

    Raises:
        InputError: when the magnitudes do not fit the atoms, or no feature is left to compare with.
    """

    def __init__(
        self,
        atoms: AtomMatrix,
        members: Sequence[int],
        magnitudes: Float[Tensor, "_"],
        *,
        seed: int = 0,
    ) -> None:
        if atoms.shape[1] != len(magnitudes):
            raise InputError(
                f"{len(magnitudes)} magnitudes for {atoms.shape[1]} neurons; give one a neuron."
            )
        unit, norms = unit_atoms(atoms.detach().float().cpu())
        outside = [f for f in range(len(atoms)) if f not in set(members) and bool(norms[f] > 0)]
        if not outside:
            raise InputError("All features are members: there is none left to compare with.")
        self._others = unit[outside]
        self._free = np.flatnonzero((unit[list(members)] == 0).all(dim=0).numpy())
        self._magnitudes = magnitudes.float().cpu().numpy()
        self._seed = seed

    def draw(
        self, group: NeuronGroup, control: Control, draws: int
    ) -> Float[Tensor, "draws channels"]:
        """Directions of as many neurons as the group has.

        Raises:
            InputError: for a control of another name, or when the features leave too few neurons
                for ``magnitude``.
        """
        if control not in CONTROLS:
            raise InputError(f"Unknown control {control!r}; use one of {', '.join(CONTROLS)}.")
        identity = [ord(letter) for letter in f"{group.name}/{control}"]
        rng = np.random.default_rng([self._seed, *identity])
        place = group.direction.nonzero()[:, 0].numpy()
        values = group.direction[torch.from_numpy(place)].numpy()
        found = torch.zeros(draws, len(group.direction))
        for row in found:
            if control == "feature":
                atom = self._others[int(rng.integers(len(self._others)))]
                row += keep_largest(atom[None], max(1, len(place)))[0] if len(place) else 0.0
                continue
            if control == "magnitude":
                neurons = self._alike(place, rng)
            else:
                neurons = rng.choice(len(group.direction), len(place), replace=False)
            weights = rng.standard_normal(len(place)) if control == "random" else values
            row[torch.from_numpy(neurons)] = torch.from_numpy(np.asarray(weights, np.float32))
        return found

    def _alike(self, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For every neuron a free one of about its magnitude, none twice."""
        if len(self._free) < len(place):
            raise InputError(
                f"The features leave {len(self._free)} neurons free, too few to compare a group of "
                f"{len(place)} with; name fewer features, or let fewer neurons count (--keep)."
            )
        left = self._free[np.argsort(self._magnitudes[self._free], kind="stable")]
        chosen = np.empty(len(place), np.int64)
        for i in rng.permutation(len(place)):
            near = np.argsort(
                np.abs(self._magnitudes[left] - self._magnitudes[place[i]]), kind="stable"
            )[:_NEAREST]
            taken = int(rng.choice(near))
            chosen[i] = left[taken]
            left = np.delete(left, taken)
        return chosen
