"""``HierarchicalSemiNMF``: atoms of atoms, in levels that are tuned together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from cofire.device import resolve_device
from cofire.errors import InputError
from cofire.factorization.chain import Chain, ChainObjective
from cofire.factorization.chain_tuning import Encoded, TuneCallback, encode_rows, joint_codes
from cofire.factorization.code_blocks import stacked
from cofire.factorization.constraints import kept_entries
from cofire.factorization.data import DataMatrix
from cofire.factorization.hierarchy_levels import (
    LevelSettings,
    explained,
    find_levels,
    first_codes,
    variance_of,
)
from cofire.factorization.hierarchy_settings import (
    DIRECTIONS,
    TUNED,
    check_choice,
    check_first_level,
    level_sizes,
    level_sparsities,
    level_weights,
)
from cofire.factorization.parameters import check_parameters, check_rows, seeded_generator
from cofire.factorization.validation import (
    DataLike,
    as_source,
    checked_source,
    handed_back,
    moved,
    storage_dtype,
)
from cofire.types import ActivationMatrix, CodeMatrix, Tensor

DEFAULT_PENALTY = 0.03
"""L1 weight on codes and weights, that of ``SemiNMF``'s default solver."""


class HierarchicalSemiNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Factorise X into codes and atoms, these atoms into fewer atoms, and so on.

    Level l tells the rows by its own sparse atoms, X ≈ C_0 C_1 ... C_l D_l with all C >= 0: the
    codes of a parent are a weighted sum of those of its children. Levels are found one after the
    other with ``SemiNMF`` and then tuned together by exact block descent, which never raises the
    objective and keeps codes and weights >= 0 and the atoms of every level sparse (chain.py has
    the mathematics). Deviations from the published recursion (arXiv:2506.10920): every level has
    atoms of its own and counts in the objective, the tuning is no gradient method, and atoms of
    coarser levels keep more channels (``sparsity``).

    Rows in memory, on disk, or in chunks, as for ``SemiNMF``. The same data, parameters, seed and
    machine give the same result.

    Args:
        n_components: atoms of every level, decreasing, the finest first; a single number is a
            single level.
        sparsity: share of channels an atom of the first level keeps; every other level's keep as
            much more as there are fewer of them. Or one share a level.
        direction: how levels are found: ``merge`` (bottom-up, as published), ``split`` (top-down),
            ``cluster`` (clusters of the first level's atoms; one parent each).
        tune: what is tuned together afterwards: ``all``, ``above`` (the first level stays what it
            is) or ``none``.
        level_weights: how much each level's error counts in ``tune="all"`` and ``"above"``; None
            for 0.8 on the first level and the rest on the others alike.
        first_level: atoms [features channels] to take as the first level instead of fitting them,
            such as those of a dictionary; not with ``split``.
        code_penalty: L1 weight on codes and on weights, relative to the median row norm; None for
            0.03.
        max_iter: most sweeps of the fit of a level; None for the solver's own.
        tol: when such a fit stops; None for the solver's own.
        tune_iter: most passes over the rows in fine-tuning.
        tune_tol: mean relative decrease of the objective a pass at which it is done.
        random_state: seed, RandomState or None for a seed that differs every time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: the number type X is held in; see ``SemiNMF``.
        callback: called with every ``TuneRecord`` of the fine-tuning. Clones share it.

    Attributes:
        components_: atoms of the first level [features channels], unit norm.
        level_components_: atoms of every level, the first included.
        weights_: for every level but the first, >= 0: row i, column j is how much of atom j an atom
            i of the level below takes.
        explained_variance_: of every level, 1 - ||X - P_l D_l||^2 / ||X - mean||^2 with P_l the
            codes carried there; NaN where the rows do not vary.
        explained_variance_before_: the same before fine-tuning.
        history_: a ``TuneRecord`` a pass of the fine-tuning.
        objective_: their objectives; never rising.
        n_iter_: passes of the fine-tuning.
        stop_reason_: ``converged``, ``max_iter`` or ``none``.
        code_penalty_: the L1 weight in absolute terms.
        n_features_in_: channels seen in fit.

    >>> X = np.random.default_rng(0).normal(size=(60, 8)).astype("float32")
    >>> levels = HierarchicalSemiNMF((6, 3), sparsity=0.5).fit(X)
    >>> levels.weights_[0].shape, [codes.shape for codes in levels.level_codes(levels.transform(X))]
    ((6, 3), [(60, 6), (60, 3)])
    """

    def __init__(
        self,
        n_components: int | Sequence[Any] = (100, 50, 25),
        *,
        sparsity: float | Sequence[float] = 0.01,
        direction: str = "merge",
        tune: str = "all",
        level_weights: Sequence[float] | None = None,
        first_level: np.ndarray | Tensor | None = None,
        code_penalty: float | None = None,
        max_iter: int | None = None,
        tol: float | None = None,
        tune_iter: int = 60,
        tune_tol: float = 5e-4,
        random_state: int | np.random.RandomState | None = 0,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "float32",
        callback: TuneCallback | None = None,
    ) -> None:
        self.n_components = n_components
        self.sparsity = sparsity
        self.direction = direction
        self.tune = tune
        self.level_weights = level_weights
        self.first_level = first_level
        self.code_penalty = code_penalty
        self.max_iter = max_iter
        self.tol = tol
        self.tune_iter = tune_iter
        self.tune_tol = tune_tol
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.callback = callback

    def fit(self, X: DataLike, y: object = None) -> "HierarchicalSemiNMF":
        """Find all levels.

        Args:
            X: [rows channels], as for ``SemiNMF``.
            y: ignored, for scikit-learn's conventions.

        Raises:
            InputError: for levels that do not decrease, more atoms than rows, or other data or
                settings that cannot be used; the message says what to do.

        Warns:
            ConvergenceWarning: when ``max_iter`` ended the fit of a level.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: DataLike, y: object = None) -> np.ndarray | Tensor:
        """Find all levels and return the first level's codes of X, as ``transform`` gives them."""
        encoded = self._fit(X)
        wanted = torch.float64 if as_source(X).wide else torch.float32
        codes = stacked(encoded.codes)
        return self.transform(X) if codes.dtype != wanted else handed_back(codes, X)

    def transform(self, X: DataLike) -> np.ndarray | Tensor:
        """Codes of rows at the first level [rows features], exact and deterministic.

        After ``tune="all"`` they are those that serve all levels best (the objective's minimum for
        these rows), otherwise those of the first level by itself. ``level_codes`` carries them up.
        """
        check_is_fitted(self)
        source = checked_source(self, X, reset=False)
        device = resolve_device(self.device)
        dtype = torch.float64 if source.wide and device.type != "mps" else torch.float32
        data = DataMatrix(moved(source, device, dtype), compute_dtype=dtype, device=device)
        chain = Chain(
            [torch.from_numpy(atoms).to(device) for atoms in self.level_components_],
            [torch.from_numpy(weights).to(device) for weights in self.weights_],
        )
        encoded = encode_rows(data, self._encoder(chain), len(self.components_))
        return handed_back(stacked(encoded.codes), X)

    def level_codes(self, codes: np.ndarray | Tensor) -> list[np.ndarray | Tensor]:
        """Codes of the first level carried to every level, the first included: C_0 C_1 ... C_l."""
        check_is_fitted(self)
        carried = [codes]
        for weights in self.weights_:
            step = torch.from_numpy(weights).to(codes) if isinstance(codes, Tensor) else weights
            carried.append(carried[-1] @ step)
        return carried

    def inverse_transform(self, X: DataLike, level: int = 0) -> np.ndarray | Tensor:
        """Rows [rows channels] that codes of the first level stand for, by one level's atoms."""
        check_is_fitted(self)
        codes = X if isinstance(X, Tensor) else torch.from_numpy(np.asarray(X))
        if codes.ndim != 2 or codes.shape[1] != len(self.components_):
            raise InputError(
                f"Codes must be [rows features] with {len(self.components_)} features; "
                f"got shape {tuple(codes.shape)}."
            )
        if not 0 <= level < len(self.level_components_):
            raise InputError(
                f"There is no level {level}; levels are 0 to {len(self.level_components_) - 1}."
            )
        atoms = torch.from_numpy(self.level_components_[level]).to(codes.device)
        dtype = torch.promote_types(codes.dtype, atoms.dtype)
        carried = torch.as_tensor(self.level_codes(codes)[level])
        return handed_back(carried.to(dtype) @ atoms.to(dtype), X)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _fit(self, X: DataLike) -> Encoded:
        settings = self._settings()
        source = checked_source(self, X, reset=True)
        device = resolve_device(self.device)
        dtype = storage_dtype(self.dtype)
        data = DataMatrix(
            moved(source, device, dtype),
            compute_dtype=torch.float64 if dtype == torch.float64 else torch.float32,
            device=device,
        )
        check_rows(settings.sizes[0], data)
        if data.squared_norm == 0:
            raise InputError("All values of X are zero; there is nothing to factorise.")
        first = check_first_level(self.first_level, settings.sizes[0], data.n_channels)
        kept = tuple(kept_entries(share, data.n_channels) for share in settings.sparsities)
        found = find_levels(
            X, data, replace(settings, kept=kept), first_level=first, callback=self.callback
        )
        self.level_components_ = [_array(atoms, data.compute_dtype) for atoms in found.chain.atoms]
        self.weights_ = [_array(weights, data.compute_dtype) for weights in found.chain.weights]
        self.components_ = self.level_components_[0]
        self.code_penalty_ = settings.penalty * data.median_row_norm
        variance = variance_of(data)
        losses = found.history[-1].losses if found.history else found.losses_before
        self.explained_variance_before_ = explained(found.losses_before, variance)
        self.explained_variance_ = explained(losses, variance)
        self.history_ = found.history
        self.objective_ = np.array([record.objective for record in found.history])
        self.n_iter_ = found.history[-1].iteration if found.history else 0
        self.stop_reason_ = found.stop_reason
        self._fitted_weights = settings.level_weights if settings.tune == "all" else None
        return found.encoded

    def _settings(self) -> LevelSettings:
        """What was asked for, checked; ``kept`` waits for the channels."""
        sizes = level_sizes(self.n_components)
        check_choice("direction", self.direction, DIRECTIONS)
        check_choice("tune", self.tune, TUNED)
        check_parameters(sizes[0], self.tune_iter, self.tune_tol, self.code_penalty, None, "atom")
        check_parameters(sizes[0], self.max_iter, self.tol, None, None, "atom")
        if self.first_level is not None and self.direction == "split":
            raise InputError(
                "first_level cannot be used with direction='split', which finds the first level "
                "last; use 'merge' or 'cluster'."
            )
        return LevelSettings(
            sizes=sizes,
            sparsities=level_sparsities(self.sparsity, sizes),
            kept=(),
            level_weights=level_weights(self.level_weights, sizes),
            penalty=DEFAULT_PENALTY if self.code_penalty is None else float(self.code_penalty),
            direction=self.direction,
            tune=self.tune,
            tune_iter=self.tune_iter,
            tune_tol=self.tune_tol,
            seed=self.random_state
            if isinstance(self.random_state, int)
            else seeded_generator(self.random_state).initial_seed(),
            fit={
                "max_iter": self.max_iter,
                "tol": self.tol,
                "device": self.device,
                "dtype": self.dtype,
            },
        )

    def _encoder(self, chain: Chain) -> Callable[[ActivationMatrix], CodeMatrix]:
        weights = self._fitted_weights
        if weights is None:
            return lambda X: first_codes(X, chain.atoms[0], self.code_penalty_)
        objective = ChainObjective(weights, self.code_penalty_, (), ())
        return lambda X: joint_codes(X, chain, objective)

    def __sklearn_clone__(self) -> "HierarchicalSemiNMF":
        # A progress bar is shared, not copied, by clones.
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _array(factor: Tensor, dtype: torch.dtype) -> np.ndarray:
    return factor.to("cpu", dtype).numpy().copy()
