"""What can be compared between methods: the same concepts, each by the best feature for it."""

import numpy as np
from jaxtyping import Float


def best_of_concepts(
    train: Float[np.ndarray, "features concepts"], heldout: Float[np.ndarray, "features concepts"]
) -> Float[np.ndarray, "concepts"]:
    """Of every concept, the held-out figure of the feature that is best for it on training texts.

    Features of two methods have no common name; concepts have. The feature is chosen on other texts
    than it is judged on, so that a method with many features is not rewarded for luck. The result
    of two methods are shared pairs for ``comparisons.compare``.

    Args:
        train: figure of every feature for every concept on training texts, higher is better, such
            as ``ConceptProfile.train``.
        heldout: the same on held-out texts.

    Returns:
        NaN for concepts that no feature has a figure for, or the chosen one has none held out.

    Example:
        The second feature is better for the first concept on training texts, so 0.7 counts.

        >>> train = np.array([[0.8, 0.9], [0.9, 0.5]])
        >>> heldout = np.array([[0.95, 0.85], [0.7, 0.6]])
        >>> best_of_concepts(train, heldout).tolist()
        [0.7, 0.85]
    """
    if not len(train):
        return np.full(train.shape[1], np.nan)
    best = np.where(np.isnan(train), -np.inf, train).argmax(axis=0)
    columns = np.arange(train.shape[1])
    known = ~np.isnan(train[best, columns])
    return np.where(known, heldout[best, columns], np.nan)
