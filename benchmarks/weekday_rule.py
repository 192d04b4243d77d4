"""Whether weekday is the parent of single days in a tree of features: a rule fixed beforehand.

A *day feature* is a feature of the first level of whose strong
firings (at half its largest code or more) at least half are one day's name. *Weekday is the parent
of days* where a node above the first level has at least three different days among the day features
below it, and these are at least half of its leaves. Beside it: whether a single feature of the
first level, or a node above, is confirmed as ``weekday`` by held-out texts.

Added after a first look, since hardly any feature at layer 11 fired on one day's name alone: the
same rule with days *by texts*, features that held-out texts confirm as about one day; and
*gathered*, where a node above the first level has at least two features of whose strong firings at
least half are names of days, whichever, and these are at least half of its leaves.
"""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cofire.activations import Activations
from cofire.interpret.contexts import firing_types
from cofire.structure.tree import FeatureTree
from cofire.structure.tree_levels import Hierarchy
from cofire.structure.tree_scores import leaf_tree
from seven_days import DAYS

LEAST_DAYS, LEAST_GATHERED, DAY_SHARE = 3, 2, 0.5
RULE_SHUFFLES = 999
PERMUTATIONS = 999


def weekday(
    tree: FeatureTree, found: Hierarchy, rows: Activations, training: np.ndarray, seed: int
) -> dict[str, Any]:
    """The weekday rule, and what there is of weekday otherwise."""
    codes = found.level_codes(0)[torch.from_numpy(training)]
    fired = list(firing_types(codes, rows.tokens.take(training)))
    days = [day_of(types) for types in fired]
    confirmed = [node for node in tree if node.concept == "weekday"]
    below = leaf_tree(tree).below[1:]
    return {
        **rule(below, days, seed),
        "by_texts": rule(below, [day_named(node.concept) for node in tree.levels[0]], seed),
        **gathering(below, [about_days(types) for types in fired], seed),
        "weekday_features": sum(node.level == 0 for node in confirmed),
        "weekday_nodes": sum(node.level > 0 for node in confirmed),
        "labels": [f"{node.name} {node.label}" for node in confirmed],
    }


def day_of(types: Sequence[tuple[str, int]]) -> str | None:
    """The day that at least half of a feature's strong firings name."""
    total = sum(count for _, count in types)
    names = {day.casefold(): day for day in DAYS}
    for name, count in types:
        if name in names and count >= DAY_SHARE * total:
            return names[name]
    return None


def day_named(concept: str | None) -> str | None:
    """The concept, where it is a day."""
    return concept if concept in DAYS else None


def about_days(types: Sequence[tuple[str, int]]) -> bool:
    """Whether at least half of a feature's strong firings are names of days."""
    names = {day.casefold() for day in DAYS}
    on_days = sum(count for name, count in types if name in names)
    return on_days > 0 and on_days >= DAY_SHARE * sum(count for _, count in types)


def gathering(below: np.ndarray, about: Sequence[bool], seed: int) -> dict[str, Any]:
    """Whether a node gathers features of days; how often by chance, with the leaves shuffled."""
    marks = np.array(about)
    rng = np.random.default_rng([seed, 1])
    chance = [gathers(below, rng.permutation(marks)) for _ in range(RULE_SHUFFLES)]
    return {
        "about_days": int(marks.sum()),
        "gathered": gathers(below, marks),
        "gathered_by_chance": float(np.mean(chance)),
    }


def gathers(below: np.ndarray, marks: np.ndarray) -> bool:
    """The weaker rule of the module docstring."""
    counts = below.astype(int) @ marks
    return bool(((counts >= LEAST_GATHERED) & (counts >= DAY_SHARE * below.sum(axis=1))).any())


def rule(below: np.ndarray, days: Sequence[str | None], seed: int) -> dict[str, Any]:
    """Whether a node is the parent of days; how often by chance, with the leaves shuffled.

    Args:
        below: for every node above the first level which leaves lie below it.
        days: of the leaves.
        seed: of the shuffles.
    """
    indicator = np.array([[day == name for name in DAYS] for day in days], dtype=bool)
    held = holds(below, indicator)
    rng = np.random.default_rng(seed)
    chance = [holds(below, indicator[rng.permutation(len(days))]) for _ in range(RULE_SHUFFLES)]
    return {
        "day_features": int(indicator.any(axis=1).sum()),
        "days": int(indicator.any(axis=0).sum()),
        "parent": held,
        "by_chance": float(np.mean(chance)),
        "most_days_together": int((below.astype(int) @ indicator > 0).sum(axis=1).max(initial=0)),
    }


def holds(below: np.ndarray, indicator: np.ndarray) -> bool:
    """The rule of the module docstring."""
    counts = below.astype(int) @ indicator
    enough = (counts > 0).sum(axis=1) >= LEAST_DAYS
    return bool((enough & (counts.sum(axis=1) >= DAY_SHARE * below.sum(axis=1))).any())


def between_days(rows: Activations, seed: int) -> dict[str, float | int]:
    """How much of the variance of the days' tokens lies between days, and by chance.

    Chance: the same with the days drawn over the tokens anew.
    """
    pieces = np.array([piece.strip() for piece in rows.tokens.pieces])[rows.tokens.piece]
    chosen = np.flatnonzero(np.isin(pieces, DAYS))
    X = rows.X[torch.from_numpy(chosen)].double().numpy()
    X = X - X.mean(axis=0)
    gram = X @ X.T
    groups = np.array([[piece == day for day in DAYS] for piece in pieces[chosen]], dtype=float)

    def share(grouped: np.ndarray) -> float:
        sizes = grouped.sum(axis=0)
        return float(
            (np.einsum("id,ij,jd->d", grouped, gram, grouped) / sizes).sum() / gram.trace()
        )

    rng = np.random.default_rng(seed)
    value = share(groups)
    null = [share(groups[rng.permutation(len(groups))]) for _ in range(PERMUTATIONS)]
    reached = sum(one >= value for one in null)
    return {
        "tokens": len(chosen),
        "share": value,
        "by_chance": statistics.fmean(null),
        "p_value": (1 + reached) / (1 + PERMUTATIONS),
    }
