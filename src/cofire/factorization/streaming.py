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

from cofire.factorization.atoms import descend_atoms
from cofire.factorization.data import DataMatrix
from cofire.factorization.objective import Products, squared_error
from cofire.factorization.solver import Factors, History, Problem
from cofire.factorization.state import Correlator
from cofire.nnls import descend_codes, unit_atoms
from cofire.types import ActivationMatrix, AtomMatrix, Float, Tensor

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
        kept: nonzero entries an atom may have.
        penalty: absolute L1 weight on the codes.
        rows_seen: rows so far.
        steps: batches so far.
    """

    atoms: AtomMatrix
    products: Products
    kept: int
    penalty: float
    rows_seen: int = 0
    steps: int = 0

    @classmethod
    def after(cls, factors: Factors, problem: Problem) -> "Stream":
        """A stream that goes on from a fit."""
        return cls(
            factors.atoms.clone(),
            factors.products,
            problem.kept,
            problem.absolute_penalty,
            rows_seen=problem.data.n_rows,
        )

    def to(self, device: torch.device) -> None:
        """Move to a device; between chunks a stream rests on the CPU."""
        self.atoms = self.atoms.to(device)
        self.products.to(device)

    def follow(self, data: DataMatrix, history: History) -> float:
        """Learn from all rows in order; returns their loss, each batch before it is learned."""
        loss = 0.0
        for _, tile in data.tiles():
            for batch in torch.split(tile, BATCH_ROWS):
                loss += self.learn(batch, history)
        return loss

    def learn(self, batch: ActivationMatrix, history: History) -> float:
        """Code one batch, record its loss, then let the atoms learn from it."""
        count = len(batch)
        codes = batch.new_zeros(len(self.atoms), count)
        target = Correlator(self.atoms, self.kept)(batch).sub_(self.penalty)
        descend_codes(codes, target, self.atoms @ self.atoms.T, sweeps=_CODE_SWEEPS)
        fresh = Products(len(self.atoms), batch.shape[1], batch.device)
        fresh.add(codes, batch)
        self.steps += 1
        loss = self._record(batch, codes, fresh, history)

        fade = math.exp(-count / max(_LEAST_BATCHES * count, _MEMORY_SHARE * self.rows_seen))
        self.products.cross.mul_(fade).add_(fresh.cross)
        self.products.gram.mul_(fade).add_(fresh.gram)
        descend_atoms(
            self.atoms,
            self.products.cross.to(self.atoms.dtype),
            self.products.gram.to(self.atoms.dtype),
            kept=self.kept,
            sweeps=1,
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
    ) -> float:
        wide = fresh.gram.dtype
        squared_norm = float(torch.linalg.vector_norm(batch, dtype=wide)) ** 2
        loss = squared_error(squared_norm, fresh.cross, fresh.gram, self.atoms)
        history.squared_norm = max(squared_norm, torch.finfo(wide).tiny)
        history.add(
            "stream",
            self.steps,
            loss,
            objective=loss + 2.0 * self.penalty * float(codes.sum(dtype=wide)),
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
