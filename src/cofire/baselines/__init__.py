"""Other ways to a dictionary: scikit-learn's, SAEs, difference of means, controls."""

from cofire.baselines.controls import PermutedNeurons, RandomDirections, RawNeurons
from cofire.baselines.difference_of_means import DifferenceOfMeans, learnable_concepts
from cofire.baselines.estimators import (
    KMeansAtoms,
    PositiveDictionaryLearning,
    RectifiedNMF,
    ica,
    pca,
    svd,
)
from cofire.baselines.lens import load_public_sae
from cofire.baselines.matched_sae import MatchedSAE, matched_sae
from cofire.baselines.sae_folder import load_sae, sae_dictionary, save_sae

__all__ = [
    "DifferenceOfMeans",
    "KMeansAtoms",
    "MatchedSAE",
    "PermutedNeurons",
    "PositiveDictionaryLearning",
    "RandomDirections",
    "RawNeurons",
    "RectifiedNMF",
    "ica",
    "learnable_concepts",
    "load_public_sae",
    "load_sae",
    "matched_sae",
    "pca",
    "sae_dictionary",
    "save_sae",
    "svd",
]
