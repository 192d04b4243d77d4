"""Nonnegative least squares by an active-set method, in float64: exact where descent creeps.

With many more atoms than channels and a penalty, coordinate descent drives the codes that should
vanish to zero ever more slowly. This method (Lawson & Hanson 1974, chapter 23, in terms of the Gram
matrix as in Bro & De Jong 1997) solves for the codes in use exactly, takes out those that would
become negative, and takes in those that would lower the objective, until there are none. It is slow
from nothing and fast from a start that is nearly right.
"""

import torch

from cofire.types import Bool, Float, Tensor

_NEW_A_STEP = 16  # codes that may come into use at once
_RIDGE = 1e-9  # of the unit diagonal, for atoms that depend on one another
_MOST_STEPS = 1000
_SYSTEM_BYTES = 64 * 2**20  # of the systems solved at a time
_ZERO = 1e-14  # of the largest code of the row


def wide_gram(unit: Float[Tensor, "features channels"]) -> Float[Tensor, "features features"]:
    """H = D D^T of unit atoms in float64, where a device has it, else on the CPU.

    In float32 its rounding would be larger than the ridge: of atoms that depend on one another it
    would not be positive.
    """
    wide = unit.to("cpu" if unit.device.type == "mps" else unit.device).double()
    return wide @ wide.T


def finish_codes(
    codes: Float[Tensor, "features rows"],
    target: Float[Tensor, "features rows"],
    gram: Float[Tensor, "features features"],
    tolerance: Float[Tensor, "rows"],
    *,
    most: int,
) -> tuple[Float[Tensor, "features rows"], int]:
    """Minimise ½ c H c - w c over c >= 0 for every row, from codes that are nearly right.

    Args:
        codes: where to start, C^T >= 0.
        target: W = D X^T - penalty, for atoms of unit norm (or zero).
        gram: ``wide_gram`` of the atoms.
        tolerance: how far below zero the gradient of an unused code may be.
        most: codes a row starts from at most, the largest; the channels, as more atoms than that
            depend on one another.

    Returns:
        New codes, and how many rows were given up after 1,000 steps.
    """
    goal, limit = target.to(gram.device).double(), tolerance.to(gram.device).double()
    now = codes.to(gram.device).double()
    if most < len(now):
        largest = now.topk(most, dim=0)
        now = torch.zeros_like(now).scatter_(0, largest.indices, largest.values)
    used = now > 0
    solved = now.clone()
    left = torch.arange(now.shape[1], device=now.device)
    # A newcomer may push others out at once. Fewer then come in, for that row from there on: one
    # alone always grows (Lawson & Hanson 1974, 23.17), so that this ends.
    newcomers = torch.full_like(limit, _NEW_A_STEP)
    rank = torch.arange(min(_NEW_A_STEP, len(now)), device=now.device)[:, None]
    for _ in range(_MOST_STEPS):
        best = _solve_used(used, goal, gram)
        now, used, arrived, stuck = _move(now, best, used)
        newcomers = torch.where(stuck, (newcomers // 2).clamp_(min=1), newcomers)

        gradient = (gram @ now).sub_(goal).masked_fill_(used, torch.inf)
        lowest = gradient.topk(len(rank), dim=0, largest=False)
        wanted = (lowest.values < -limit) & (rank < newcomers) & arrived
        done = arrived & ~wanted[0]
        used.scatter_(0, lowest.indices, used.gather(0, lowest.indices) | wanted)
        if bool(done.any()):
            solved[:, left[done]] = now[:, done]
            left, limit, newcomers = left[~done], limit[~done], newcomers[~done]
            now, goal, used = now[:, ~done], goal[:, ~done], used[:, ~done]
        if len(left) == 0:
            break
    solved[:, left] = now
    return solved.to(codes.dtype).to(codes.device), len(left)


def _move(
    now: Float[Tensor, "features rows"],
    best: Float[Tensor, "features rows"],
    used: Bool[Tensor, "features rows"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Go towards the best codes of those in use, until the first of them reaches zero.

    Returns:
        New codes, which are in use, which rows arrived, and which are stuck: those where a code
        that is zero would fall, so that it only goes out of use.
    """
    falling = used & (best <= 0)
    at_zero = falling & (now <= 0)
    stuck = at_zero.any(dim=0)
    room = torch.where(falling, now / (now - best).clamp_(min=1e-300), torch.inf)
    step = room.amin(dim=0).clamp_(max=1).masked_fill_(stuck, 0)
    arrived = step >= 1
    moved = torch.where(arrived, best, (now + step * (best - now)).clamp_(min=0))
    emptied = falling & (moved <= _ZERO * moved.amax(dim=0))
    out = torch.where(stuck, at_zero, emptied)
    return moved.masked_fill_(out, 0), used & ~out, arrived, stuck


def _solve_used(
    used: Bool[Tensor, "features rows"], goal: Tensor, gram: Tensor
) -> Float[Tensor, "features rows"]:
    """Codes that solve the equations of those in use; the others are zero."""
    widest = max(1, int(used.sum(dim=0).max()))
    index = used.to(torch.uint8).topk(widest, dim=0).indices.T
    held = used.T.gather(1, index)
    wanted = goal.T.gather(1, index) * held
    solution = torch.empty_like(wanted)
    at_once = max(1, _SYSTEM_BYTES // (8 * widest**2))
    for start in range(0, len(index), at_once):
        rows = slice(start, start + at_once)
        of, here = index[rows], held[rows]
        system = gram[of[:, :, None], of[:, None, :]]
        system.mul_((here[:, :, None] & here[:, None, :]).double())
        system.diagonal(dim1=1, dim2=2).add_((~here).double()).add_(_RIDGE)
        factor = torch.linalg.cholesky(system)
        solution[rows] = torch.cholesky_solve(wanted[rows][:, :, None], factor)[:, :, 0]
    return torch.zeros_like(goal).scatter_(0, index.T, (solution * held).T)
