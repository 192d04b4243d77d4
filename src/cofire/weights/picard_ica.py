"""Picard, a quasi-Newton solver of the same problem as FastICA, where its package is installed.

Ablin, Cardoso & Gramfort 2018 (ICASSP; arXiv:1711.10873): preconditioned L-BFGS over orthonormal
unmixing matrices (Picard-O). It has the same solutions as symmetric FastICA with log cosh and needs
fewer steps where components are not quite independent, as those of real weights are.
"""

import warnings
from importlib.util import find_spec

import torch

from cofire.errors import InputError
from cofire.types import Float, Tensor
from cofire.weights.fast_ica import MAX_ITER, TOL, Rotations, orthonormal


def check_picard() -> None:
    """Make sure that the package is there.

    Raises:
        InputError: when it is not installed.
    """
    if find_spec("picard") is None:
        raise InputError(
            "The algorithm picard needs the package python-picard; install it (pip install "
            "'cofire[picard]') or use fastica."
        )


def picard_ica(
    white: Float[Tensor, "restarts features values"],
    start: Float[Tensor, "restarts features features"],
    *,
    max_iter: int = MAX_ITER,
    tol: float = TOL,
) -> Rotations:
    """The same as ``fast_ica`` with Picard; runs come one after the other.

    Args:
        white: white data of each restart.
        start: where each restart begins; made orthonormal.
        max_iter: most steps.
        tol: largest entry of the relative gradient that counts as converged.

    Raises:
        InputError: when the package python-picard is not installed.
    """
    check_picard()
    from picard import picard

    rotations, steps, done = [], [], []
    for data, begin in zip(white, orthonormal(start), strict=True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, rotation, _, n_iter = picard(
                data.double().numpy(),
                ortho=True,
                extended=True,
                whiten=False,
                centering=False,
                w_init=begin.double().numpy(),
                max_iter=max_iter,
                tol=tol,
                return_n_iter=True,
            )
        rotations.append(torch.from_numpy(rotation).to(white.dtype))
        steps.append(int(n_iter))
        done.append(not caught)
    n_features = white.shape[1]
    return Rotations(
        torch.stack(rotations),
        torch.tensor(done)[:, None].expand(-1, n_features).clone(),
        torch.tensor(steps),
    )
