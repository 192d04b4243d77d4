"""Mini-batches with forgetting: the dictionary follows a stream of rows in constant memory.

For each batch X_b of n_b rows the codes C_b are solved from zero by a few coordinate sweeps; the
statistics that the atoms need are kept as running sums

    cross <- ρ cross + C_b^T X_b,   gram <- ρ gram + C_b^T C_b,   ρ = exp(-n_b / τ),
    τ = max(5 n_b, 0.15 · rows seen)

and one sweep of atoms.py over them follows. Old rows, coded under old atoms, fade as the stream
grows. Source: Mairal et al. 2010 (online dictionary learning), with their forgetting as a time
constant that grows with the stream. The loss of a batch is taken before the atoms see it, so it
is an unbiased estimate of the loss on new rows.
"""

import math
from dataclasses import dataclass

import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.bcd import CoordinateDescent
from cofire.factorization.data import DataMatrix
from cofire.factorization.history import History
from cofire.factorization.objective import Products, squared_error
from cofire.factorization.solver import Factors, Problem
from cofire.factorization.sweep import Correlator
from cofire.types import ActivationMatrix, AtomMatrix, Float, Int, Tensor

BATCH_ROWS = 2048
FIRST_ROWS = 8192
"""Rows at the start of a stream that are fitted as a whole."""

FIRST_SWEEPS = 40
_CODE_SWEEPS = 4
_LEAST_BATCHES = 5
_MEMORY_SHARE = 0.15


@dataclass
class Stream:
    """Where a stream stands.

    Attributes:
        atoms: D, unit norm.
        products: faded sums of C^T X and C^T C.
        kept: nonzero entries each atom may have.
        penalty: absolute L1 weight on the codes.
        max_active: most features a row may express; None for no limit.
        rows_seen: rows so far.
        steps: batches so far.
    """

    atoms: AtomMatrix
    products: Products
    kept: Int[Tensor, "features"]
    penalty: float
    max_active: int | None = None
    rows_seen: int = 0
    steps: int = 0

    @classmethod
    def after(cls, factors: Factors, problem: Problem) -> "Stream":
        """A stream that goes on from a fit."""
        return cls(
            factors.atoms.clone(),
            factors.products,
            # Of one budget, each atom goes on with what the fit gave it.
            factors.atoms.count_nonzero(dim=1).clamp(min=1)
            if problem.shared_budget
            else torch.full((problem.n_features,), problem.kept),
            problem.absolute_penalty,
            problem.max_active,
            rows_seen=problem.data.total_rows,
        )

    def to(self, device: torch.device) -> None:
        """Move to a device; between chunks a stream rests on the CPU."""
        self.atoms = self.atoms.to(device)
        self.kept = self.kept.to(device)
        self.products.to(device)

    def follow(self, data: DataMatrix, history: History) -> float:
        """Learn from all rows in order; returns their loss, each batch before it is learned."""
        loss = 0.0
        for _, X, weights in data.tiles():
            for start in range(0, len(X), BATCH_ROWS):
                rows = slice(start, start + BATCH_ROWS)
                loss += self.learn(X[rows], history, None if weights is None else weights[rows])
        return loss

    def learn(
        self,
        batch: ActivationMatrix,
        history: History,
        weights: Float[Tensor, "rows"] | None = None,
    ) -> float:
        """Code one batch, record its loss, then let the atoms learn from it."""
        count = len(batch)
        codes = batch.new_zeros(len(self.atoms), count)
        target = Correlator(self.atoms, int(self.kept.max()))(batch).sub_(self.penalty)
        updates = CoordinateDescent(_CODE_SWEEPS, atom_sweeps=1, max_active=self.max_active)
        updates.improve_codes(codes, target, self.atoms @ self.atoms.T)
        fresh = Products(len(self.atoms), batch.shape[1], batch.device)
        fresh.add(codes, batch, weights)
        self.steps += 1
        loss = self._record(batch, codes, fresh, history, weights)

        fade = math.exp(-count / max(_LEAST_BATCHES * count, _MEMORY_SHARE * self.rows_seen))
        self.products.cross.mul_(fade).add_(fresh.cross)
        self.products.gram.mul_(fade).add_(fresh.gram)
        updates.improve_atoms(
            self.atoms,
            *self.products.for_atoms(self.atoms.dtype),
            kept=self.kept,
            unit_norm=self.penalty > 0,
        )
        self.atoms = self._normalised()
        self.rows_seen += count
        return loss

    def _record(
        self,
        batch: ActivationMatrix,
        codes: Float[Tensor, "features rows"],
        fresh: Products,
        history: History,
        weights: Float[Tensor, "rows"] | None,
    ) -> float:
        wide = fresh.gram.dtype
        norms = torch.linalg.vector_norm(batch, dim=1, dtype=wide).square()
        sums = codes.sum(dim=0, dtype=wide)
        if weights is not None:
            norms, sums = norms * weights, sums * weights
        squared_norm = float(norms.sum())
        loss = squared_error(squared_norm, fresh.cross, fresh.gram, self.atoms)
        history.squared_norm = max(squared_norm, torch.finfo(wide).tiny)
        history.add(
            "stream",
            self.steps,
            loss,
            objective=loss + 2.0 * self.penalty * float(sums.sum()),
            code_density=int(torch.count_nonzero(codes)) / max(1, codes.numel()),
        )
        return loss

    def _normalised(self) -> AtomMatrix:
        """Unit atoms, with their norms moved into the codes behind the running sums."""
        atoms, norms = unit_atoms(self.atoms)
        wide = norms.to(self.products.gram.dtype)
        self.products.cross.mul_(wide[:, None])
        self.products.gram.mul_(wide[:, None]).mul_(wide)
        return atoms
