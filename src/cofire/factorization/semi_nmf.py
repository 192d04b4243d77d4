"""``SemiNMF``: sparse, signed neuron groups with nonnegative codes, as a scikit-learn estimator."""

import logging
import math
import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from cofire.device import resolve_device
from cofire.errors import ConvergenceWarning, InputError
from cofire.factorization.constraints import kept_entries
from cofire.factorization.data import DataMatrix
from cofire.factorization.parameters import (
    check_parameters,
    check_rows,
    chosen_start,
    named_solver,
    seeded_generator,
)
from cofire.factorization.solver import (
    Callback,
    Factors,
    History,
    Problem,
    Solver,
    StopReason,
    SweepRecord,
)
from cofire.factorization.streaming import BATCH_ROWS, FIRST_ROWS, FIRST_SWEEPS, Stream
from cofire.factorization.validation import (
    DataLike,
    as_shards,
    code_dtype,
    handed_back,
    prepare,
    storage_dtype,
)
from cofire.nnls import nonnegative_codes, single_threaded
from cofire.types import Tensor

logger = logging.getLogger(__name__)


class SemiNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Factorise X ≈ C D into codes C >= 0 and sparse signed atoms D.

    Minimises ||X - C D||^2 over C [rows features] >= 0 and D [features channels] whose rows hold
    at most ceil(sparsity · channels) nonzero entries. Each atom is a group of neurons that fire
    together; the code says how strongly a row (a token) expresses it. In the paper's letters
    (arXiv:2506.10920) A ≈ Z Y with A = X^T, Z = D^T, Y = C^T.

    The same data, parameters, seed and machine give the same result bit for bit. Memory for bcd: X
    as it is given, a transposed copy of it where that takes at most 1 GiB (CPU), and four times the
    codes; ``partial_fit`` takes the same for one chunk only.

    Args:
        n_components: number of atoms, 1 to the number of rows.
        sparsity: fraction of channels an atom keeps, 0 < sparsity <= 1 (winner-take-all).
        init: where to start: ``kmeans++``, ``random``, ``svd``, an array of atoms
            [features channels], or None for the solver's own (``kmeans++`` for bcd, the published
            ``random`` for mu).
        solver: ``bcd`` (exact block coordinate descent), ``mu`` (the published algorithm), or a
            solver with settings of its own such as ``MultiplicativeUpdates(patience=100)``.
        max_iter: most sweeps over the data; None for the solver's own (300 for bcd, 2000 for mu).
        tol: when to stop; None for the solver's own. For bcd the mean relative decrease of the
            objective a sweep, over five sweeps (5e-4; 1e-4 is thorough); for mu the absolute gain
            that counts as one (1e-4, as published).
        code_penalty: L1 weight on the codes of unit atoms, relative to the median norm of the
            rows; None for the solver's own (0.03 for bcd, 0 for mu, which takes no other). 0 is
            the published objective, with a lower loss, codes that are nearly all above zero, and
            features that agree less between seeds.
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
        stop_reason_: ``converged``, ``exact``, ``patience``, ``max_iter``, ``interrupted``,
            ``diverged`` or ``streaming``.
        history_: a ``SweepRecord`` for every sweep, with its phase.
        objective_: ``record.objective`` of ``history_`` as an array.
        code_penalty_: the L1 weight in absolute terms, as ``transform`` uses it.
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
        init: str | np.ndarray | Tensor | None = None,
        solver: str | Solver = "bcd",
        max_iter: int | None = None,
        tol: float | None = None,
        code_penalty: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "float32",
        callback: Callback | None = None,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.init = init
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.code_penalty = code_penalty
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.callback = callback

    def fit(self, X: DataLike, y: object = None) -> "SemiNMF":
        """Find atoms.

        Args:
            X: [rows channels], array, tensor, data frame or ``Activations``.
            y: ignored, for scikit-learn's conventions.

        Raises:
            InputError: for data or parameters that cannot be used; the message says what to do.

        Warns:
            ConvergenceWarning: when ``max_iter`` ended the fit.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: DataLike, y: object = None) -> np.ndarray | Tensor:
        """Find atoms and return the codes of X [rows features].

        For bcd they are those that ``transform`` gives; for mu, those of the published updates.
        """
        codes = self._fit(X).codes
        wanted = code_dtype(as_shards(X))
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
        check_is_fitted(self)
        data = self._prepared(X, reset=False, dtype=None)
        atoms = torch.from_numpy(self.components_).to(data.device)
        codes = torch.empty(data.n_rows, len(atoms), dtype=data.compute_dtype, device=data.device)
        for rows, tile in data.tiles():
            codes[rows] = nonnegative_codes(tile, atoms, penalty=self.code_penalty_)
        return handed_back(codes, X)

    def inverse_transform(self, X: DataLike) -> np.ndarray | Tensor:
        """Rows C D [rows channels] that codes [rows features] stand for."""
        check_is_fitted(self)
        codes = X if isinstance(X, Tensor) else torch.from_numpy(np.asarray(X))
        if codes.ndim != 2 or codes.shape[1] != len(self.components_):
            raise InputError(
                f"Codes must be [rows features] with {len(self.components_)} features; "
                f"got shape {tuple(codes.shape)}."
            )
        atoms = torch.from_numpy(self.components_).to(codes.device)
        dtype = torch.promote_types(codes.dtype, atoms.dtype)
        return handed_back(codes.to(dtype) @ atoms.to(dtype), X)

    def partial_fit(self, X: DataLike, y: object = None) -> "SemiNMF":
        """Learn from one more chunk of a stream, in memory that does not grow with the stream.

        The first chunk needs at least ``n_components`` rows and is fitted as a whole (up to 8192
        rows of it); later ones may have any number. Continues a previous ``fit``. After that
        ``history_`` and ``reconstruction_err_`` measure every batch before the atoms learned from
        it. bcd only; see streaming.py for the method.

        Raises:
            InputError: as ``fit``.
        """
        stream: Stream | None = getattr(self, "_stream", None)
        solver = self._checked_solver()
        if not solver.streams:
            raise InputError(f"solver={solver.name!r} cannot follow a stream; use solver='bcd'.")
        data = self._prepared(X, reset=stream is None, dtype=storage_dtype(self.dtype))
        history = History(data.squared_norm, self._notify)
        rest: DataMatrix | None = data
        loss = 0.0
        if stream is None:
            check_rows(self.n_components, data)
            first, rest = data.split(max(FIRST_ROWS, self.n_components))
            problem = self._problem(solver, first, max_iter=FIRST_SWEEPS)
            with single_threaded(data.device, problem.work):
                factors = solver.solve(problem, history)
            stream, loss = Stream.after(factors, problem), factors.loss
            self.history_: list[SweepRecord] = []
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

    def _fit(self, X: DataLike) -> Factors:
        solver = self._checked_solver()
        data = self._prepared(X, reset=True, dtype=storage_dtype(self.dtype))
        check_rows(self.n_components, data)
        problem = self._problem(solver, data, self.max_iter)
        history = History(data.squared_norm, self._notify)
        with single_threaded(data.device, problem.work):
            factors = solver.solve(problem, history)
        self._remember(Stream.after(factors, problem))
        self._conclude(factors.loss, data, factors.n_iter, factors.stop_reason, history.records)
        if factors.stop_reason in ("max_iter", "diverged"):
            warnings.warn(
                f"SemiNMF stopped after {factors.n_iter} sweeps ({factors.stop_reason}) before it "
                "converged; the best factors so far are kept. Raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return factors

    def _problem(self, solver: Solver, data: DataMatrix, max_iter: int | None) -> Problem:
        return Problem(
            data=data,
            n_features=self.n_components,
            kept=kept_entries(self.sparsity, data.n_channels),
            start=chosen_start(self.init, solver, self.n_components, data),
            code_penalty=self._penalty(solver),
            max_iter=solver.default_max_iter if max_iter is None else max_iter,
            tol=solver.default_tol if self.tol is None else self.tol,
            generator=seeded_generator(self.random_state),
        )

    def _penalty(self, solver: Solver) -> float:
        return solver.default_code_penalty if self.code_penalty is None else self.code_penalty

    def _checked_solver(self) -> Solver:
        check_parameters(self.n_components, self.max_iter, self.tol, self.code_penalty)
        kept_entries(self.sparsity, 1)
        solver = named_solver(self.solver)
        solver.check(self.init if isinstance(self.init, str) else None, self._penalty(solver))
        return solver

    def _prepared(self, X: DataLike, *, reset: bool, dtype: torch.dtype | None) -> DataMatrix:
        """X on its device, checked against the channels and names of the fit.

        ``dtype`` None computes as wide as the input is.
        """
        shards = as_shards(X)
        try:
            validate_data(self, X, reset=reset, skip_check_array=True)
        except ValueError as error:
            raise InputError(str(error)) from error
        device = resolve_device(self.device)
        if dtype is None:
            dtype = torch.float32 if device.type == "mps" else code_dtype(shards)
        data = prepare(shards, device=device, dtype=dtype)
        if reset and data.squared_norm == 0:
            raise InputError("All values of X are zero; there is nothing to factorise.")
        return data

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
        # A progress bar or a GPU tensor is shared, not copied, by clones.
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
