"""Data made from a known dictionary, and how much of that dictionary was found again."""

from dataclasses import dataclass

import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.constraints import kept_entries
from cofire.matching import recovery
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix

__all__ = ["Planted", "plant", "recovery"]

_POOL_SHARE = 0.05  # of the channels, from which overlapping atoms take their shared entries
_MOST_TO_LEAST_FREQUENT = 4.0


@dataclass(frozen=True)
class Planted:
    """X = C D + noise with everything known.

    Attributes:
        X: the data.
        atoms: D, unit norm, ``kept`` nonzero entries each.
        codes: C >= 0.
        noise_share: ||noise||^2 / ||X||^2, the relative loss of the truth.
    """

    X: ActivationMatrix
    atoms: AtomMatrix
    codes: CodeMatrix
    noise_share: float


def plant(
    n_rows: int,
    n_channels: int,
    n_features: int,
    *,
    sparsity: float = 0.01,
    code_density: float = 0.1,
    overlap: float = 0.0,
    noise: float = 0.1,
    power: float | None = None,
    seed: int = 0,
) -> Planted:
    """Draw a dictionary, codes and noise.

    Args:
        n_rows: rows of X.
        n_channels: columns of X.
        n_features: atoms.
        sparsity: fraction of channels an atom uses.
        code_density: mean fraction of rows in which a feature is active; features differ by up to
            a factor of four, or by a power law.
        overlap: fraction of each atom's entries that lie in a pool of 5% of the channels, so that
            atoms share neurons.
        noise: ||noise||^2 relative to ||C D||^2; the noise is white.
        power: the feature of rank r is active in proportion to r^-power, in every row at most
            (then the mean is lower); None for the factor of four.
        seed: the same seed gives the same data.

    Returns:
        Codes are 0 or 0.2 plus an exponential variable; atom entries have random signs and
        magnitudes between 0.5 and 1.5 before normalisation.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = kept_entries(sparsity, n_channels)
    pool = max(kept, int(_POOL_SHARE * n_channels))
    shared = round(overlap * kept)
    atoms = torch.zeros(n_features, n_channels)
    for atom in atoms:
        inside = torch.randperm(pool, generator=generator)[:shared]
        outside = pool + torch.randperm(n_channels - pool, generator=generator)[: kept - shared]
        index = torch.cat([inside, outside])
        signs = torch.randint(2, (kept,), generator=generator) * 2 - 1
        atom[index] = signs * (0.5 + torch.rand(kept, generator=generator))
    atoms, _ = unit_atoms(atoms)
    if power is None:
        spread = torch.logspace(0, 1, n_features, base=_MOST_TO_LEAST_FREQUENT)
    else:
        spread = torch.arange(1, n_features + 1).float() ** -power
    frequency = (code_density * spread / spread.mean()).clamp(max=1.0)
    active = torch.rand(n_rows, n_features, generator=generator) < frequency
    sizes = 0.2 - torch.rand(n_rows, n_features, generator=generator).clamp(min=1e-6).log()
    codes = active * sizes
    signal = codes @ atoms
    error = torch.randn(n_rows, n_channels, generator=generator)
    error *= (noise**0.5) * signal.norm() / error.norm()
    X = signal + error
    return Planted(X, atoms, codes, float(error.double().norm() / X.double().norm()) ** 2)
