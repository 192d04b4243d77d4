"""Changes made to activations at a site while the model runs, each row of a batch its own."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.models.adapter import LanguageModel
from cofire.models.handle import SiteCallback
from cofire.site import Site
from cofire.types import AtomMatrix, Bool, Float, Int, Tensor


@runtime_checkable
class Intervention(Protocol):
    """Activations at a site to activations at a site.

    One row of the batch may be changed differently from another: a row is, for example, one
    feature at one strength.
    """

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """The changed activations; the given ones are left as they are."""
        ...

    def take(self, rows: Int[Tensor, "batch"]) -> "Intervention":
        """The intervention for a batch made of these rows, in this order, some perhaps twice."""
        ...


@dataclass(frozen=True, eq=False)
class Steer:
    """Add a multiple of a direction: x + α d.

    Attributes:
        directions: d, one a row of the batch [batch channels]; taken as they are, not normalised.
        strengths: α, one a row of the batch.

    Raises:
        InputError: when there are not as many strengths as directions.
    """

    directions: Float[Tensor, "batch channels"]
    strengths: Float[Tensor, "batch"]

    def __post_init__(self) -> None:
        _check_same_rows(self.directions, self.strengths, "strengths")

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """x + α d at every position."""
        added = self.strengths[:, None] * self.directions
        _check_fits(activations, added)
        return activations + added.to(activations)[:, None]

    def take(self, rows: Int[Tensor, "batch"]) -> "Steer":
        """See ``Intervention.take``."""
        return Steer(self.directions[rows], self.strengths[rows])


@dataclass(frozen=True, eq=False)
class Clamp:
    """Set the component along a direction: x + (v − x·u) u, with u = d / ‖d‖.

    A value of 0 takes the direction out of the activations (directional ablation).

    Attributes:
        directions: d, one a row of the batch [batch channels]; of any length but 0.
        values: v, one a row of the batch, in the units of the activations.

    Raises:
        InputError: when there are not as many values as directions, or a direction is zero.
    """

    directions: Float[Tensor, "batch channels"]
    values: Float[Tensor, "batch"]

    def __post_init__(self) -> None:
        _check_same_rows(self.directions, self.values, "values")
        if not (self.directions.float().norm(dim=1) > 0).all():
            raise InputError("A direction of length zero has no component; leave that row out.")

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """The component is v at every position."""
        _check_fits(activations, self.directions)
        unit = torch.nn.functional.normalize(self.directions.float(), dim=1)
        unit = unit.to(activations)[:, None]
        now = (activations * unit).sum(dim=-1, keepdim=True)
        return activations + (self.values.to(activations)[:, None, None] - now) * unit

    def take(self, rows: Int[Tensor, "batch"]) -> "Clamp":
        """See ``Intervention.take``."""
        return Clamp(self.directions[rows], self.values[rows])


@dataclass(frozen=True, eq=False)
class Ablate:
    """Put one vector in place of the activations, the same for every row and position.

    Attributes:
        replacement: the mean activation for mean-ablation; None for zero-ablation.
    """

    replacement: Float[Tensor, "channels"] | None = None

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """The vector at every position."""
        if self.replacement is None:
            return torch.zeros_like(activations)
        if self.replacement.shape[0] != activations.shape[-1]:
            raise InputError(
                f"The replacement has {self.replacement.shape[0]} channels; the site has "
                f"{activations.shape[-1]}."
            )
        return self.replacement.to(activations).expand_as(activations).clone()

    def take(self, rows: Int[Tensor, "batch"]) -> "Ablate":
        """See ``Intervention.take``."""
        return self


@dataclass(frozen=True, eq=False)
class Reconstruct:
    """Put what a dictionary makes of the activations in their place.

    Attributes:
        dictionary: encodes and decodes each token's activation by itself.
    """

    dictionary: Dictionary

    def __call__(
        self, activations: Float[Tensor, "batch position channels"]
    ) -> Float[Tensor, "batch position channels"]:
        """``decode(encode(x))`` at every position."""
        rows = activations.flatten(0, 1)
        rebuilt = self.dictionary.decode(self.dictionary.encode(rows))
        return rebuilt.to(activations).view_as(activations)

    def take(self, rows: Int[Tensor, "batch"]) -> "Reconstruct":
        """See ``Intervention.take``."""
        return self


@contextmanager
def intervening(
    model: LanguageModel,
    interventions: Mapping[Site, Intervention],
    *,
    where: Bool[Tensor, "batch position"] | None = None,
) -> Iterator[None]:
    """While open, every forward pass of the model is changed at these sites; gradients are off.

    Args:
        model: the model.
        interventions: what to do at which site.
        where: True at the positions to change; None for all of them. Activations elsewhere stay
            as the model computed them.

    Raises:
        InputError: during the forward pass, when rows or channels do not fit.
        ModelError: when the model lacks a site.
    """
    with ExitStack() as stack, torch.inference_mode():
        for site, intervention in interventions.items():
            shape: list[tuple[int, int]] = []
            stream = model.resolve(Site(site.layer, "resid_pre"))
            stack.callback(stream.register(_note_shape(shape)).remove)
            change = _change(intervention, where, shape)
            stack.callback(model.resolve(site).register(change).remove)
        yield


def _note_shape(shape: list[tuple[int, int]]) -> SiteCallback:
    """Note batch and position of a layer's input, for sites inside that flatten the two."""

    def callback(stream: Tensor) -> None:
        shape[:] = [(stream.shape[0], stream.shape[1])]

    return callback


def _change(
    intervention: Intervention,
    where: Bool[Tensor, "batch position"] | None,
    shape: list[tuple[int, int]],
) -> SiteCallback:
    def callback(tensor: Tensor) -> Tensor:
        grid = tensor if tensor.ndim == 3 else tensor.view(*shape[0], tensor.shape[-1])
        changed = intervention(grid)
        if where is not None:
            if where.shape != grid.shape[:2]:
                raise InputError(
                    f"where is {tuple(where.shape)}; the batch has {grid.shape[0]} rows of "
                    f"{grid.shape[1]} positions."
                )
            changed = torch.where(where.to(grid.device)[..., None], changed, grid)
        return changed.view_as(tensor)

    return callback


def _check_same_rows(directions: AtomMatrix, numbers: Tensor, name: str) -> None:
    if len(directions) != len(numbers):
        raise InputError(
            f"Got {len(directions)} directions and {len(numbers)} {name}; give one of each a row."
        )


def _check_fits(activations: Tensor, directions: Tensor) -> None:
    rows, channels = activations.shape[0], activations.shape[-1]
    if tuple(directions.shape) != (rows, channels):
        raise InputError(
            f"Directions are {tuple(directions.shape)} [batch channels]; this batch needs "
            f"{(rows, channels)}."
        )
