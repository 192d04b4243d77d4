"""How many neurons two features share, and how many they would share by chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cofire.errors import InputError
from cofire.evaluation.discoveries import corrected_p_values
from cofire.structure.support import Support, opposed_counts, shared_counts


@dataclass(frozen=True, eq=False)
class Overlap:
    """Neurons that features share, pair by pair; "shared" means the same neuron and the same sign.

    Attributes:
        features: the features, the rows and columns of every matrix.
        channels: neurons there are.
        shared: neurons two features share; on the diagonal a feature's own.
        opposed: neurons that two features hold with opposite signs.
        jaccard: shared / (neurons that at least one of the two holds); NaN when neither holds any.
        p_uniform: chance of sharing as many when the second feature's neurons are drawn at random
            from all; 1 on the diagonal.
        p_uniform_corrected: the same over all pairs, by Holm's method.
        p_reuse: the same chance when, besides, every neuron keeps the number of features of the
            dictionary that it serves (``reuse_null``); NaN where that was not drawn.
        p_reuse_corrected: over all pairs, by Holm's method; NaN as above.
    """

    features: tuple[int, ...]
    channels: int
    shared: Int[np.ndarray, "features features"]
    opposed: Int[np.ndarray, "features features"]
    jaccard: Float[np.ndarray, "features features"]
    p_uniform: Float[np.ndarray, "features features"]
    p_uniform_corrected: Float[np.ndarray, "features features"]
    p_reuse: Float[np.ndarray, "features features"]
    p_reuse_corrected: Float[np.ndarray, "features features"]


def overlap(
    support: Support,
    features: Sequence[int],
    *,
    null: Float[np.ndarray, "draws _ _"] | None = None,
) -> Overlap:
    """Compare the neurons of some features pair by pair.

    Args:
        support: of the whole dictionary.
        features: which of its features, at least two, each once.
        null: shared counts of the same features in draws that keep how many features each neuron
            serves (``ReuseNull.shared``); None leaves that comparison out.

    Raises:
        InputError: when there are fewer than two features, one twice, or one that does not exist.
    """
    chosen = check_features(features, len(support))
    part = support[chosen]
    shared, opposed = shared_counts(part), opposed_counts(part)
    sizes = np.diag(shared)
    union = sizes[:, None] + sizes[None, :] - shared - opposed
    with np.errstate(invalid="ignore"):
        jaccard = shared / union
    n = len(chosen)
    above = np.triu_indices(n, 1)
    plus, minus = (part > 0).sum(axis=1), (part < 0).sum(axis=1)
    uniform = np.ones((n, n))
    for i, j in zip(*above, strict=True):
        uniform[i, j] = uniform[j, i] = shared_p_value(
            int(shared[i, j]),
            (int(plus[i]), int(minus[i])),
            (int(plus[j]), int(minus[j])),
            support.shape[1],
        )
    reuse = np.full((n, n), np.nan)
    if null is not None:
        reuse = (1 + (null >= shared[None]).sum(axis=0)) / (1 + len(null))
        np.fill_diagonal(reuse, 1.0)
    return Overlap(
        features=tuple(chosen),
        channels=support.shape[1],
        shared=shared.astype(int),
        opposed=opposed.astype(int),
        jaccard=jaccard,
        p_uniform=uniform,
        p_uniform_corrected=_corrected(uniform),
        p_reuse=reuse,
        p_reuse_corrected=_corrected(reuse),
    )


def check_features(features: Sequence[int], n_features: int) -> list[int]:
    """The features, when they are at least two different ones that exist.

    Raises:
        InputError: when they are not.
    """
    chosen = [int(feature) for feature in features]
    if len(set(chosen)) < 2 or len(set(chosen)) < len(chosen):
        raise InputError(f"Sharing is a question of at least two different features; got {chosen}.")
    absent = [feature for feature in chosen if not 0 <= feature < n_features]
    if absent:
        raise InputError(
            f"Feature {absent[0]} does not exist: there are features 0 to {n_features - 1}."
        )
    return chosen


def shared_p_value(
    shared: int, first: tuple[int, int], second: tuple[int, int], channels: int
) -> float:
    """Chance of sharing at least so many neurons when the second feature's are drawn at random.

    The second feature's positive neurons, then its negative ones, are drawn from all neurons
    without replacement. Where one feature has positive neurons only, the number shared is
    hypergeometric; in general it is the sum over how the positive draws meet the first feature's
    positive (x) and negative (y) neurons, of which only x and the negative draws on negative
    neurons count: Σ P(x, y) · P(hypergeometric ≥ shared − x). Exact.

    Args:
        shared: neurons held by both with the same sign.
        first: positive and negative neurons of the first feature.
        second: positive and negative neurons of the second.
        channels: neurons there are.

    Raises:
        InputError: when a feature has more neurons than there are.

    Example:
        Of 4 neurons each has 2 positive ones. Of the 6 ways to draw the second's, one meets both
        of the first's: 1/6. With one positive and one negative neuron each, 12 ways, of which one
        meets both with the right sign.

        >>> round(shared_p_value(2, (2, 0), (2, 0), 4), 4)
        0.1667
        >>> round(shared_p_value(2, (1, 1), (1, 1), 4), 4)
        0.0833
    """
    from scipy.stats import hypergeom  # slow to import

    (plus, minus), (drawn_plus, drawn_minus) = first, second
    if plus + minus > channels or drawn_plus + drawn_minus > channels:
        raise InputError(f"A feature has more neurons than there are: {first}, {second}.")
    if shared <= 0:
        return 1.0
    x = np.arange(min(plus, drawn_plus) + 1)[:, None]
    y = np.arange(min(minus, drawn_plus) + 1)[None, :]
    # y given x: the positive draws that missed the positive neurons fall on the others.
    p_x = hypergeom.pmf(x, channels, plus, drawn_plus)
    with np.errstate(invalid="ignore"):
        p_y = hypergeom.pmf(y, channels - plus, minus, drawn_plus - x)
        rest = hypergeom.sf(shared - x - 1, channels - drawn_plus, minus - y, drawn_minus)
    terms = np.where((x + y <= drawn_plus) & (p_x > 0), p_x * np.nan_to_num(p_y * rest), 0.0)
    return float(min(1.0, terms.sum()))


def _corrected(
    p_values: Float[np.ndarray, "features features"],
) -> Float[np.ndarray, "features features"]:
    """Holm's correction over the pairs, each counted once."""
    above = np.triu_indices(len(p_values), 1)
    values = p_values[above]
    if np.isnan(values).any():
        return np.full_like(p_values, np.nan)
    corrected = np.ones_like(p_values)
    corrected[above] = corrected_p_values(values.tolist())
    corrected.T[above] = corrected[above]
    return corrected
