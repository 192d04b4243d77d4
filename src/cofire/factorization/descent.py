"""The schedule of the descending solvers: phases, swaps of atoms, stopping, checkpoints.

Sweeps are extrapolated (momentum.py); one that raises the objective is taken back. They go through
phases that the history names:

``penalised``  The codes carry an L1 penalty, atoms stay on the unit sphere. A low loss alone is
               not a good set of features: without this phase the descent settles in mixtures.
``repair``     Within the first phase: dead, duplicate and useless atoms are swapped for directions
               that the residual holds; taken back unless the objective is lower afterwards.
``budget``     With one budget for all atoms: entries move to the atoms that gain most by them;
               taken back unless the objective is lower afterwards.
``released``   The penalty falls to the caller's ``code_penalty`` (0: the published objective) and
               the sweeps run until the mean relative decrease over five of them is below ``tol``.
``final``      The codes are solved to the tolerance of nnls.py, so that encoding the training rows
               again gives the same codes. An interrupt leaves this out: the codes are then those
               of the last sweep.

All decisions rest on sums over all processes, so that every process takes the same ones.
"""

from dataclasses import dataclass, replace

import torch

from cofire.code_descent import unit_atoms
from cofire.factorization.atoms import shared_budget
from cofire.factorization.checkpoint import STOP_WINDOW, Place, Trial
from cofire.factorization.code_blocks import CodeBlocks, CodesInMemory, CodesOnDisk
from cofire.factorization.constraints import keep_largest
from cofire.factorization.data import Tile
from cofire.factorization.history import History, Phase, SweepRecord
from cofire.factorization.initialization import initial_atoms, more_atoms
from cofire.factorization.momentum import Momentum
from cofire.factorization.objective import Products, squared_error
from cofire.factorization.repair import apply_swaps, propose_swaps
from cofire.factorization.sampled import improved_on_sample, sample_pays
from cofire.factorization.solver import Factors, Problem, StopReason
from cofire.factorization.sweep import Ahead, Point, Sums, SweepOutcome, sweep
from cofire.factorization.updates import Updates
from cofire.nnls import nonnegative_codes
from cofire.threads import side_by_side, workers_for
from cofire.types import AtomMatrix, Int, Tensor

_EXACT = 10.0  # roundings of ||X||^2 within which a fit counts as exact
_TRIAL_SWEEPS = 2
_MOST_SWAPPED = 0.1  # fraction of the atoms in one repair; halved by every one taken back


@dataclass(frozen=True)
class Schedule:
    """What the phases are made of.

    Attributes:
        first_updates: those of the very first sweep, where codes start at zero.
        updates: those of all others.
        sample_sweeps: over a sample of rows before the first one over all; 0 for none.
        start_penalty: L1 weight of the first phase, relative to the median row norm.
        penalty_sweeps: sweeps of the first phase; at most half of ``max_iter`` are spent there.
        repair_every: sweeps between looks for atoms to swap; 0 never looks.
        extrapolate: whether sweeps are extrapolated.
    """

    first_updates: Updates
    updates: Updates
    sample_sweeps: int
    start_penalty: float
    penalty_sweeps: int
    repair_every: int
    extrapolate: bool


class Descent:
    """One fit: the factors, the settings and where the history stands.

    Args:
        schedule: of the solver.
        problem: what to fit.
        history: gets a record for every sweep.
    """

    def __init__(self, schedule: Schedule, problem: Problem, history: History) -> None:
        self._schedule = schedule
        self._problem = problem
        self._history = history
        self._data = problem.data
        self._end_penalty = problem.absolute_penalty
        start_penalty = schedule.start_penalty * self._data.median_row_norm
        self._start_penalty = max(start_penalty, self._end_penalty)
        self._sets: list[CodeBlocks] = []
        self._place = Place(most_swaps=max(1, int(_MOST_SWAPPED * problem.n_features)))
        self._momentum = Momentum()
        self._later: tuple[Trial, ...] = ()
        device = self._data.device
        self._kept = torch.full((problem.n_features,), problem.kept, device=device)

    def solve(self) -> Factors:
        """Run all phases, from the last checkpoint where there is one."""
        saved = self._problem.checkpoint
        if saved is None or not self._resume():
            self._here = Point(self._start(), self._spare())
        self._settle()
        try:
            self._penalised()
            reason = self._released()
        except KeyboardInterrupt:
            if not self._history.records:
                raise
            reason = "interrupted"
            self._unsettle()
            self._save(now=True)
        factors = self._finish(reason)
        if saved is not None and factors.stop_reason != "interrupted":
            saved.finished()
        return factors

    def _start(self) -> AtomMatrix:
        """Unit atoms to begin with; drawn ones are improved on a sample, given ones are kept."""
        problem, schedule, data = self._problem, self._schedule, self._data
        k, given, generator = problem.n_features, problem.start, problem.generator
        sampled = False
        if isinstance(given, str):
            sampled = schedule.sample_sweeps > 0 and sample_pays(data, k)
            start = initial_atoms(data, k, given, generator, rough=sampled)
        else:
            start = more_atoms(data, given, k, generator)
        atoms, _ = unit_atoms(keep_largest(start, problem.kept))
        if sampled:
            atoms = improved_on_sample(
                data,
                atoms,
                [schedule.first_updates, *[schedule.updates] * (schedule.sample_sweeps - 1)],
                penalty=self._start_penalty,
                kept=self._kept,
                generator=generator,
            )
        return data.ranks.copy_first(atoms)

    def _settle(self) -> None:
        """What an interrupt goes back to, were it in the midst of the next step.

        Called when the factors are in place and before the callback hears of it, which is where
        most interrupts come from.
        """
        self._settled = replace(self._place), self._problem.generator.get_state()

    def _unsettle(self) -> None:
        self._place, state = self._settled
        self._problem.generator.set_state(state)

    def _penalised(self) -> None:
        place = self._place
        sweeps = min(self._schedule.penalty_sweeps, self._problem.max_iter // 2)
        while not place.released and place.iteration < sweeps:
            due, place.due = place.due, ()
            if place.iteration + _TRIAL_SWEEPS <= sweeps:
                for number, trial in enumerate(due):
                    self._later = due[number + 1 :]
                    self._repair() if trial == "repair" else self._share_budget()
            self._sweep("penalised", self._start_penalty)
            self._save()

    def _released(self) -> StopReason:
        place = self._place
        data = self._data
        exact = _EXACT * torch.finfo(data.compute_dtype).eps * data.squared_norm
        if not place.released:
            place.released = True
            self._momentum = Momentum()
        while True:
            recent = place.recent
            if recent and recent[-1] <= exact:
                return "exact"
            full = len(recent) > STOP_WINDOW
            if full and recent[0] - recent[-1] <= STOP_WINDOW * self._problem.tol * recent[0]:
                return "converged"
            if place.iteration >= self._problem.max_iter:
                return "max_iter"
            self._sweep("released", self._end_penalty)
            self._save()

    def _sweep(self, phase: Phase, penalty: float) -> None:
        """One extrapolated sweep, taken back if it raises the objective."""
        last = self._history.records[-1] if self._history.records else None
        point, outcome = self._advance(self._here, penalty, ahead=self._momentum.ahead)
        rises = last is not None and outcome.objective > last.objective
        taken_back = self._schedule.extrapolate and rises
        if taken_back:
            self._momentum.retreat()
        else:
            if self._schedule.extrapolate:
                self._momentum.land(self._here)
            self._here = point
        reached = last.objective if taken_back and last is not None else outcome.objective
        self._place.count(phase, reached, self._trials())
        self._settle()
        if taken_back:
            self._history.repeat(phase, self._place.iteration)
        else:
            self._record(phase, outcome)

    def _trials(self) -> tuple[Trial, ...]:
        """What is to be tried after the sweep that is being counted."""
        every = self._schedule.repair_every
        if not every or (self._place.done + 1) % every:
            return ()
        return ("repair", "budget") if self._problem.shared_budget else ("repair",)

    def _repair(self) -> None:
        """Swap atoms on trial; keep the change only if the objective drops."""
        place = self._place
        swaps = propose_swaps(
            self._data,
            self._here,
            penalty=self._start_penalty,
            most=place.most_swaps,
            kept=self._kept,
            generator=self._problem.generator,
        )
        if len(swaps.atoms):
            swapped = replace(self._here, atoms=apply_swaps(self._here.atoms, swaps))
            self._try("repair", swapped, self._kept, swaps.atoms)

    def _share_budget(self) -> None:
        """Move entries between atoms on trial; keep the change only if the objective drops."""
        products = self._here.products
        if products is None:
            return
        kept = shared_budget(self._here.atoms, products.cross, products.gram, int(self._kept.sum()))
        if not bool((kept == self._kept).all()):
            self._try("budget", self._here, kept)

    def _try(
        self,
        phase: Trial,
        start: Point,
        kept: Int[Tensor, "features"],
        swapped: Int[Tensor, "_"] | None = None,
    ) -> None:
        """Some sweeps from another point; go there if the objective is lower than here."""
        objective = self._history.records[-1].objective
        before, self._kept = self._kept, kept
        try:
            point, outcome = self._advance(start, self._start_penalty, cleared=swapped)
            for _ in range(1, _TRIAL_SWEEPS):
                point, outcome = self._advance(point, self._start_penalty, into=point.codes)
        except KeyboardInterrupt:
            self._kept = before
            raise
        count = 0 if swapped is None else len(swapped)
        better = outcome.objective < objective
        if better:
            self._here, self._momentum = point, Momentum()
        else:
            self._kept = before
            if count:
                self._place.most_swaps = max(1, count // 2)
        self._place.due = self._later
        self._settle()
        self._place.due = ()
        if better:
            self._record(phase, outcome, replaced=count)
        else:
            self._history.repeat(phase, self._place.iteration)

    def _advance(
        self,
        here: Point,
        penalty: float,
        *,
        ahead: Ahead | None = None,
        cleared: Int[Tensor, "_"] | None = None,
        into: CodeBlocks | None = None,
    ) -> tuple[Point, SweepOutcome]:
        cold = self._place.iteration == 0
        reached = sweep(
            self._data,
            here,
            self._spare() if into is None else into,
            self._schedule.first_updates if cold else self._schedule.updates,
            penalty=penalty,
            kept=self._kept,
            ahead=ahead,
            cleared=cleared,
        )
        self._place.iteration += 1
        return reached

    def _spare(self) -> CodeBlocks:
        """A set of codes that neither the point here nor the one before needs."""
        points = [getattr(self, "_here", None), self._momentum.before]
        used = [point.codes for point in points if point is not None]
        for blocks in self._sets:
            if all(blocks is not other for other in used):
                return blocks
        return self._new_set()

    def _new_set(self) -> CodeBlocks:
        device = self._data.device
        self._sets.append(CodesInMemory() if self._data.in_memory else CodesOnDisk(device))
        return self._sets[-1]

    def _record(self, phase: Phase, outcome: SweepOutcome, replaced: int = 0) -> SweepRecord:
        return self._history.add(
            phase,
            self._place.iteration,
            outcome.loss,
            objective=outcome.objective,
            code_density=outcome.code_density,
            support_churn=outcome.support_churn,
            replaced=replaced,
        )

    def _save(self, *, now: bool = False) -> None:
        if self._problem.checkpoint is not None:
            self._problem.checkpoint.save(
                self._place, self._here, self._momentum, self._kept, now=now
            )

    def _resume(self) -> bool:
        checkpoint = self._problem.checkpoint
        saved = None if checkpoint is None else checkpoint.load(self._new_set)
        if saved is None:
            return False
        self._place, self._here, self._momentum, self._kept = saved
        return True

    def _finish(self, reason: StopReason) -> Factors:
        """Solve the codes for the last atoms, or keep those of the last sweep when interrupted."""
        self._momentum = Momentum()
        swept = len(self._history.records)
        try:
            if reason != "interrupted" and self._outlives:
                self._save(now=True)
            return self._encoded(reason)
        except KeyboardInterrupt:
            del self._history.records[swept:]
            if reason != "interrupted":
                self._save(now=True)
        return self._as_swept()

    @property
    def _outlives(self) -> bool:
        """Whether the state is wanted after the fit."""
        return self._problem.checkpoint is not None and self._problem.checkpoint.keep

    def _encoded(self, reason: StopReason) -> Factors:
        """The exact codes of the last atoms, as ``SemiNMF.transform`` finds them."""
        data = self._data
        atoms, _ = unit_atoms(self._here.atoms)
        codes = self._spare()
        workers = workers_for(data.device, data.work(len(atoms)))
        sums = [Sums(len(atoms), data.n_channels, data.device) for _ in range(workers)]

        def encode(worker: int, numbered: tuple[int, Tile]) -> None:
            block, (_, X, weights) = numbered
            solved = nonnegative_codes(
                X, atoms, penalty=self._end_penalty, max_active=self._problem.max_active
            ).T.contiguous()
            codes.write(block, solved)
            sums[worker].add(solved, X, weights)

        side_by_side(encode, enumerate(data.tiles()), workers=workers)
        products, total, positive = Sums.together(sums, data.ranks)
        loss = squared_error(data.squared_norm, products.cross, products.gram, atoms)
        self._history.add(
            "final",
            self._place.iteration,
            loss,
            objective=loss + 2.0 * self._end_penalty * total,
            code_density=positive / max(1, data.total_rows * len(atoms)),
            support_churn=0.0,
        )
        return Factors(codes, atoms, products, loss, self._place.iteration, reason)

    def _as_swept(self) -> Factors:
        """The factors of the last sweep, with the norms of the atoms moved into the codes."""
        atoms, norms = unit_atoms(self._here.atoms)
        codes = self._spare()
        for block, swept in enumerate(self._here.codes):
            codes.write(block, swept * norms[:, None])
        products = Products(len(atoms), self._data.n_channels, self._data.device)
        if self._here.products is not None:
            wide = norms.to(products.gram.dtype)
            products.cross = self._here.products.cross * wide[:, None]
            products.gram = self._here.products.gram * wide[:, None] * wide
        loss = squared_error(self._data.squared_norm, products.cross, products.gram, atoms)
        return Factors(codes, atoms, products, loss, self._place.iteration, "interrupted")
