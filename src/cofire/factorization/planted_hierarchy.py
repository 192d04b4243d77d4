"""Data made from a known hierarchy: children that share their parent's neurons."""

from dataclasses import dataclass

import torch

from cofire.code_descent import unit_atoms
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Int, Tensor


@dataclass(frozen=True)
class PlantedHierarchy:
    """X = C D + noise, where atoms of one parent share a core of neurons.

    Attributes:
        X: the data.
        atoms: D, unit norm: a core that all children of a parent share, and neurons of their own.
        codes: C >= 0.
        parent: of every atom.
        noise_share: ||noise||^2 / ||X||^2.
    """

    X: ActivationMatrix
    atoms: AtomMatrix
    codes: CodeMatrix
    parent: Int[Tensor, "features"]
    noise_share: float


def plant_hierarchy(
    n_rows: int,
    n_channels: int,
    n_parents: int,
    children: int,
    *,
    core: int = 6,
    own: int = 6,
    core_share: float = 0.5,
    code_density: float = 0.05,
    noise: float = 0.05,
    seed: int = 0,
) -> PlantedHierarchy:
    """Draw parents, their children, codes and noise.

    Children fire independently of one another: only their neurons say who belongs together.

    Args:
        n_rows: rows of X.
        n_channels: columns of X.
        n_parents: parents.
        children: of each.
        core: neurons that the children of a parent share; cores do not overlap.
        own: neurons of each child besides, drawn from all that are in no core.
        core_share: of an atom's squared norm, the part in its core.
        code_density: share of the rows in which an atom is active.
        noise: ||noise||^2 relative to ||C D||^2; white.
        seed: the same seed gives the same data.
    """
    generator = torch.Generator().manual_seed(seed)
    n_features = n_parents * children
    parent = torch.arange(n_parents).repeat_interleave(children)
    order = torch.randperm(n_channels, generator=generator)
    cores, free = order[: n_parents * core].view(n_parents, core), order[n_parents * core :]
    core_values = _signed(n_parents, core, generator)
    atoms = torch.zeros(n_features, n_channels)
    for atom, above in zip(atoms, parent.tolist(), strict=True):
        atom[cores[above]] = core_share**0.5 * core_values[above]
        chosen = free[torch.randperm(len(free), generator=generator)[:own]]
        atom[chosen] = (1.0 - core_share) ** 0.5 * _signed(1, own, generator)[0]
    active = torch.rand(n_rows, n_features, generator=generator) < code_density
    codes = active * (
        0.2 - torch.rand(n_rows, n_features, generator=generator).clamp(min=1e-6).log()
    )
    signal = codes @ atoms
    error = torch.randn(n_rows, n_channels, generator=generator)
    error *= noise**0.5 * signal.norm() / error.norm()
    X = signal + error
    share = float(error.double().norm() / X.double().norm()) ** 2
    return PlantedHierarchy(X, atoms, codes, parent, share)


def _signed(n: int, size: int, generator: torch.Generator) -> AtomMatrix:
    """Unit vectors of random signs and magnitudes between 0.5 and 1.5."""
    signs = torch.randint(2, (n, size), generator=generator) * 2 - 1
    return unit_atoms(signs * (0.5 + torch.rand(n, size, generator=generator)))[0]
