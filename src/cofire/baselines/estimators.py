"""scikit-learn's decompositions with the settings under which they are compared here."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import NMF, PCA, FastICA, MiniBatchDictionaryLearning, TruncatedSVD
from sklearn.utils.validation import validate_data

from cofire.activations import Activations
from cofire.baselines.penalty import code_penalty


def pca(n_components: int, *, seed: int) -> PCA:
    """Principal components: orthogonal atoms, signed dense codes."""
    return PCA(n_components, svd_solver="randomized", random_state=seed)


def svd(n_components: int, *, seed: int) -> TruncatedSVD:
    """Singular vectors of X itself, the mean row left in: the best signed codes of any k atoms.

    No k atoms through the origin rebuild the rows better, which makes it the floor of the relative
    loss; PCA, which takes the mean row off first, is the floor of the unexplained variance.
    """
    return TruncatedSVD(n_components, random_state=seed)


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
        rows: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32])
        self.code_penalty_ = code_penalty(rows)
        learner = MiniBatchDictionaryLearning(
            self.n_components,
            alpha=self.code_penalty_,
            positive_code=True,
            fit_algorithm="cd",
            batch_size=1024,
            max_iter=self.max_iter,
            random_state=self.random_state,
        ).fit(rows)
        self.components_: np.ndarray = learner.components_
        self.n_iter_: int = learner.n_iter_
        return self


class KMeansAtoms(BaseEstimator):
    """k-means (Sculley 2010, mini-batches): the atoms are the centres, seen from the mean row.

    All centres hold the mean row; taken from there, an atom says what sets its cluster apart.
    k-means itself gives a row one feature and no strength, by which nothing could be ranked. Codes
    are therefore those of penalised nonnegative least squares on the atoms, as for SNMF, so that a
    comparison with it is one of atoms; they explain at least what the mean row does.

    Attributes:
        components_: centres - mean row [features channels].
        offset_: the mean row [channels].
        code_penalty_: weight of the L1 norm of the codes.
        n_iter_: passes over the data.
    """

    def __init__(
        self, n_components: int = 100, *, max_iter: int = 100, random_state: int | None = 0
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: np.ndarray | Activations, y: None = None) -> "KMeansAtoms":
        """Fit on [rows channels]."""
        rows: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32])
        clusters = MiniBatchKMeans(
            self.n_components,
            batch_size=4096,
            n_init=3,
            max_iter=self.max_iter,
            random_state=self.random_state,
        ).fit(rows)
        self.offset_: np.ndarray = rows.mean(axis=0)
        self.components_: np.ndarray = clusters.cluster_centers_ - self.offset_
        self.code_penalty_ = code_penalty(rows - self.offset_)
        self.n_iter_: int = clusters.n_iter_
        return self
