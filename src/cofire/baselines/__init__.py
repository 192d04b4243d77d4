"""Other decompositions to compare with, thin over scikit-learn."""

from cofire.baselines.estimators import PositiveDictionaryLearning, RectifiedNMF, ica, pca

__all__ = ["PositiveDictionaryLearning", "RectifiedNMF", "ica", "pca"]
