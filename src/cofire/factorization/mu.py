"""The published algorithm, step for step: ``solver="mu"``.

Source: Shafran, Geiger & Geva, arXiv:2506.10920, with the update of the codes from Ding, Li &
Jordan 2010. Orientation: X ≈ C D here, A = X^T, Z = D^T, Y = C^T there. Each iteration:

1. D <- (C^T C + λ I)^-1 C^T X, λ = 1e-6
2. winner-take-all: each atom keeps its largest entries
3. each column of C to unit norm, its scale moved into D
4. C <- C * sqrt( ([X D^T]+ + C [D D^T]-) / ([X D^T]- + C [D D^T]+ + 1e-6) )
5. the loss ||X - C D||^2; keep the best snapshot; stop after ``patience`` iterations without an
   absolute gain of ``tol``

Deviations, none of which changes an iterate: the loss comes from the Gram identity in float64
instead of a float32 residual, reusing C^T X of the next step 1; the result has unit-norm atoms, the
scale moved into the codes. The loss is not monotone: step 2 thresholds in the wrong metric.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.code_blocks import CodesInMemory
from cofire.factorization.constraints import keep_largest
from cofire.factorization.data import DataMatrix
from cofire.factorization.history import History
from cofire.factorization.initialization import initial_atoms, initial_codes, more_atoms
from cofire.factorization.objective import Products, squared_error
from cofire.factorization.solver import Factors, Problem, Solver, StopReason
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

RIDGE = 1e-6
EPSILON = 1e-6


@dataclass(frozen=True)
class MultiplicativeUpdates(Solver):
    """The published algorithm with the values of its script.

    Attributes:
        patience: iterations without a gain of ``tol`` after which it stops.
    """

    patience: int = 1500

    name: ClassVar[str] = "mu"
    starts: ClassVar[tuple[str, ...]] = ("random", "kmeans++", "svd")
    options: ClassVar[frozenset[str]] = frozenset()
    codes_are_optimal: ClassVar[bool] = False
    default_max_iter: ClassVar[int] = 2000
    default_code_penalty: ClassVar[float] = 0.0
    default_tol: ClassVar[float] = 1e-4  # absolute, in units of ||X||^2

    def solve(self, problem: Problem, history: History) -> Factors:
        """Run to patience or ``max_iter``; returns the best snapshot."""
        data = problem.data
        codes = _start(problem)
        products = _products(data, codes)
        best_loss, best_codes = inf, codes
        best_atoms = torch.zeros(problem.n_features, data.n_channels, device=data.device)
        mark, since_gain = inf, 0
        reason: StopReason = "max_iter"
        iteration = 0
        try:
            for iteration in range(1, problem.max_iter + 1):
                wide_atoms, norms = update_atoms(products.cross, products.gram, problem.kept)
                atoms = wide_atoms.to(data.compute_dtype)
                codes = codes / norms.to(codes.dtype)
                for rows, tile, _ in data.tiles():
                    codes[rows] = update_codes(tile, codes[rows], atoms)
                products = _products(data, codes)
                loss = squared_error(data.squared_norm, products.cross, products.gram, atoms)
                if loss < best_loss:
                    best_loss, best_codes, best_atoms = loss, codes, atoms
                density = int(torch.count_nonzero(codes)) / codes.numel()
                history.add("mu", iteration, loss, code_density=density)
                if loss < mark - problem.tol:
                    mark, since_gain = loss, 0
                else:
                    since_gain += 1
                    if since_gain >= self.patience:
                        reason = "patience"
                        break
        except KeyboardInterrupt:
            if not history.records:
                raise
            reason = "interrupted"
        best_atoms, lengths = unit_atoms(best_atoms)
        best_codes = best_codes * lengths
        products = _products(data, best_codes)
        kept_codes = CodesInMemory()
        kept_codes.write(0, best_codes.T)
        return Factors(kept_codes, best_atoms, products, best_loss, iteration, reason)


def _start(problem: Problem) -> CodeMatrix:
    """The first codes; the published start draws atoms too, but step 1 replaces them unread."""
    if not isinstance(problem.start, str):
        atoms = more_atoms(problem.data, problem.start, problem.n_features, problem.generator)
        return initial_codes(problem.data, atoms, "svd", problem.generator)
    if problem.start == "random":
        unread = torch.zeros(problem.n_features, problem.data.n_channels)
        return initial_codes(problem.data, unread, "random", problem.generator)
    atoms = initial_atoms(problem.data, problem.n_features, problem.start, problem.generator)
    return initial_codes(problem.data, atoms, problem.start, problem.generator)


def _products(data: DataMatrix, codes: CodeMatrix) -> Products:
    products = Products(codes.shape[1], data.n_channels, data.device)
    for rows, tile, _ in data.tiles():
        products.add(codes[rows].T, tile)
    return products


def update_atoms(
    cross: Float[Tensor, "features channels"], gram: Float[Tensor, "features features"], kept: int
) -> tuple[AtomMatrix, Float[Tensor, "features"]]:
    """Steps 1 to 3.

    Returns:
        The atoms with the scale of the codes moved in, and that scale: the norms that the columns
        of C are to be divided by.
    """
    ridge = RIDGE * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    atoms = keep_largest(torch.linalg.solve(gram + ridge, cross), kept)
    norms = gram.diagonal().sqrt()
    return atoms * norms[:, None], torch.where(norms > 0, norms, torch.ones_like(norms))


def update_codes(X: ActivationMatrix, C: CodeMatrix, D: AtomMatrix) -> CodeMatrix:
    """Step 4 for some rows."""
    target, gram = X @ D.T, D @ D.T
    raising = target.clamp(min=0) + C @ (-gram).clamp(min=0)
    lowering = (-target).clamp(min=0) + C @ gram.clamp(min=0) + EPSILON
    return C * torch.sqrt(raising / lowering)
