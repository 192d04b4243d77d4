"""Symmetric FastICA of many restarts at once, on data that is white already.

Notation: Z [features values] white data, one channel a row; B [features features] orthonormal, the
rotation that makes S = B Z as non-Gaussian as can be. One step for all rows of B:

    B ← (B₊ B₊ᵀ)^(-½) B₊,   B₊ = tanh(B Z) Zᵀ / n − diag(mean of 1 − tanh²(B Z)) B

the fixed point iteration of Hyvärinen & Oja 2000 (Neural Networks 13:411, eqs. 40-42) with
G = log cosh, as scikit-learn's ``FastICA(algorithm="parallel", fun="logcosh")`` does it. All
restarts take their steps together as batched products, and leave when they have converged.
"""

from dataclasses import dataclass

import torch

from cofire.errors import InputError
from cofire.types import Bool, Float, Int, Tensor

MAX_ITER = 300
TOL = 1e-4
"""Largest change 1 − |bᵀ b₊| of a component that counts as converged; scikit-learn's default."""

_WHOLE_STEPS = 1 / 3  # of the steps that are taken whole


@dataclass(frozen=True, eq=False)
class Rotations:
    """Where each restart ended.

    Attributes:
        rotation: B of each restart, orthonormal rows.
        converged: whether each component had stopped moving when the restart ended.
        n_iter: steps of each restart.
    """

    rotation: Float[Tensor, "restarts features features"]
    converged: Bool[Tensor, "restarts features"]
    n_iter: Int[Tensor, "restarts"]


def fast_ica(
    white: Float[Tensor, "restarts features values"],
    start: Float[Tensor, "restarts features features"],
    *,
    max_iter: int = MAX_ITER,
    tol: float = TOL,
) -> Rotations:
    """Turn white data until its channels are as non-Gaussian as they get.

    Args:
        white: white data of each restart, mean 0 and covariance 1; ``expand`` serves where all
            restarts see the same data.
        start: where each restart begins; made orthonormal.
        max_iter: most steps.
        tol: change of a component below which it has converged.

    Returns:
        One rotation a restart. A restart stops when all its components have converged.

    Raises:
        InputError: for fewer than one step.
    """
    if max_iter < 1:
        raise InputError(f"FastICA needs at least one step; max_iter is {max_iter}.")
    restarts, n = len(white), white.shape[2]
    rotation = orthonormal(start)
    converged = torch.zeros(start.shape[:2], dtype=torch.bool)
    n_iter = torch.full((restarts,), max_iter)
    going = torch.arange(restarts)
    data, current = white, rotation
    for step in range(1, max_iter + 1):
        curved = torch.tanh(current @ data)
        slope = 1 - curved.square().mean(dim=2)
        new = orthonormal(curved @ data.transpose(1, 2) / n - slope[:, :, None] * current)
        along = (new * current).sum(dim=2, keepdim=True)
        settled = (along[:, :, 0].abs() - 1).abs() < tol
        if step > _WHOLE_STEPS * max_iter:
            new = orthonormal(new * torch.where(along < 0, -1.0, 1.0).to(new.dtype) + current)
        current = new
        done = settled.all(dim=1)
        if step == max_iter:
            done = torch.ones_like(done)
        if bool(done.any()):
            ended = going[done]
            rotation[ended], converged[ended], n_iter[ended] = current[done], settled[done], step
            left = ~done
            going, current = going[left], current[left]
            data = data[left]
            if not len(going):
                break
    return Rotations(rotation, converged, n_iter)


def orthonormal(
    matrices: Float[Tensor, "restarts features features"],
) -> Float[Tensor, "restarts features features"]:
    """The nearest orthonormal matrices, (M Mᵀ)^(-½) M."""
    exact = matrices.double()  # the product squares their condition
    values, vectors = torch.linalg.eigh(exact @ exact.mT)
    floor = torch.finfo(exact.dtype).eps * values[:, -1:]  # a direction lost to rounding
    scaled = vectors / torch.maximum(values, floor).sqrt()[:, None, :]
    return (scaled @ vectors.mT @ exact).to(matrices.dtype)
