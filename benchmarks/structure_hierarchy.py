"""Hierarchies of features on Gemma 3 270M: what levels explain, and whether weekday is a parent.

Writes benchmarks/results/structure-hierarchy.json. Every cell (question, layer, seed) is kept below
--folder as soon as it is finished, so that the same command goes on after an interrupt.

    python benchmarks/structure_hierarchy.py                        # about 15 minutes on 2 cores
    python benchmarks/structure_hierarchy.py --seeds 1 --layers 11  # a quick look

Three questions, each at every layer and seed:

``levels``  100 features of the bundled sentences and 50 and 25 above them: explained variance
            before and after fine-tuning, by every way to find levels; scores against the nesting
            of the concepts beside clusterings and shuffled trees; the weekday rule.
``finer``   200 features and 100, 50, 25 above them: the weekday rule where there is more room for
            single days.
``words``   leaves that are known: the mean activation of each of 69 words (7 days, 12 months, ...),
            and 20, 10 and 4 above them; scores against the nesting of the words; the weekday rule.

The weekday rule, fixed beforehand. A *day feature* is a feature of the first level of whose strong
firings (at half its largest code or more) at least half are one day's name. *Weekday is the parent
of days* where a node above the first level has at least three different days among the day features
below it, and these are at least half of its leaves. Beside it: whether a single feature of the
first level, or a node above, is confirmed as ``weekday`` by held-out texts.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cofire import jobs
from cofire.activations import Activations
from cofire.cli.progress import TerminalProgress
from cofire.code_descent import unit_atoms
from cofire.config import CaptureConfig
from cofire.dictionary import Dictionary
from cofire.errors import ConvergenceWarning
from cofire.factorization import HierarchicalSemiNMF, SemiNMF
from cofire.factorization.constraints import keep_largest, kept_entries
from cofire.interpret.contexts import firing_types
from cofire.site import parse_layers
from cofire.store import ActivationStore
from cofire.store.archive import write_atomically
from cofire.structure.nestings import Nesting, nesting_of
from cofire.structure.tree import FeatureTree, build_tree
from cofire.structure.tree_baselines import clustering_trees
from cofire.structure.tree_comparison import score_tree
from cofire.structure.tree_fit import Hierarchy, TreeSettings, grow
from cofire.structure.tree_labels import label_tree, read_level, training_rows
from cofire.structure.tree_scores import leaf_tree
from measuring import machine

RESULT = Path(__file__).parent / "results" / "structure-hierarchy.json"

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December".split()
)
# Words that stand in the bundled sentences four times or more, nested by what they are.
WORDS: dict[str, dict[str, list[str]]] = {
    "time": {
        "days": DAYS,
        "months": MONTHS,
        "seasons": "spring summer autumn winter".split(),
        "spans": "hours day days week weeks year years".split(),
    },
    "quantity": {
        "numbers": "one two four five six eight nine ten eleven twenty thirty hundred".split()
    },
    "persons": {
        "subjects": "I you he she we they".split(),
        "objects": "me him us them".split(),
        "owners": "my your his her our their".split(),
    },
    "verbs": {
        "modals": "could would should will can".split(),
        "be": "was is were are been be".split(),
    },
}
LEVELS, FINER, WORD_LEVELS = (100, 50, 25), (200, 100, 50, 25), (20, 10, 4)
SPARSITY = 0.01
PUBLISHED_WEIGHTS = 1e-3  # on all levels but the last, whose error is all that the paper tunes
LEAST_DAYS, DAY_SHARE = 3, 0.5
RULE_SHUFFLES = 999
PERMUTATIONS = 999


def main() -> None:
    """Measure what is missing and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/structure-hierarchy"))
    parser.add_argument(
        "--activations", type=Path, help="folder of cofire capture, if there is one"
    )
    parser.add_argument("--layers", default="0,5,11,17")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    store = rows_of(options)
    cells = []
    for question in options.questions:
        for site in (s for s in store.sites if s.layer in parse_layers(options.layers)):
            rows = store.activations(site)
            for seed in range(options.seeds):
                file = options.folder / "cells" / f"{question}-{site.layer}-{seed}.json"
                if not file.is_file():
                    began = time.perf_counter()
                    cell = QUESTIONS[question](rows, seed)
                    head = {"question": question, "layer": site.layer, "seed": seed}
                    cell = {**head, **cell, "seconds": round(time.perf_counter() - began, 1)}
                    text = json.dumps(cell, indent=1) + "\n"
                    write_atomically(file, lambda where, text=text: where.write_text(text))
                    print(question, site.layer, seed, f"{cell['seconds']:.0f} s", flush=True)
                cells.append(json.loads(file.read_text()))
    result = {
        "machine": machine(),
        "model": store.manifest["model"]["name"],
        "texts": len(store.corpus),
        "rows": store.n_rows,
        "settings": {
            "levels": LEVELS,
            "finer": FINER,
            "words": {family: list(inner) for family, inner in WORDS.items()},
            "word_levels": WORD_LEVELS,
            "sparsity": SPARSITY,
            "least_days": LEAST_DAYS,
            "day_share": DAY_SHARE,
            "seeds": options.seeds,
        },
        "cells": cells,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(options.output)


def rows_of(options: argparse.Namespace) -> ActivationStore:
    """The activations: captured before, or now."""
    if options.activations is not None:
        return ActivationStore.open(options.activations)
    config = CaptureConfig(layers=options.layers, output=options.folder / "activations")
    return jobs.capture(config, TerminalProgress())


def fitted(
    rows: Activations, training: np.ndarray, k: int, seed: int
) -> tuple[Dictionary, torch.Tensor]:
    """A dictionary of k features and the codes of all rows."""
    snmf = SemiNMF(k, sparsity=SPARSITY, random_state=seed).fit(rows.take(training))
    dictionary = Dictionary.from_estimator(snmf, rows.site)
    return dictionary, dictionary.encode(rows)


def levels(rows: Activations, seed: int) -> dict[str, Any]:
    """See the module docstring."""
    training = training_rows(rows.tokens, rows.corpus)
    nesting = nesting_of(rows.corpus)
    dictionary, codes = fitted(rows, training, LEVELS[0], seed)
    asked = TreeSettings(LEVELS[1:], seed=seed)
    ways = {
        "merge": asked,
        "merge, all tuned": replace(asked, tune="all"),
        "cluster": replace(asked, direction="cluster"),
        "split": replace(asked, direction="split", tune="all"),
    }
    found = {name: grow(dictionary, codes, training, way, rows) for name, way in ways.items()}
    figures = {name: [asdict(level) for level in one.figures] for name, one in found.items()}
    figures["merge, published objective"] = published(rows, training, dictionary, seed)
    of_training = codes[torch.from_numpy(training)]
    merged = labelled(found["merge"], rows, nesting)
    split = labelled(found["split"], rows, nesting)
    names = [node.concept for node in merged.levels[0]]
    trees = {
        "merge": leaf_tree(merged),
        "merge, all tuned": leaf_tree(build_tree(matrices(found["merge, all tuned"]))),
        **clustering_trees(dictionary.atoms, of_training, LEVELS[1:]),
    }
    scores = [
        asdict(s) for n, one in trees.items() for s in score_tree(n, one, names, nesting, seed)
    ]
    own = [node.concept for node in split.levels[0]]
    scores += [asdict(s) for s in score_tree("split", leaf_tree(split), own, nesting, seed)]
    return {
        "figures": figures,
        "scores": scores,
        "weekday": {
            "merge": weekday(merged, found["merge"], rows, training, seed),
            "split": weekday(split, found["split"], rows, training, seed),
        },
        "between_days": between_days(rows, seed),
    }


def finer(rows: Activations, seed: int) -> dict[str, Any]:
    """See the module docstring."""
    training = training_rows(rows.tokens, rows.corpus)
    dictionary, codes = fitted(rows, training, FINER[0], seed)
    found = grow(dictionary, codes, training, TreeSettings(FINER[1:], seed=seed), rows)
    tree = labelled(found, rows, nesting_of(rows.corpus))
    return {
        "figures": {"merge": [asdict(level) for level in found.figures]},
        "weekday": {"merge": weekday(tree, found, rows, training, seed)},
    }


def words(rows: Activations, seed: int) -> dict[str, Any]:
    """See the module docstring."""
    pieces = np.array([piece.strip() for piece in rows.tokens.pieces])[rows.tokens.piece]
    within: dict[str, str | None] = {}
    for family, inner in WORDS.items():
        within[family] = None
        for name, members in inner.items():
            within[name] = family
            within |= dict.fromkeys(members, name)
    nesting = Nesting(within)
    wanted = [word for inner in WORDS.values() for members in inner.values() for word in members]
    chosen = np.flatnonzero(np.isin(pieces, wanted))
    X, word = rows.X[torch.from_numpy(chosen)].float(), pieces[chosen]
    leaves = [one for one in wanted if (word == one).any()]
    means = torch.stack([X[torch.from_numpy(word == one)].mean(dim=0) for one in leaves])
    atoms = unit_atoms(keep_largest(means, kept_entries(SPARSITY, X.shape[1])))[0]
    found = HierarchicalSemiNMF(
        (len(leaves), *WORD_LEVELS),
        sparsity=SPARSITY,
        first_level=atoms,
        tune="above",
        random_state=seed,
    ).fit(X)
    tree = build_tree([weights.astype(float) for weights in found.weights_])
    codes = torch.as_tensor(found.transform(X))
    classes = [within[leaf] for leaf in leaves]
    trees = {"merge": leaf_tree(tree), **clustering_trees(atoms, codes, WORD_LEVELS)}
    scores = [
        asdict(s) for n, one in trees.items() for s in score_tree(n, one, classes, nesting, seed)
    ]
    days = [leaf if leaf in DAYS else None for leaf in leaves]
    return {
        "leaves": len(leaves),
        "rows": len(X),
        "scores": scores,
        "weekday": {name: rule(one.below[1:], days, seed) for name, one in trees.items()},
    }


def published(
    rows: Activations, training: np.ndarray, dictionary: Dictionary, seed: int
) -> list[dict[str, Any]]:
    """Explained variance of the levels when only the last one's error is tuned."""
    X = rows.take(training)
    n = len(LEVELS)
    found = HierarchicalSemiNMF(
        LEVELS,
        sparsity=SPARSITY,
        first_level=dictionary.atoms,
        level_weights=[PUBLISHED_WEIGHTS] * (n - 1) + [1.0],
        random_state=seed,
    ).fit(X)
    pairs = zip(LEVELS, found.explained_variance_before_, found.explained_variance_, strict=True)
    return [
        {"features": k, "variance_before": float(before), "variance": float(after)}
        for k, before, after in pairs
    ]


def matrices(found: Hierarchy) -> list[np.ndarray]:
    """Weights as trees take them."""
    return [weights.double().numpy() for weights in found.weights]


def labelled(found: Hierarchy, rows: Activations, nesting: Nesting) -> FeatureTree:
    """The tree with what its nodes are about."""
    readings = [
        read_level(found.level_codes(level), rows.tokens, rows.corpus, nesting, n_contexts=0)
        for level in range(len(found.atoms))
    ]
    return label_tree(build_tree(matrices(found)), readings)


def weekday(
    tree: FeatureTree, found: Hierarchy, rows: Activations, training: np.ndarray, seed: int
) -> dict[str, Any]:
    """The weekday rule, and what there is of weekday otherwise."""
    codes = found.level_codes(0)[torch.from_numpy(training)]
    days = [day_of(types) for types in firing_types(codes, rows.tokens.take(training))]
    confirmed = [node for node in tree if node.concept == "weekday"]
    below = leaf_tree(tree).below[1:]
    return {
        **rule(below, days, seed),
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


QUESTIONS: dict[str, Callable[[Activations, int], dict[str, Any]]] = {
    "levels": levels,
    "finer": finer,
    "words": words,
}


if __name__ == "__main__":
    main()
