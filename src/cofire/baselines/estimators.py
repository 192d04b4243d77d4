"""scikit-learn's decompositions with the settings under which they are compared here."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import NMF, PCA, FastICA, MiniBatchDictionaryLearning
from sklearn.utils.validation import validate_data

from cofire.activations import Activations

# As SemiNMF's default: relative to the median row norm, so that it means the same on any layer.
_RELATIVE_PENALTY = 0.03


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


class RectifiedNMF(BaseEstimator):
    """NMF of max(X, 0): what non-negative parts find when negative activations are dropped.

    Attributes:
        components_: atoms [features channels], ≥ 0.
        n_iter_: sweeps done.
    """

    rectifies = True
    """Codes are those of max(X, 0); tells ``Dictionary.from_estimator``."""

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
        nmf = NMF(
            self.n_components,
            init="nndsvda",
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
        ).fit(np.maximum(X, 0))
        self.components_: np.ndarray = nmf.components_
        self.n_iter_: int = nmf.n_iter_
        return self


class PositiveDictionaryLearning(BaseEstimator):
    """Online dictionary learning (Mairal et al. 2009) with codes ≥ 0 and dense signed atoms.

    Minimises ½‖X - C D‖² + λ ΣC over C ≥ 0 and atoms of at most unit norm; λ is a fixed share of
    the median row norm.

    Attributes:
        components_: atoms [features channels].
        code_penalty_: λ.
        n_iter_: passes over the data.
    """

    def __init__(
        self, n_components: int = 100, *, max_iter: int = 20, random_state: int | None = 0
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "PositiveDictionaryLearning":
        """Fit on [rows channels]."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        norms = np.linalg.norm(X, axis=1)
        self.code_penalty_ = float(_RELATIVE_PENALTY * np.median(norms))
        learner = MiniBatchDictionaryLearning(
            self.n_components,
            alpha=self.code_penalty_,
            positive_code=True,
            fit_algorithm="cd",
            batch_size=1024,
            max_iter=self.max_iter,
            random_state=self.random_state,
        ).fit(X)
        self.components_: np.ndarray = learner.components_
        self.n_iter_: int = learner.n_iter_
        return self
