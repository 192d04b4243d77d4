"""Are the same features found again, with another seed or on another half of the data?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float

from cofire.activations import Activations
from cofire.code_descent import unit_atoms
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.bootstrap import RESAMPLES, estimate_of
from cofire.evaluation.measurement import Estimate
from cofire.matching import match_atoms
from cofire.types import AtomMatrix, Tensor

# Not AtomMatrix: solutions may differ in their number of atoms, and each check sees one of them.
Solutions: TypeAlias = Sequence[Float[Tensor, "_ _"] | Dictionary]
"""Atoms [features channels] of each solution, or dictionaries."""

Null: TypeAlias = Literal["permuted", "pairs"]
"""``permuted``: atoms with their values on shuffled neurons, matched anew; what matching finds
without any structure. ``pairs``: atoms of two solutions paired at random; what two features have
in common anyway."""

NULL_DRAWS = 20
"""Draws of a null; the smallest p-value of the whole is then 1/21."""


@dataclass(frozen=True, eq=False)
class Stability:
    """How well solutions agree, beside what agrees by chance.

    Attributes:
        agreement: of each feature of the first solution, mean cosine to its partners in the others
            (Hungarian); NaN for an atom of zeros, or without a partner.
        pairs: mean matched cosine of every two solutions, in the order 01, 02, …, 12, ….
        overall: mean over all features of all pairs; its interval draws features of the first
            solution together with the partners they have in the others.
        null: which null.
        null_cosines: of each draw, the cosines to the first solution of a null of another one.
        null_draws: mean of each of them.
        p_values: of each feature, how rarely a null cosine is as high: (1 + hits) / (1 + tried).
        p_value: the same for the overall mean, among means of draws.
        excess: overall agreement minus the mean of the null.
        either_sign: whether atom and negative counted as the same.
    """

    agreement: Float[np.ndarray, "features"]
    pairs: tuple[float, ...]
    overall: Estimate
    null: Null
    null_cosines: Float[np.ndarray, "_ features"]
    null_draws: Float[np.ndarray, "_"]
    p_values: Float[np.ndarray, "features"]
    p_value: float | None
    excess: Estimate
    either_sign: bool


def stability(
    solutions: Solutions,
    *,
    null: Null = "permuted",
    draws: int = NULL_DRAWS,
    either_sign: bool | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Stability:
    """Match the features of several solutions and hold their cosines against a null.

    Value of a feature: mean over the other solutions of cos(atom, partner), partners by the
    Hungarian method. The cosine of matched features is high by luck alone when there are many
    atoms in few channels: read ``overall`` beside ``null_draws``, or read ``excess``.

    Args:
        solutions: two or more, of other seeds or other halves of the data (``split_halves``); the
            first one's features are those that are reported.
        null: see ``Null``.
        draws: of the null.
        either_sign: whether an atom and its negative are the same feature. None: as the encoder
            says, yes for ``linear`` (PCA, ICA: codes of either sign), no otherwise.
        resamples: of the intervals.
        seed: of null and intervals.

    Raises:
        InputError: for fewer than two solutions, of different widths, or without draws.

    Example:
        Seeds agree on the first atom and half on the second, cos 60° = 0.5: mean 0.75.

        >>> first = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> second = torch.tensor([[0.0, 0.5, 0.75**0.5], [2.0, 0.0, 0.0]])
        >>> found = stability([first, second])
        >>> found.agreement.round(3).tolist(), round(found.overall.value, 3)
        ([1.0, 0.5], 0.75)
    """
    if len(solutions) < 2:
        raise InputError(f"Stability needs at least two solutions; got {len(solutions)}.")
    if draws < 1:
        raise InputError(f"A null needs at least one draw; got {draws}.")
    if either_sign is None:
        either_sign = any(isinstance(s, Dictionary) and s.encoder == "linear" for s in solutions)
    atoms = [(s.atoms if isinstance(s, Dictionary) else s).float().cpu() for s in solutions]
    first = atoms[0]
    matched = {
        (i, j): _matched(atoms[i], atoms[j], either_sign)
        for i, j in combinations(range(len(atoms)), 2)
    }
    agreement = _mean_known([matched[0, j][1] for j in range(1, len(atoms))])
    # A feature and its partners are drawn together: they are one feature found several times.
    kin = [np.arange(len(first))]
    for j in range(1, len(atoms)):
        partner = matched[0, j][0]
        own = np.arange(len(atoms[j])) + len(first) * j
        own[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
        kin.append(own)
    cosines = np.concatenate([cosine for _, cosine in matched.values()])
    groups = np.concatenate([kin[i] for i, _ in matched])
    overall = estimate_of(cosines, groups=groups, resamples=resamples, seed=seed)
    rng = np.random.default_rng(seed)
    others = [atoms[1 + draw % (len(atoms) - 1)] for draw in range(draws)]
    null_cosines = np.stack([_null(first, other, null, either_sign, rng) for other in others])
    known_null = null_cosines[~np.isnan(null_cosines)]
    null_draws = np.array([_mean(line) for line in null_cosines])
    return Stability(
        agreement=agreement,
        pairs=tuple(_mean(cosine) for _, cosine in matched.values()),
        overall=overall,
        null=null,
        null_cosines=null_cosines,
        null_draws=null_draws,
        p_values=np.where(np.isnan(agreement), np.nan, _p_values(agreement, known_null)),
        p_value=None
        if overall.value is None
        else float(_p_values(np.array([overall.value]), null_draws)[0]),
        excess=_excess(overall, null_draws),
        either_sign=either_sign,
    )


def stability_agreement(solutions: Solutions, **settings: Any) -> Estimate:
    """Mean matched cosine between solutions, ``stability(...).overall``.

    Args:
        solutions, settings: see ``stability``.

    Example:
        The atoms are the same in another order, and one is turned by 90°: (1 + 0) / 2.

        >>> first = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> second = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> stability_agreement([first, second]).value
        0.5
    """
    return stability(solutions, **settings).overall


def stability_excess(solutions: Solutions, **settings: Any) -> Estimate:
    """Mean matched cosine between solutions minus that of the null, ``stability(...).excess``.

    Args:
        solutions, settings: see ``stability``.

    Example:
        Equal atoms agree by 1. Shuffling neurons cannot change them, for all values are the same:
        the null agrees by 1 as well.

        >>> stability_excess([torch.ones(1, 4), torch.ones(1, 4)]).value
        0.0
    """
    return stability(solutions, **settings).excess


def split_halves(activations: Activations, *, seed: int = 0) -> tuple[Activations, Activations]:
    """Two halves of the training texts, none in both, every label spread evenly over the two.

    Whole texts are dealt, since the tokens of a text are alike. Held-out texts are in neither.

    Args:
        activations: rows of whole texts.
        seed: of the dealing.

    Raises:
        InputError: with fewer than two training texts.
    """
    corpus = activations.corpus
    there = np.unique(activations.tokens.text_id).tolist()
    training = [text_id for text_id in there if corpus[text_id].split == "train"]
    if len(training) < 2:
        raise InputError(
            f"Halves need at least two training texts; there are {len(training)}. Add texts."
        )
    rng = np.random.default_rng(seed)
    order = [training[i] for i in rng.permutation(len(training))]
    order.sort(key=lambda text_id: corpus[text_id].label or "")  # stable: random within labels
    half = np.full(len(corpus), -1)
    half[order[0::2]], half[order[1::2]] = 0, 1
    sides = half[activations.tokens.text_id]
    return activations.take(sides == 0), activations.take(sides == 1)


def permuted_atoms(atoms: AtomMatrix, *, seed: int = 0) -> AtomMatrix:
    """The same values on shuffled neurons, every atom shuffled by itself."""
    return _shuffled(atoms, np.random.default_rng(seed))


def _shuffled(atoms: AtomMatrix, rng: np.random.Generator) -> AtomMatrix:
    places = np.argsort(rng.random(tuple(atoms.shape)), axis=1)
    return torch.gather(atoms, 1, torch.from_numpy(places).to(atoms.device))


def _matched(first: AtomMatrix, second: Tensor, either_sign: bool) -> tuple[np.ndarray, np.ndarray]:
    """Partner and cosine of each first atom; NaN where either is zero or there is no partner."""
    found = match_atoms(first, second, either_sign=either_sign)
    dead_first = (first.norm(dim=1) == 0).numpy()
    dead_second = (second.norm(dim=1) == 0).numpy()
    dead = dead_first | ((found.partner >= 0) & dead_second[found.partner])
    return found.partner, np.where(dead, np.nan, found.cosine)


def _null(
    first: AtomMatrix, other: Tensor, null: Null, either_sign: bool, rng: np.random.Generator
) -> np.ndarray:
    if null == "permuted":
        return _matched(first, _shuffled(other, rng), either_sign)[1]
    partner = rng.permutation(max(len(first), len(other)))[: len(first)]
    there = partner < len(other)
    unit = unit_atoms(other)[0][torch.from_numpy(np.where(there, partner, 0))]
    cosine = (unit_atoms(first)[0] * unit).sum(dim=1).double().numpy()
    dead = (first.norm(dim=1) == 0).numpy() | (unit.norm(dim=1) == 0).numpy() | ~there
    return np.where(dead, np.nan, np.abs(cosine) if either_sign else cosine)


def _p_values(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    ordered = np.sort(null)
    hits = len(ordered) - np.searchsorted(ordered, observed - 1e-9, side="left")
    return np.asarray((1 + hits) / (1 + len(ordered)))


def _excess(overall: Estimate, null_draws: np.ndarray) -> Estimate:
    expected = _mean(null_draws)
    if overall.value is None or np.isnan(expected):
        return Estimate(None, overall.n, overall.missing, note="Nothing could be matched.")
    interval = overall.interval
    if interval is not None:
        # The null's mean over draws is known far better than the agreement of a few features.
        interval = replace(interval, low=interval.low - expected, high=interval.high - expected)
    return replace(overall, value=overall.value - expected, interval=interval)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mean_known(columns: list[np.ndarray]) -> np.ndarray:
    """Mean along the list, over what is not NaN."""
    return np.array([_mean(line) for line in np.stack(columns, axis=1)])
