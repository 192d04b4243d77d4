"""scikit-learn's decompositions with the settings under which they are compared here."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import NMF, PCA, FastICA, MiniBatchDictionaryLearning
from sklearn.utils.validation import check_is_fitted, validate_data

from cofire.activations import Activations


def pca(n_components: int, *, seed: int) -> PCA:
    """Principal components: orthogonal atoms, signed dense codes."""
    return PCA(n_components, svd_solver="randomized", random_state=seed)


def ica(n_components: int, *, seed: int, max_iter: int = 200, tol: float = 1e-4) -> FastICA:
    """Independent components (Hyvärinen & Oja 2000), codes scaled to unit variance."""
    return FastICA(
        n_components,
        whiten="unit-variance",
        max_iter=max_iter,
        tol=tol,
        random_state=seed,
    )


def dictionary_learning(
    n_components: int, *, seed: int, max_iter: int = 20
) -> MiniBatchDictionaryLearning:
    """Online dictionary learning (Mairal et al. 2009) with codes ≥ 0 and dense signed atoms."""
    return MiniBatchDictionaryLearning(
        n_components,
        positive_code=True,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        batch_size=1024,
        max_iter=max_iter,
        random_state=seed,
    )


class RectifiedNMF(BaseEstimator):
    """NMF of max(X, 0): what non-negative parts find when negative activations are dropped.

    Attributes:
        components_: atoms [features channels], ≥ 0.
        n_iter_: sweeps done.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        max_iter: int = 200,
        tol: float = 1e-4,
        random_state: int | None = 0,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "RectifiedNMF":
        """Fit on [rows channels]."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        self._nmf = NMF(
            self.n_components,
            init="nndsvda",
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
        ).fit(np.maximum(X, 0))
        self.components_: np.ndarray = self._nmf.components_
        self.n_iter_: int = self._nmf.n_iter_
        return self

    def transform(self, X: np.ndarray | Activations) -> np.ndarray:
        """Codes of max(X, 0), [rows features]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        codes: np.ndarray = self._nmf.transform(np.maximum(X, 0))
        return codes
