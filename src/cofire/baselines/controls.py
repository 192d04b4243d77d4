"""What atoms achieve that nothing was learned for: raw neurons, random and shuffled directions."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from cofire.activations import Activations
from cofire.baselines.penalty import code_penalty
from cofire.errors import InputError


class RawNeurons(BaseEstimator):
    """The k neurons that are most active, each on one side: atoms +e_j or -e_j.

    Ranked by Σ max(0, ±x_j)² over the rows. With codes ≥ 0 (and no penalty on them) that sum is
    exactly what the atom explains, so that no other k unit vectors along the axes rebuild the rows
    better; a neuron that is strong both ways (gated MLPs have them) can give two atoms. Nothing is
    random.

    Attributes:
        components_: atoms [features channels], one entry of ±1 each, most active first.
        code_penalty_: weight of the L1 norm of the codes.
    """

    def __init__(self, n_components: int = 100) -> None:
        self.n_components = n_components

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "RawNeurons":
        """Fit on [rows channels].

        Raises:
            InputError: when there are fewer than k sides of neurons.
        """
        rows: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32])
        channels = rows.shape[1]
        if self.n_components > 2 * channels:
            raise InputError(
                f"{channels} neurons have {2 * channels} sides; n_components is "
                f"{self.n_components}. Lower it."
            )
        positive = np.square(np.maximum(rows, 0)).sum(axis=0, dtype=np.float64)
        negative = np.square(np.minimum(rows, 0)).sum(axis=0, dtype=np.float64)
        order = np.argsort(-np.concatenate([positive, negative]), kind="stable")
        chosen = order[: self.n_components]
        atoms = np.zeros((len(chosen), channels), dtype=np.float32)
        atoms[np.arange(len(chosen)), chosen % channels] = np.where(chosen < channels, 1.0, -1.0)
        self.components_: np.ndarray = atoms
        self.code_penalty_ = code_penalty(rows)
        return self


class RandomDirections(BaseEstimator):
    """Directions drawn at random: Gaussian entries, unit norm, the data not looked at.

    Attributes:
        components_: atoms [features channels].
        code_penalty_: weight of the L1 norm of the codes; the only thing taken from the data.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        kept: Callable[[int], int] | None = None,
        random_state: int = 0,
    ) -> None:
        """Nothing is drawn yet.

        Args:
            n_components: number of atoms.
            kept: entries of an atom that are not 0, from the number of channels, at random places;
                all when None.
            random_state: seed.
        """
        self.n_components = n_components
        self.kept = kept
        self.random_state = random_state

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "RandomDirections":
        """Take the width of [rows channels], and draw."""
        rows: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32])
        rng = np.random.default_rng(self.random_state)
        atoms = rng.standard_normal((self.n_components, rows.shape[1]))
        if self.kept is not None:
            places = rng.random(atoms.shape).argsort(axis=1)
            np.put_along_axis(atoms, places[:, self.kept(rows.shape[1]) :], 0.0, axis=1)
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        self.components_: np.ndarray = atoms.astype(np.float32)
        self.code_penalty_ = code_penalty(rows)
        return self


class PermutedNeurons(BaseEstimator):
    """The atoms of another estimator with their values on shuffled neurons: a null for it.

    Every atom keeps its values, hence its norm and sparsity, and loses its neurons: each gets a
    permutation of its own. What such atoms reach is owed to the shape of an atom, not to the group.

    Attributes:
        components_: atoms [features channels].
        permutations_: channel each entry was taken from [features channels].
        code_penalty_, offset_: as of the estimator, zero where it has none.
        max_active: as of the estimator.
        n_iter_, stop_reason_, history_: of the estimator's fit, where it has them.
    """

    def __init__(self, estimator: Any, *, random_state: int = 0) -> None:
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "PermutedNeurons":
        """Fit the estimator on [rows channels], then shuffle."""
        fitted = clone(self.estimator).fit(X)
        atoms = np.asarray(fitted.components_)
        order = np.random.default_rng(self.random_state).random(atoms.shape).argsort(axis=1)
        self.permutations_: np.ndarray = order
        self.components_: np.ndarray = np.take_along_axis(atoms, order, axis=1)
        self.code_penalty_ = float(getattr(fitted, "code_penalty_", 0.0))
        self.offset_: Any = getattr(fitted, "offset_", 0.0)
        self.max_active: int | None = getattr(fitted, "max_active", None)
        self.n_iter_: int | None = getattr(fitted, "n_iter_", None)
        self.stop_reason_: str | None = getattr(fitted, "stop_reason_", None)
        self.history_: list[Any] = list(getattr(fitted, "history_", []))
        return self
