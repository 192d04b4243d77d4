"""Projected gradient descent: ``solver="pgd"``, with the schedule of ``bcd``.

The paper (arXiv:2506.10920) leaves projected gradient as an open question. One step moves all
features at once, each by its own step length:

    codes   C_j <- max(0, C_j - (H C - W)_j / a_j),        a_j = sum over i of |H_ji|
    atoms   D_j <- keep(D_j - (G D - V)_j / b_j),          b_j = sum over i of |G_ji|

with H = D D^T, W = D X^T - penalty, G = C^T C, V = C^T X, and keep() winner-take-all, on the unit
sphere followed by normalising. diag(a) - H has no negative eigenvalue (its rows are diagonally
dominant), so the quadratic with diag(a) in place of H lies above the objective and touches it; its
minimum over the constraints is the step, so that the objective never rises. For the atoms this is
iterative hard thresholding (Blumensath & Davies 2008), which unlike ``bcd`` can stop at points that
one exact atom update would still improve. All rows and features move at once, in three matrix
products a step, which suits devices that are slow at many small operations.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.atoms import DEAD_ENERGY
from cofire.factorization.constraints import keep_largest
from cofire.factorization.descent import Descent, Schedule
from cofire.factorization.history import History
from cofire.factorization.solver import OPTIONS, Factors, Problem, Solver
from cofire.types import AtomMatrix, Float, Int, Tensor


@dataclass(frozen=True)
class GradientSteps:
    """Projected gradient steps on the codes and the atoms.

    Attributes:
        code_steps: on the codes for each pass over the data.
        atom_steps: on the atoms for each pass over the data.
    """

    code_steps: int
    atom_steps: int

    def improve_codes(
        self,
        codes: Float[Tensor, "features rows"],
        target: Float[Tensor, "features rows"],
        gram: Float[Tensor, "features features"],
    ) -> None:
        """See ``Updates.improve_codes``."""
        length = _bound(gram)[:, None]
        for _ in range(self.code_steps):
            descent = torch.addmm(target, gram, codes, alpha=-1)
            codes.addcdiv_(descent, length).clamp_(min=0)

    def improve_atoms(
        self,
        atoms: AtomMatrix,
        cross: Float[Tensor, "features channels"],
        gram: Float[Tensor, "features features"],
        *,
        kept: Int[Tensor, "features"],
        unit_norm: bool,
    ) -> None:
        """See ``Updates.improve_atoms``."""
        alive = gram.diagonal() > DEAD_ENERGY * gram.diagonal().max()
        length = _bound(gram)[:, None]
        for _ in range(self.atom_steps):
            moved = atoms + torch.addmm(cross, gram, atoms, alpha=-1) / length
            moved = keep_largest(moved, kept)
            if unit_norm:
                moved, _ = unit_atoms(moved)
            atoms.copy_(torch.where(alive[:, None], moved, atoms))


def _bound(gram: Float[Tensor, "features features"]) -> Float[Tensor, "features"]:
    return gram.abs().sum(dim=1).clamp_(min=torch.finfo(gram.dtype).tiny)


@dataclass(frozen=True)
class ProjectedGradient(Solver):
    """Projected gradient with the phases of the default solver.

    Attributes:
        sample_sweeps, start_penalty, penalty_sweeps, repair_every, extrapolate: as for ``bcd``.
        first_code_steps: steps on the codes when they start at zero.
        code_steps: steps on the codes for each pass over the data.
        atom_steps: steps on the atoms for each pass over the data.
    """

    sample_sweeps: int = 6
    start_penalty: float = 0.03
    penalty_sweeps: int = 20
    first_code_steps: int = 30
    code_steps: int = 10
    atom_steps: int = 20
    repair_every: int = 5
    extrapolate: bool = True

    name: ClassVar[str] = "pgd"
    starts: ClassVar[tuple[str, ...]] = ("kmeans++", "random", "svd")
    options: ClassVar[frozenset[str]] = frozenset(OPTIONS) - {"max_active", "partial_fit"}
    codes_are_optimal: ClassVar[bool] = True
    default_max_iter: ClassVar[int] = 300
    default_code_penalty: ClassVar[float] = 0.03
    default_tol: ClassVar[float] = 5e-4  # as for bcd

    def solve(self, problem: Problem, history: History) -> Factors:
        """Run all phases."""
        schedule = Schedule(
            first_updates=GradientSteps(self.first_code_steps, self.atom_steps),
            updates=GradientSteps(self.code_steps, self.atom_steps),
            sample_sweeps=self.sample_sweeps,
            start_penalty=self.start_penalty,
            penalty_sweeps=self.penalty_sweeps,
            repair_every=self.repair_every,
            extrapolate=self.extrapolate,
        )
        return Descent(schedule, problem, history).solve()
