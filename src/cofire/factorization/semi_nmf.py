"""``SemiNMF``: sparse, signed neuron groups with nonnegative codes, as a scikit-learn estimator."""

import copy
import logging
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from cofire.device import resolve_device
from cofire.errors import ConvergenceWarning, InputError
from cofire.factorization.checkpoint import Checkpoint
from cofire.factorization.code_blocks import stacked
from cofire.factorization.constraints import kept_entries
from cofire.factorization.data import DataMatrix, Tile
from cofire.factorization.history import Callback, History, SweepRecord
from cofire.factorization.parameters import (
    check_agreement,
    check_parameters,
    check_rows,
    chosen_start,
    named_solver,
    named_start,
    seeded_generator,
)
from cofire.factorization.solver import Factors, Problem, Solver, StopReason
from cofire.factorization.sources import Shards
from cofire.factorization.streaming import BATCH_ROWS, FIRST_ROWS, FIRST_SWEEPS, Stream
from cofire.factorization.validation import (
    DataLike,
    as_source,
    as_weights,
    checked_source,
    handed_back,
    moved,
    storage_dtype,
)
from cofire.nnls import nonnegative_codes
from cofire.ranks import ONE, ProcessGroup, Ranks
from cofire.threads import side_by_side, single_threaded, workers_for
from cofire.types import Tensor

logger = logging.getLogger(__name__)


class SemiNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Factorise X ≈ C D into codes C >= 0 and sparse signed atoms D.

    Minimises ||X - C D||^2 over C [rows features] >= 0 and D [features channels] whose rows hold
    at most ceil(sparsity · channels) nonzero entries. Each atom is a group of neurons that fire
    together; the code says how strongly a row (a token) expresses it. In the paper's letters
    (arXiv:2506.10920) A ≈ Z Y with A = X^T, Z = D^T, Y = C^T.

    The same data, parameters, seed and machine give the same result bit for bit. Data may be larger
    than memory: rows of an activation store, or of any iterable of matrices that can be read again
    and again, stay where they are and pass through in tiles, while the codes of the fit lie in a
    temporary file. For data in memory bcd takes three times the codes besides X.

    Args:
        n_components: number of atoms, 1 to the number of rows.
        sparsity: fraction of channels an atom keeps, 0 < sparsity <= 1 (winner-take-all).
        sparsity_budget: ``atom``: no atom keeps more than that; ``dictionary``: all together keep
            that many on average, and those that gain most by it keep more.
        init: where to start: ``kmeans++``, ``random``, ``svd``, an array of atoms
            [features channels] (fewer than ``n_components`` are completed by what they leave
            unexplained), or None for the solver's own (``kmeans++``; the published ``random`` for
            mu).
        solver: ``bcd`` (exact block coordinate descent), ``pgd`` (projected gradient), ``mu`` (the
            published algorithm), or a solver with settings of its own such as
            ``MultiplicativeUpdates(patience=100)``.
        max_iter: most sweeps over the data; None for the solver's own (300, 2000 for mu).
        tol: when to stop; None for the solver's own. For bcd and pgd the mean relative decrease of
            the objective a sweep, over five sweeps (5e-4; 1e-4 is thorough); for mu the absolute
            gain that counts as one (1e-4, as published).
        code_penalty: L1 weight on the codes of unit atoms, relative to the median norm of the
            rows; None for the solver's own (0.03, and 0 for mu, which takes no other). 0 is the
            published objective, with a lower loss, codes that are nearly all above zero, and
            features that agree less between seeds.
        max_active: most features a row may express at once; None for no limit.
        center: take the mean row off before factorising; ``inverse_transform`` puts it back.
        warm_start: begin the next ``fit`` at the atoms of the last one.
        checkpoint: a folder (or a ``Checkpoint`` with settings of its own) in which the fit keeps
            its state at most once a minute. The same fit of the same data goes on from there, to
            the same result as without the interruption; the folder is removed at the end.
        distributed: whether every process of the torch.distributed group calls ``fit`` with its
            own rows, in order of rank. All of them get the same atoms.
        random_state: seed, RandomState or None for a seed that differs every time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: the number type X is held in: ``float32``, ``bfloat16``, ``float16`` or ``float64``.
            Narrower input is kept as it is. Arithmetic is float32 (float64 for ``float64``).
        callback: called with every ``SweepRecord`` as it happens. Clones share it.

    Attributes:
        components_: atoms [features channels], unit norm; a dead atom is all zero.
        n_iter_: sweeps over the data (batches for ``partial_fit``).
        reconstruction_err_: ||X - C D||, the Frobenius norm, for the codes of the fit.
        relative_loss_: ||X - C D||^2 / ||X||^2.
        stop_reason_: ``converged``, ``exact``, ``patience``, ``max_iter``, ``interrupted``
            or ``streaming``.
        history_: a ``SweepRecord`` for every sweep, with its phase.
        objective_: ``record.objective`` of ``history_`` as an array.
        code_penalty_: the L1 weight in absolute terms, as ``transform`` uses it.
        offset_: what is taken off every row [channels]; zero unless ``center``.
        n_features_in_: channels seen in fit.

    >>> X = np.random.default_rng(0).normal(size=(50, 8)).astype("float32")
    >>> snmf = SemiNMF(n_components=3, sparsity=0.5).fit(X)
    >>> snmf.components_.shape, snmf.transform(X).shape
    ((3, 8), (50, 3))
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        sparsity: float = 0.01,
        sparsity_budget: str = "atom",
        init: str | np.ndarray | Tensor | None = None,
        solver: str | Solver = "bcd",
        max_iter: int | None = None,
        tol: float | None = None,
        code_penalty: float | None = None,
        max_active: int | None = None,
        center: bool = False,
        warm_start: bool = False,
        checkpoint: Checkpoint | Path | str | None = None,
        distributed: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "float32",
        callback: Callback | None = None,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.sparsity_budget = sparsity_budget
        self.init = init
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.code_penalty = code_penalty
        self.max_active = max_active
        self.center = center
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.distributed = distributed
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.callback = callback

    def fit(self, X: DataLike, y: object = None, sample_weight: object = None) -> "SemiNMF":
        """Find atoms.

        Args:
            X: [rows channels], array, tensor, data frame, ``Activations``, or an iterable of such
                matrices that gives the same ones each time.
            y: ignored, for scikit-learn's conventions.
            sample_weight: [rows] how often each row counts in the objective, >= 0; all once when
                None.

        Raises:
            InputError: for data or parameters that cannot be used; the message says what to do.

        Warns:
            ConvergenceWarning: when ``max_iter`` ended the fit.
        """
        self._fit(X, sample_weight)
        return self

    def fit_transform(
        self, X: DataLike, y: object = None, sample_weight: object = None
    ) -> np.ndarray | Tensor:
        """Find atoms and return the codes of X [rows features].

        For bcd and pgd they are those that ``transform`` gives; for mu, those of the published
        updates.
        """
        codes = stacked(self._fit(X, sample_weight).codes)
        wanted = torch.float64 if as_source(X).wide else torch.float32
        if codes.dtype != wanted and named_solver(self.solver).codes_are_optimal:
            return self.transform(X)
        return handed_back(codes.to(wanted), X)

    def transform(self, X: DataLike) -> np.ndarray | Tensor:
        """Codes of rows under the fitted atoms: exact nonnegative least squares, deterministic.

        Args:
            X: [rows channels], any rows of the kind seen in fit.

        Returns:
            C [rows features] >= 0, an array for arrays and tables, a tensor (on the device of X)
            for tensors and ``Activations``; float64 for float64 input, else float32.
        """
        check_is_fitted(self, "components_")
        data = self._prepared(X, reset=False, dtype=None)
        atoms = torch.from_numpy(self.components_).to(data.device)
        codes = torch.empty(data.n_rows, len(atoms), dtype=data.compute_dtype, device=data.device)

        def encode(worker: int, tile: Tile) -> None:
            codes[tile.rows] = nonnegative_codes(
                tile.X, atoms, penalty=self.code_penalty_, max_active=self.max_active
            )

        workers = workers_for(data.device, data.work(len(atoms)))
        with single_threaded(data.device, data.work(len(atoms))):
            side_by_side(encode, data.tiles(), workers=workers)
        return handed_back(codes, X)

    def inverse_transform(self, X: DataLike) -> np.ndarray | Tensor:
        """Rows C D [rows channels] that codes [rows features] stand for, the offset included."""
        check_is_fitted(self, "components_")
        codes = X if isinstance(X, Tensor) else torch.from_numpy(np.asarray(X))
        if codes.ndim != 2 or codes.shape[1] != len(self.components_):
            raise InputError(
                f"Codes must be [rows features] with {len(self.components_)} features; "
                f"got shape {tuple(codes.shape)}."
            )
        atoms = torch.from_numpy(self.components_).to(codes.device)
        dtype = torch.promote_types(codes.dtype, atoms.dtype)
        offset = torch.from_numpy(self.offset_).to(codes.device, dtype)
        return handed_back(codes.to(dtype) @ atoms.to(dtype) + offset, X)

    def partial_fit(self, X: DataLike, y: object = None, sample_weight: object = None) -> "SemiNMF":
        """Learn from one more chunk of a stream, in memory that does not grow with the stream.

        The first chunk needs at least ``n_components`` rows and is fitted as a whole (up to 8192
        rows of it); with ``center`` its mean is taken off all later ones, which may have any number
        of rows. Continues a previous ``fit``. After that ``history_`` and ``reconstruction_err_``
        measure every batch before the atoms learned from it. bcd only; see streaming.py for the
        method.

        Raises:
            InputError: as ``fit``, and with ``distributed``.
        """
        stream: Stream | None = getattr(self, "_stream", None)
        solver = self._checked_solver("partial_fit")
        if self.distributed:
            raise InputError("partial_fit runs in one process; leave distributed out, or use fit.")
        settings = self._settings(solver)
        before = getattr(self, "_fitted_with", settings)
        changed = [name for name, value in settings.items() if before[name] != value]
        if stream is not None and changed:
            raise InputError(
                f"partial_fit goes on with the settings it began with, and {', '.join(changed)} "
                "changed since; set them back, call fit, or begin with a new SemiNMF."
            )
        data = self._prepared(
            X, reset=stream is None, dtype=storage_dtype(self.dtype), weights=sample_weight
        )
        history = History(data.squared_norm, self._notify)
        rest: DataMatrix | None = data
        loss = 0.0
        if stream is None:
            check_rows(self.n_components, data)
            first, rest = data.split(max(FIRST_ROWS, self.n_components))
            problem = self._problem(solver, first, self._beginning(), FIRST_SWEEPS)
            with single_threaded(data.device, problem.work):
                factors = solver.solve(problem, history)
            stream, loss = Stream.after(factors, problem), factors.loss
            self._fitted_with: dict[str, object] = settings
            self.history_: list[SweepRecord] = []
            self._remember_offset(data)
        if rest is not None:
            stream.to(data.device)
            work = float(BATCH_ROWS) * data.n_channels * self.n_components
            with single_threaded(data.device, work):
                loss += stream.follow(rest, history)
        self._remember(stream)
        self._conclude(loss, data, stream.steps, "streaming", [*self.history_, *history.records])
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _fit(self, X: DataLike, sample_weight: object) -> Factors:
        asked = ["distributed"] * self.distributed + ["checkpoint"] * (self.checkpoint is not None)
        asked += ["sample_weight"] * (sample_weight is not None)
        solver = self._checked_solver(*asked)
        ranks: Ranks = ProcessGroup() if self.distributed else ONE
        if ranks.size > 1 and sample_weight is not None:
            raise InputError("sample_weight cannot be used with distributed=True; leave it out.")
        settings = self._settings(solver)
        init = self._beginning()
        if ranks.size > 1:
            alike = {
                **settings,
                "init": named_start(init),
                "max_iter": self.max_iter,
                "tol": self.tol,
                "checkpoint": self.checkpoint is not None,
            }
            check_agreement(ranks, alike)
        data = self._prepared(
            X,
            reset=True,
            dtype=storage_dtype(self.dtype),
            weights=sample_weight,
            ranks=ranks,
        )
        check_rows(self.n_components, data)
        history = History(data.squared_norm, self._notify)
        problem = self._problem(solver, data, init, self.max_iter, history)
        with single_threaded(data.device, problem.work):
            factors = solver.solve(problem, history)
        self._began_at, self._fitted_with = init, settings
        self._remember_offset(data)
        self._remember(Stream.after(factors, problem))
        self._conclude(factors.loss, data, factors.n_iter, factors.stop_reason, history.records)
        if factors.stop_reason == "max_iter":
            warnings.warn(
                f"SemiNMF stopped after {factors.n_iter} sweeps (max_iter) before it "
                "converged; the best factors so far are kept. Raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return factors

    def _problem(
        self,
        solver: Solver,
        data: DataMatrix,
        init: str | np.ndarray | Tensor | None,
        max_iter: int | None,
        history: History | None = None,
    ) -> Problem:
        """What to fit; the state is kept on disk only where there is a history to keep."""
        generator = seeded_generator(self.random_state, data.ranks)
        kept = kept_entries(self.sparsity, data.n_channels)
        start = chosen_start(init, solver, self.n_components, data)
        limit = solver.default_max_iter if max_iter is None else max_iter
        tol = solver.default_tol if self.tol is None else self.tol
        opened = None
        where = self._kept_at()
        if where is not None and history is not None:
            settings = {
                **self._settings(solver),
                "init": named_start(start),
                # None draws another seed each time; the saved generator goes on all the same.
                "random_state": None if self.random_state is None else generator.initial_seed(),
                "rows": data.total_rows,
                "channels": data.n_channels,
                "squared norm of the data": data.squared_norm,
                **(data.identity or {}),
            }
            opened = where.opened(
                settings,
                history=history,
                generator=generator,
                device=data.device,
                ranks=data.ranks,
            )
        return Problem(
            data=data,
            n_features=self.n_components,
            kept=kept,
            start=start,
            code_penalty=self._penalty(solver),
            max_iter=limit,
            tol=tol,
            generator=generator,
            max_active=self.max_active,
            shared_budget=self.sparsity_budget == "dictionary",
            checkpoint=opened,
        )

    def _settings(self, solver: Solver) -> dict[str, object]:
        """What the atoms are to be, and how they are found."""
        return {
            "n_components": self.n_components,
            "sparsity": self.sparsity,
            "sparsity_budget": self.sparsity_budget,
            "solver": repr(solver),
            "code_penalty": self._penalty(solver),
            "max_active": self.max_active,
            "center": self.center,
            "dtype": str(storage_dtype(self.dtype)),
        }

    def _beginning(self) -> str | np.ndarray | Tensor | None:
        """What to begin with: ``init``, or for a warm start the atoms of the last fit.

        Where that was interrupted and its state is on disk, it goes on from where it began.
        """
        if not (self.warm_start and hasattr(self, "components_")):
            return self.init
        kept = self._kept_at()
        goes_on = self.stop_reason_ == "interrupted" and kept is not None and kept.present()
        return self._began_at if goes_on else self.components_

    def _kept_at(self) -> Checkpoint | None:
        where = self.checkpoint
        return where if where is None or isinstance(where, Checkpoint) else Checkpoint(where)

    def _penalty(self, solver: Solver) -> float:
        return solver.default_code_penalty if self.code_penalty is None else self.code_penalty

    def _checked_solver(self, *asked: str) -> Solver:
        """The solver, which can do what the parameters and the caller ask for."""
        check_parameters(
            self.n_components,
            self.max_iter,
            self.tol,
            self.code_penalty,
            self.max_active,
            self.sparsity_budget,
        )
        kept_entries(self.sparsity, 1)
        solver = named_solver(self.solver)
        wanted = {
            "code_penalty": self._penalty(solver) > 0,
            "max_active": self.max_active is not None,
            "sparsity_budget": self.sparsity_budget != "atom",
        }
        options = [name for name, given in wanted.items() if given] + list(asked)
        solver.check(self.init if isinstance(self.init, str) else None, options)
        return solver

    def _prepared(
        self,
        X: DataLike,
        *,
        reset: bool,
        dtype: torch.dtype | None,
        weights: object = None,
        ranks: Ranks = ONE,
    ) -> DataMatrix:
        """X on its device, checked against the channels and names of the fit.

        ``dtype`` None computes as wide as the input is.
        """
        source = checked_source(self, X, reset=reset)
        device = resolve_device(self.device)
        if dtype is None:
            wide = source.wide and device.type != "mps"
            dtype = torch.float64 if wide else torch.float32
        if isinstance(source, Shards):
            weights = as_weights(weights, source.n_rows)
        elif weights is not None:
            raise InputError("sample_weight needs X as one matrix or as Activations.")
        check_agreement(ranks, {"channels": source.n_channels})
        data = DataMatrix(
            moved(source, device, dtype),
            compute_dtype=torch.float64 if dtype == torch.float64 else torch.float32,
            device=device,
            center=self.center and reset,
            weights=weights,
            mean=None if reset or not self.center else torch.from_numpy(self.offset_),
            ranks=ranks,
            identify=reset and self.checkpoint is not None,
        )
        if reset:
            data.check_size()
        return data

    def _remember_offset(self, data: DataMatrix) -> None:
        mean = torch.zeros(data.n_channels) if data.mean is None else data.mean.cpu()
        self.offset_ = mean.to(data.compute_dtype).numpy()

    def _remember(self, stream: Stream) -> None:
        """Keep the atoms, and what ``partial_fit`` needs to go on, off the GPU."""
        stream.to(torch.device("cpu"))
        self._stream = stream
        self.components_ = stream.atoms.numpy().copy()
        self.code_penalty_ = stream.penalty

    def _conclude(
        self,
        loss: float,
        data: DataMatrix,
        n_iter: int,
        reason: StopReason,
        history: list[SweepRecord],
    ) -> None:
        self.reconstruction_err_ = math.sqrt(loss)
        self.relative_loss_ = loss / data.squared_norm if data.squared_norm else 0.0
        self.n_iter_ = n_iter
        self.stop_reason_ = reason
        self.history_ = history
        self.objective_ = np.array([record.objective for record in history])

    def _notify(self, record: SweepRecord) -> None:
        logger.debug("%s", record)
        if self.callback is not None:
            self.callback(record)

    def __sklearn_clone__(self) -> "SemiNMF":
        # A progress bar or a GPU tensor is shared, not copied, by clones; random numbers are not.
        parameters = self.get_params(deep=False)
        parameters["random_state"] = copy.deepcopy(self.random_state)
        return type(self)(**parameters)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
