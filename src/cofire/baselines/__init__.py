"""Other decompositions to compare with, thin over scikit-learn."""

from cofire.baselines.estimators import RectifiedNMF, dictionary_learning, ica, pca

__all__ = ["RectifiedNMF", "dictionary_learning", "ica", "pca"]
