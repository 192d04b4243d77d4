"""From settings and rows to the levels of a hierarchy, tuned together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.chain import Chain, ChainObjective, level_losses, products_at
from cofire.factorization.chain_tuning import (
    Encoded,
    TuneCallback,
    TuneReason,
    TuneRecord,
    encode_rows,
    tune_above,
    tune_rows,
)
from cofire.factorization.data import DataMatrix, widest_float
from cofire.factorization.hierarchy_start import Splitting, clustered, merged
from cofire.factorization.objective import Products
from cofire.factorization.semi_nmf import SemiNMF
from cofire.factorization.validation import DataLike
from cofire.nnls import nonnegative_codes
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor


@dataclass(frozen=True)
class LevelSettings:
    """What is asked of the levels, checked.

    Attributes:
        sizes: atoms of every level, finest first.
        sparsities: share of channels an atom of each level keeps.
        kept: the same in channels.
        level_weights: how much each level's error counts, 1 together.
        penalty: L1 weight on codes and weights, relative to the median norm.
        direction: a name of ``hierarchy_settings.DIRECTIONS``.
        tune: a name of ``hierarchy_settings.TUNED``.
        tune_iter: most passes over the rows.
        tune_tol: relative decrease at which the tuning is done.
        seed: of everything random.
        fit: further settings of the fit of every level, as ``SemiNMF`` takes them.
    """

    sizes: tuple[int, ...]
    sparsities: tuple[float, ...]
    kept: tuple[int, ...]
    level_weights: tuple[float, ...]
    penalty: float
    direction: str
    tune: str
    tune_iter: int
    tune_tol: float
    seed: int
    fit: dict[str, Any]

    def level(self, number: int, **changed: Any) -> SemiNMF:
        """An estimator of one level."""
        return SemiNMF(
            self.sizes[number],
            sparsity=self.sparsities[number],
            code_penalty=self.penalty,
            random_state=self.seed,
            **{**self.fit, **changed},
        )


@dataclass(frozen=True, eq=False)
class Levels:
    """A hierarchy that was found.

    Attributes:
        chain: atoms and weights.
        encoded: codes of the first level.
        losses_before: ||X - P_l D_l||^2 of every level before the tuning.
        history: a record a pass of the tuning; empty without.
        stop_reason: of the tuning.
    """

    chain: Chain
    encoded: Encoded
    losses_before: list[float]
    history: list[TuneRecord]
    stop_reason: TuneReason


def find_levels(
    X: DataLike,
    data: DataMatrix,
    settings: LevelSettings,
    *,
    first_level: AtomMatrix | None = None,
    callback: TuneCallback | None = None,
) -> Levels:
    """Find all levels and tune them together.

    Args:
        X: the rows as the caller gave them.
        data: the same, checked.
        settings: what is asked for.
        first_level: atoms of the first level, not to be fitted.
        callback: called with every record of the tuning.
    """
    chain = _on(_start(X, data, settings, first_level), data.device, widest_float(data.device))
    penalty = settings.penalty * data.median_row_norm
    chain.round_to(data.compute_dtype)
    encoded = encode_rows(
        data, lambda rows: first_codes(rows, chain.atoms[0], penalty), settings.sizes[0]
    )
    before = level_losses(chain, encoded.products, data.squared_norm)
    if settings.tune == "none":
        return Levels(chain, encoded, before, [], "none")
    objective = chain_objective(chain, encoded.products, settings, penalty)
    if settings.tune == "above":
        history, reason = tune_above(
            chain,
            encoded.products,
            objective,
            data.squared_norm,
            code_sum=encoded.total,
            callback=callback,
        )
        chain.round_to(data.compute_dtype)
        return Levels(chain, encoded, before, history, reason)
    encoded, history, reason = tune_rows(
        data,
        chain,
        encoded,
        objective,
        max_iter=settings.tune_iter,
        tol=settings.tune_tol,
        callback=callback,
    )
    return Levels(chain, encoded, before, history, reason)


def levels_above(
    first_level: AtomMatrix,
    products: Products,
    squared_norm: float,
    settings: LevelSettings,
    *,
    callback: TuneCallback | None = None,
) -> tuple[Chain, Chain, list[TuneRecord], TuneReason]:
    """Find the levels above one whose atoms and codes are given and stay; reads no rows.

    Args:
        first_level: D_0, unit norm or zero.
        products: C_0^T X and C_0^T C_0.
        squared_norm: ||X||^2.
        settings: ``merge`` or ``cluster``; tuned ``above`` or not at all.
        callback: called with every record of the tuning.

    Returns:
        The chain before the tuning and after it, the tuning's history, and why it ended.
    """
    wide = products.gram.dtype
    chain = _on(_above(first_level.cpu(), settings), products.gram.device, wide)
    start = chain.copy()
    if settings.tune == "none":
        return start, chain, [], "none"
    objective = chain_objective(chain, products, settings, 0.0)
    history, reason = tune_above(chain, products, objective, squared_norm, callback=callback)
    return start, chain, history, reason


def _start(
    X: DataLike, data: DataMatrix, settings: LevelSettings, first_level: AtomMatrix | None
) -> Chain:
    if settings.direction == "split":
        splitting = Splitting(
            data,
            settings.sizes,
            settings.kept,
            settings.penalty,
            torch.Generator().manual_seed(settings.seed),
        )
        return splitting.chain(
            lambda level, start: _atoms(settings.level(level, init=start).fit(X))
        )
    if first_level is None:
        return _above(_atoms(settings.level(0).fit(X)), settings)
    return _above(unit_atoms(first_level.to(data.compute_dtype))[0], settings)


def _above(first: AtomMatrix, settings: LevelSettings) -> Chain:
    if settings.direction == "cluster":
        return clustered(first, settings.sizes, settings.kept)
    n_levels = len(settings.sizes)
    return merged(first, n_levels, lambda level, below: factorised(settings, level, below))


def _on(chain: Chain, device: torch.device, dtype: torch.dtype) -> Chain:
    masks = chain.allowed
    return Chain(
        [atoms.to(device, dtype) for atoms in chain.atoms],
        [weights.to(device, dtype) for weights in chain.weights],
        None if masks is None else [mask.to(device) for mask in masks],
    )


def factorised(
    settings: LevelSettings, level: int, below: AtomMatrix
) -> tuple[Float[Tensor, "_ _"], Float[Tensor, "_ channels"]]:
    """Weights and atoms of one level from the atoms of the level below."""
    estimator = settings.level(level)
    weights = torch.as_tensor(estimator.fit_transform(below.float().cpu()))
    return weights, torch.from_numpy(estimator.components_)


def first_codes(X: ActivationMatrix, atoms: AtomMatrix, penalty: float) -> CodeMatrix:
    """Codes of rows under the atoms of one level by themselves."""
    return nonnegative_codes(X, atoms.to(X.dtype), penalty=penalty)


def chain_objective(
    chain: Chain, products: Products, settings: LevelSettings, penalty: float
) -> ChainObjective:
    """The objective of a tuning that begins here.

    Weights of a level are penalised relative to the mean energy that the codes below have at the
    start, as codes are relative to the rows; the figure stays what it is.
    """
    penalties = []
    for level in range(1, chain.n_levels):
        _, gram = products_at(chain, products, level - 1)
        share = sum(settings.level_weights[level:])
        penalties.append(settings.penalty * share * float(gram.diagonal().mean()))
    return ChainObjective(settings.level_weights, penalty, tuple(penalties), settings.kept)


def explained(losses: Sequence[float], variance: float) -> np.ndarray:
    """Explained variance of every level; NaN where the rows do not vary."""
    if variance <= 0:
        return np.full(len(losses), math.nan)
    return 1.0 - np.array(losses) / variance


def variance_of(data: DataMatrix) -> float:
    """||X - mean||^2, in float64 where the device has it."""
    total = torch.zeros(data.n_channels, dtype=widest_float(data.device), device=data.device)
    for _, X, _ in data.tiles():
        total += X.to(total.dtype).sum(dim=0)
    return max(0.0, data.squared_norm - float(total.square().sum()) / data.n_rows)


def _atoms(estimator: SemiNMF) -> AtomMatrix:
    return torch.from_numpy(estimator.components_)
