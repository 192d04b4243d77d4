"""Hierarchies of features on Gemma 3 270M: what levels explain, and whether weekday is a parent.

Writes benchmarks/results/structure-hierarchy.json. Every cell (question, layer, seed) is kept below
--folder as soon as it is finished, so that the same command goes on after an interrupt.

    python benchmarks/structure_hierarchy.py                        # about 25 minutes on 2 cores
    python benchmarks/structure_hierarchy.py --seeds 1 --layers 11  # a quick look

Four questions, each at every layer and seed:

``days``    100 features of texts in which the seven days can be told apart (``seven_days.py``), and
            50, 25 and 10 above them, merged and clustered: the weekday rule. The bundled sentences
            have five of each day to fit on, which is too few for features of single days.

``levels``  100 features of the bundled sentences and 50 and 25 above them: explained variance
            before and after fine-tuning, by every way to find levels; scores against the nesting
            of the concepts beside clusterings and shuffled trees; the weekday rule.
``finer``   200 features and 100, 50, 25 above them: the weekday rule where there is more room for
            single days.
``words``   leaves that are known: the mean activation of each of 69 words (7 days, 12 months, ...),
            and 20, 10 and 4 above them; scores against the nesting of the words; the weekday rule.

The weekday rule stands in ``weekday_rule.py``.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seven_days
from cofire import jobs
from cofire.activations import Activations
from cofire.cli.progress import TerminalProgress
from cofire.code_descent import unit_atoms
from cofire.config import CaptureConfig
from cofire.dictionary import Dictionary
from cofire.errors import ConvergenceWarning
from cofire.factorization import HierarchicalSemiNMF, SemiNMF
from cofire.factorization.constraints import keep_largest, kept_entries
from cofire.site import parse_layers
from cofire.store import ActivationStore
from cofire.store.archive import write_atomically
from cofire.structure.nestings import Nesting, nesting_of
from cofire.structure.tree import FeatureTree, build_tree
from cofire.structure.tree_baselines import clustering_trees
from cofire.structure.tree_comparison import score_tree
from cofire.structure.tree_fit import grow
from cofire.structure.tree_labels import label_tree, read_level, training_rows
from cofire.structure.tree_levels import Hierarchy, TreeSettings
from cofire.structure.tree_scores import leaf_tree
from measuring import machine
from seven_days import DAYS
from weekday_rule import DAY_SHARE, LEAST_DAYS, between_days, rule, weekday

RESULT = Path(__file__).parent / "results" / "structure-hierarchy.json"

MONTHS = (
    "January February March April May June July August September October November December".split()
)
# Words that stand in the bundled sentences four times or more, nested by what they are.
WORDS: dict[str, dict[str, list[str]]] = {
    "time": {
        "days": list(DAYS),
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
DAY_LEVELS = (100, 50, 25, 10)
SPARSITY = 0.01
DAY_SPARSITY = 0.05  # the larger of structure_study.py
PUBLISHED_WEIGHTS = 1e-3  # on all levels but the last, whose error is all that the paper tunes


def main() -> None:
    """Measure what is missing and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/structure-hierarchy"))
    parser.add_argument(
        "--activations", type=Path, help="folder of cofire capture, if there is one"
    )
    parser.add_argument("--days", type=Path, help="the same of the texts about days")
    parser.add_argument("--layers", default="0,5,11,17")
    parser.add_argument(
        "--day-layers", default="0,3,5,8,11,14,17", help="layers of the question ``days``"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dear-seeds", type=int, default=2, help="seeds of ``levels``, ``finer``")
    parser.add_argument(
        "--kept", action="store_true", help="write what is kept already; measure nothing"
    )
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    stores = {}
    cells = []
    for question in options.questions:
        of_days = question == "days"
        if of_days not in stores:
            stores[of_days] = rows_of(options, of_days=of_days)
        layers = parse_layers(options.day_layers if of_days else options.layers)
        for site in (s for s in stores[of_days].sites if s.layer in layers):
            cells += cells_of(question, stores[of_days].activations(site), options)
    result = {
        "machine": machine(),
        "model": next(iter(stores.values())).manifest["model"]["name"],
        "texts": {
            ("days" if of_days else "concepts"): {"texts": len(one.corpus), "rows": one.n_rows}
            for of_days, one in stores.items()
        },
        "settings": {
            "levels": LEVELS,
            "finer": FINER,
            "day_levels": DAY_LEVELS,
            "day_sparsity": DAY_SPARSITY,
            "words": {family: list(inner) for family, inner in WORDS.items()},
            "word_levels": WORD_LEVELS,
            "sparsity": SPARSITY,
            "least_days": LEAST_DAYS,
            "day_share": DAY_SHARE,
            "seeds": options.seeds,
            "dear_seeds": options.dear_seeds,
        },
        "cells": cells,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(options.output)


def cells_of(
    question: str, rows: Activations, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A question's answers at one layer, seed by seed: those that are kept, and new ones."""
    layer = rows.site.layer
    for seed in range(
        min(options.seeds, options.dear_seeds) if question in DEAR else options.seeds
    ):
        file = options.folder / "cells" / f"{question}-{layer}-{seed}.json"
        if options.kept and not file.is_file():
            continue
        if not file.is_file():
            began = time.perf_counter()
            cell = {"question": question, "layer": layer, "seed": seed}
            cell |= QUESTIONS[question](rows, seed)
            cell["seconds"] = round(time.perf_counter() - began, 1)
            text = json.dumps(cell, indent=1) + "\n"
            write_atomically(file, lambda where, text=text: where.write_text(text))
            print(question, layer, seed, f"{cell['seconds']:.0f} s", flush=True)
        yield json.loads(file.read_text())


def rows_of(options: argparse.Namespace, *, of_days: bool) -> ActivationStore:
    """The activations: captured before, or now."""
    before = options.days if of_days else options.activations
    if before is not None:
        return ActivationStore.open(before)
    if not of_days:
        config = CaptureConfig(layers=options.layers, output=options.folder / "activations")
        return jobs.capture(config, TerminalProgress())
    config = CaptureConfig(
        data=str(seven_days.write(options.folder / "days.jsonl")),
        layers=options.day_layers,
        store_dtype="float16",
        output=options.folder / "activations-days",
    )
    return jobs.capture(config, TerminalProgress())


def fitted(
    rows: Activations, training: np.ndarray, k: int, seed: int, sparsity: float = SPARSITY
) -> tuple[Dictionary, torch.Tensor]:
    """A dictionary of k features and the codes of all rows."""
    snmf = SemiNMF(k, sparsity=sparsity, random_state=seed).fit(rows.take(training))
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


def days(rows: Activations, seed: int) -> dict[str, Any]:
    """See the module docstring."""
    training = training_rows(rows.tokens, rows.corpus)
    dictionary, codes = fitted(rows, training, DAY_LEVELS[0], seed, DAY_SPARSITY)
    nesting = nesting_of(rows.corpus)
    answers: dict[str, Any] = {"figures": {}, "weekday": {}}
    for way in ("merge", "cluster"):
        asked = TreeSettings(DAY_LEVELS[1:], direction=way, seed=seed)
        found = grow(dictionary, codes, training, asked)
        tree = labelled(found, rows, nesting)
        answers["figures"][way] = [asdict(level) for level in found.figures]
        answers["weekday"][way] = weekday(tree, found, rows, training, seed)
    return answers


def words(rows: Activations, seed: int) -> dict[str, Any]:
    """See the module docstring."""
    pieces = np.array([piece.strip() for piece in rows.tokens.pieces])[rows.tokens.piece]
    within: dict[str, str | None] = {}
    family_of: dict[str, str] = {}  # of words; "days" is a word and a family
    for family, inner in WORDS.items():
        within |= {family: None, **dict.fromkeys(inner, family)}
        for name, members in inner.items():
            family_of |= dict.fromkeys(members, name)
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
    classes = [family_of[leaf] for leaf in leaves]
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


QUESTIONS: dict[str, Callable[[Activations, int], dict[str, Any]]] = {
    "days": days,
    "levels": levels,
    "finer": finer,
    "words": words,
}


DEAR = ("levels", "finer")
"""Questions that take most of the time."""


if __name__ == "__main__":
    main()
