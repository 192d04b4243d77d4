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
        codes: where to start, C^T >= 0; only which of them are above zero matters in the end.
        target: W = D X^T - penalty, for atoms of unit norm (or zero).
        gram: H = D D^T.
        tolerance: how far below zero the gradient of an unused code may be.
        most: codes a row starts from at most, the largest; the channels, as more atoms than that
            depend on one another.

    Returns:
        New codes, and how many rows were given up after 1,000 steps.
    """
    device = torch.device("cpu") if codes.device.type == "mps" else codes.device
    start, goal, products, limits = (
        part.to(device, torch.float64) for part in (codes, target, gram, tolerance)
    )
    if most < len(start):
        largest = start.topk(most, dim=0)
        start = torch.zeros_like(start).scatter_(0, largest.indices, largest.values)
    widest = max(1, int((start > 0).sum(dim=0).max())) + _NEW_A_STEP
    at_once = max(1, _SYSTEM_BYTES // (8 * widest**2))
    solved, given_up = torch.empty_like(start), 0
    for first in range(0, start.shape[1], at_once):
        rows = slice(first, first + at_once)
        given_up += _finish(start[:, rows], goal[:, rows], products, limits[rows], solved[:, rows])
    return solved.to(codes.dtype).to(codes.device), given_up


def _finish(codes: Tensor, goal: Tensor, gram: Tensor, tolerance: Tensor, solved: Tensor) -> int:
    """``finish_codes`` for some rows, into ``solved``; returns how many were given up."""
    used = codes > 0
    most_new = torch.full_like(tolerance, _NEW_A_STEP)
    left = torch.arange(codes.shape[1], device=codes.device)
    rank = torch.arange(min(_NEW_A_STEP, len(codes)), device=codes.device)[:, None]
    for _ in range(_MOST_STEPS):
        best = _solve_used(used, goal, gram)
        # A code that came in with others may be pushed out again at once; with fewer newcomers
        # this ends, as one alone always grows (Lawson & Hanson 1974, 23.17).
        pushed_out = used & (best <= 0) & (codes <= 0)
        stuck = pushed_out.any(dim=0)
        most_new = torch.where(stuck, (most_new // 2).clamp_(min=1), most_new)
        falling = used & (best <= 0)
        room = torch.where(falling, codes / (codes - best).clamp_(min=1e-300), torch.inf)
        step = room.amin(dim=0).clamp_(max=1).masked_fill_(stuck, 0)
        whole = step >= 1
        codes = torch.where(whole, best, (codes + step * (best - codes)).clamp_(min=0))
        gone = falling & (codes <= _ZERO * codes.amax(dim=0))
        gone = torch.where(stuck, pushed_out, gone)
        codes.masked_fill_(gone, 0)
        used &= ~gone

        gradient = (gram @ codes).sub_(goal).masked_fill_(used, torch.inf)
        lowest = gradient.topk(len(rank), dim=0, largest=False)
        wanted = (lowest.values < -tolerance) & (rank < most_new) & whole
        done = whole & ~wanted[0]
        solved[:, left[done]] = codes[:, done]
        used.scatter_(0, lowest.indices, used.gather(0, lowest.indices) | wanted)
        if bool(done.any()):
            left, tolerance, most_new = left[~done], tolerance[~done], most_new[~done]
            codes, goal, used = codes[:, ~done], goal[:, ~done], used[:, ~done]
        if len(left) == 0:
            return 0
    solved[:, left] = codes
    return len(left)


def _solve_used(used: Bool[Tensor, "features rows"], goal: Tensor, gram: Tensor) -> Tensor:
    """Codes that solve the equations of those in use; the others are zero."""
    widest = max(1, int(used.sum(dim=0).max()))
    index = used.to(torch.uint8).topk(widest, dim=0).indices.T
    held = used.T.gather(1, index)
    system = gram[index[:, :, None], index[:, None, :]]
    system = torch.where(held[:, :, None] & held[:, None, :], system, 0.0)
    system.diagonal(dim1=1, dim2=2).add_((~held).double()).add_(_RIDGE)
    factor, _ = torch.linalg.cholesky_ex(system)
    solution = torch.cholesky_solve((goal.T.gather(1, index) * held)[:, :, None], factor)[:, :, 0]
    return torch.zeros_like(goal).scatter_(0, index.T, (solution * held).T)
