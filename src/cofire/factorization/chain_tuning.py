"""Joint fine-tuning of a hierarchy: passes over the rows that never raise the objective of a chain.

A pass improves the codes of every row by coordinate descent (code_descent.py) for all levels at
once, then every other factor by exact block descent (chain.py). No step leaves the constraints:
codes and weights are >= 0, atoms keep at most their share of the channels and have norm one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from cofire.code_descent import descend_codes
from cofire.factorization.chain import (
    Chain,
    ChainObjective,
    code_problem,
    descend_chain,
    level_losses,
    stacked_images,
)
from cofire.factorization.code_blocks import CodeBlocks, CodesInMemory, CodesOnDisk
from cofire.factorization.data import DataMatrix, Tile
from cofire.factorization.objective import Products
from cofire.factorization.sweep import Sums
from cofire.nnls import nonnegative_codes
from cofire.threads import side_by_side, single_threaded, workers_for
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

_STOP_WINDOW = 5  # passes that the relative decrease is a mean over
_CODE_SWEEPS = 2
_ROUNDS = 2  # of block descent a pass over the rows; they cost little beside it
_SMALL_DECREASE = 1e-4  # of the objective a round, where no pass over the rows is needed
_MOST_ROUNDS = 100

TuneReason: TypeAlias = Literal["converged", "max_iter", "none"]


@dataclass(frozen=True)
class TuneRecord:
    """One line of the history of a fine-tuning.

    Attributes:
        iteration: passes over the rows so far; 0 is the start.
        seconds: since it began.
        objective: J of chain.py; never rises.
        losses: ||X - P_l D_l||^2 of every level.
    """

    iteration: int
    seconds: float
    objective: float
    losses: tuple[float, ...]


TuneCallback: TypeAlias = Callable[[TuneRecord], None]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Codes of all rows and their sums.

    Attributes:
        codes: C_0^T in blocks.
        products: C_0^T X and C_0^T C_0.
        total: sum of the codes.
    """

    codes: CodeBlocks
    products: Products
    total: float


def encode_rows(
    data: DataMatrix, encode: Callable[[ActivationMatrix], CodeMatrix], n_features: int
) -> Encoded:
    """Codes of all rows, tile by tile.

    Args:
        data: the rows.
        encode: rows -> codes.
        n_features: columns of the codes.
    """
    codes = _blocks(data)
    workers = workers_for(data.device, data.work(n_features))
    sums = [Sums(n_features, data.n_channels, data.device) for _ in range(workers)]

    def one(worker: int, numbered: tuple[int, Tile]) -> None:
        block, (_, X, weights) = numbered
        solved = encode(X).T.contiguous()
        codes.write(block, solved)
        sums[worker].add(solved, X, weights)

    with single_threaded(data.device, data.work(n_features)):
        side_by_side(one, enumerate(data.tiles()), workers=workers)
    products, total, _ = Sums.together(sums, data.ranks)
    return Encoded(codes, products, total)


def joint_codes(X: ActivationMatrix, chain: Chain, objective: ChainObjective) -> CodeMatrix:
    """Codes that minimise J for some rows, exactly (nnls.py), for the levels stacked as one."""
    wide = torch.cat([w**0.5 * X for w in objective.level_weights], dim=1)
    atoms = stacked_images(chain, objective).to(X.dtype)
    return nonnegative_codes(wide, atoms, penalty=objective.code_penalty)


def tune_rows(
    data: DataMatrix,
    chain: Chain,
    start: Encoded,
    objective: ChainObjective,
    *,
    max_iter: int,
    tol: float,
    callback: TuneCallback | None = None,
) -> tuple[Encoded, list[TuneRecord], TuneReason]:
    """Lower J over all factors, the codes and the first level's atoms included.

    Args:
        data: the rows.
        chain: where to begin; changed in place.
        start: the codes to begin with, which are used up.
        objective: J.
        max_iter: most passes over the rows.
        tol: mean relative decrease of J a pass, over five passes, below which it is done.
        callback: called with every record as it happens.

    Returns:
        The codes at the end, a record a pass (the start first, the exact codes last), and why it
        ended.
    """
    began = time.perf_counter()
    history: list[TuneRecord] = []

    def record(iteration: int, products: Products, code_sum: float) -> None:
        losses = level_losses(chain, products, data.squared_norm)
        value = objective.value(chain, losses, code_sum)
        history.append(TuneRecord(iteration, time.perf_counter() - began, value, tuple(losses)))
        if callback is not None:
            callback(history[-1])

    record(0, start.products, start.total)
    reason: TuneReason = "max_iter"
    iteration = 0
    while iteration < max_iter:
        iteration += 1
        sums = _improve_codes(data, chain, objective, start.codes)
        descend_chain(chain, sums.products, objective, rounds=_ROUNDS)
        record(iteration, sums.products, float(sums.total))
        if settled([line.objective for line in history], tol):
            reason = "converged"
            break
    chain.round_to(data.compute_dtype)  # what is kept, so that it encodes to these very codes
    end = encode_rows(data, lambda X: joint_codes(X, chain, objective), len(chain.atoms[0]))
    record(iteration, end.products, end.total)
    return end, history, reason


def tune_above(
    chain: Chain,
    products: Products,
    objective: ChainObjective,
    squared_norm: float,
    *,
    code_sum: float = 0.0,
    tol: float = _SMALL_DECREASE,
    max_rounds: int = _MOST_ROUNDS,
    callback: TuneCallback | None = None,
) -> tuple[list[TuneRecord], TuneReason]:
    """Lower J over everything above the first level, whose codes and atoms stay; reads no rows.

    Args:
        chain: where to begin; changed in place.
        products: C_0^T X and C_0^T C_0.
        objective: J.
        squared_norm: ||X||^2.
        code_sum: sum of the codes, a constant of J.
        tol: relative decrease of J a round, over five rounds, below which it is done.
        max_rounds: most rounds.
        callback: called with every record as it happens.
    """
    began = time.perf_counter()
    history: list[TuneRecord] = []
    reason: TuneReason = "max_iter"
    for iteration in range(max_rounds + 1):
        if iteration:
            descend_chain(chain, products, objective, first=False)
        losses = level_losses(chain, products, squared_norm)
        value = objective.value(chain, losses, code_sum)
        history.append(TuneRecord(iteration, time.perf_counter() - began, value, tuple(losses)))
        if callback is not None:
            callback(history[-1])
        if settled([line.objective for line in history], tol):
            reason = "converged"
            break
    return history, reason


def settled(objectives: list[float], tol: float) -> bool:
    """Whether the mean relative decrease over the last five steps is at most ``tol``."""
    if len(objectives) <= _STOP_WINDOW:
        return False
    before, now = objectives[-_STOP_WINDOW - 1], objectives[-1]
    return before - now <= _STOP_WINDOW * tol * before


def _improve_codes(
    data: DataMatrix,
    chain: Chain,
    objective: ChainObjective,
    codes: CodeBlocks,
) -> Sums:
    """Coordinate descent on the codes of every row, in place."""
    mean, gram = code_problem(chain, objective)
    scale, unit, atoms, cost = _scaled(mean, gram, objective.code_penalty)
    dtype = data.compute_dtype
    unit, atoms, scale, cost = (part.to(dtype) for part in (unit, atoms, scale, cost))
    sums = Sums(len(scale), data.n_channels, data.device)
    with single_threaded(data.device, data.work(len(scale))):
        for block, (_, X, weights) in enumerate(data.tiles()):
            target = (atoms @ X.T).sub_(cost[:, None])
            before = codes.read(block)
            new = torch.zeros_like(target) if before is None else before * scale[:, None]
            descend_codes(new, target, unit, sweeps=_CODE_SWEEPS)
            new /= scale[:, None]
            codes.write(block, new)
            sums.add(new, X, weights)
    return sums


def _scaled(
    mean: AtomMatrix, gram: Float[Tensor, "features features"], penalty: float
) -> tuple[
    Float[Tensor, "features"],
    Float[Tensor, "features features"],
    AtomMatrix,
    Float[Tensor, "features"],
]:
    """Scales under which the Gram matrix has a diagonal of ones, as coordinate descent needs."""
    curvature = gram.diagonal()
    scale = torch.where(curvature > 0, curvature.clamp(min=0).sqrt(), 1.0)
    return scale, gram / torch.outer(scale, scale), mean / scale[:, None], penalty / scale


def _blocks(data: DataMatrix) -> CodeBlocks:
    return CodesInMemory() if data.in_memory else CodesOnDisk(data.device)
