"""What docs/results/weights.md says of cases whose answer is known, from stored figures."""

import json
from pathlib import Path
from typing import Any

from weights_page_words import interval, number, table

RESULTS = Path(__file__).parent / "results"

ANSWERS = ("independent", "nonnegative", "orthogonal", "none", "undecided")
BOTH = "independent and nonnegative"
TOYS = {
    "copying for copying_done, all heads": ("copying score", "copies", "all"),
    "copying for induction, all heads": ("copying score", "induction", "all"),
    "matching for induction, layer 1": ("matching score", "induction", "second layer"),
    "composition for induction, layer 1": ("K-composition", "induction", "second layer"),
    "both for induction, layer 1": ("copying and matching", "induction", "second layer"),
    "norm for induction, layer 1": ("norm of W_OV, a yardstick", "induction", "second layer"),
    "norm for copying_done, all heads": ("norm of W_OV, a yardstick", "copies", "all"),
}


def ground_truth() -> str:
    """Planted matrices, toy models, and scikit-learn's ICA."""
    parts = [planted(), toys(), fast_enough()]
    return "\n\n".join(["## Ground truth first", *[part for part in parts if part]])


def stored(name: str) -> dict[str, Any] | None:
    """The figures of another benchmark, where it was run."""
    file = RESULTS / name
    found = json.loads(file.read_text("utf-8")) if file.exists() else None
    return found if isinstance(found, dict) else None


def planted() -> str:
    """The confusion table of the verdict."""
    found = stored("weights-planted.json")
    if found is None:
        return ""
    rows = []
    for case in found["cases"]:
        said = dict(case["verdicts"])
        said["undecided"] = said.get("undecided", 0) + said.pop(BOTH, 0)
        recovered = [case["recovered"][m] for m in ("svd", "ica", "nmf", "snmf")]
        rows.append(
            [
                case["structure"],
                f"{case['noise']:.0%}",
                case["n_components"],
                *[said.get(answer, 0) for answer in ANSWERS],
                *["–" if value is None else f"{value:.2f}" for value in recovered],
            ]
        )
    first, last = found["seeds"]
    of_none = [case for case in found["cases"] if case["structure"] == "none"]
    claimed = sum(counts.get("yes", 0) for case in of_none for counts in case["patterns"].values())
    return "\n\n".join(
        [
            "Matrices whose structure is planted (8 components in a matrix of rank 64, 160 × 320; "
            "`benchmarks/weights_planted.py`). The limits of the verdict were chosen on seeds 100 "
            f"to 119; the table is of seeds {first} to {last}. k: components asked for. Left: how "
            "often the verdict said what (independent and nonnegative at once counts as "
            "undecided). Right: mean cosine of the planted rank-one matrices with those found.",
            table(
                ["planted", "noise", "k", *ANSWERS, "SVD", "ICA", "NMF", "semi-NMF"],
                rows,
            ),
            f"On the {sum(case['matrices'] for case in of_none)} matrices without structure a "
            f"pattern was answered with yes {claimed} times.",
        ]
    )


def toys() -> str:
    """Toy transformers whose copying and induction heads are known by construction of the task."""
    found = stored("toy-induction.json")
    if found is None:
        return ""
    rows = []
    for name, (score, label, heads) in TOYS.items():
        case = found["agreement"].get(name)
        if case is None or case["auroc"] is None:
            continue
        low_high = interval(case["low"], case["high"])
        rows.append(
            [score, label, heads, case["heads"], case["positive"], f"{case['auroc']:.2f}", low_high]
        )
    trained = found["training"].values()
    return "\n\n".join(
        [
            f"{len(trained)} two-layer transformers of attention only were trained on sequences "
            "that repeat, from different seeds "
            f"({min(one['accuracy'] for one in trained):.0%} to "
            f"{max(one['accuracy'] for one in trained):.0%} of repeated tokens predicted, at most "
            f"{max(one['seconds'] for one in trained):.0f} s of training each; "
            "`benchmarks/toy_induction.py`). What a head does is measured on random tokens that "
            "come twice: *induction* is at least a quarter of its attention on the token after "
            "the first time, *copies* is raising the logits of what it attends to by half a "
            "standard deviation. Scores of weights alone order the heads so (AUROC, 95% score "
            "interval, heads taken as independent although those of one model are not):",
            table(["score of weights", "for", "heads", "n", "positive", "AUROC", "95%"], rows),
        ]
    )


def fast_enough() -> str:
    """ICA against scikit-learn's."""
    found = stored("ica-heads.json")
    if found is None:
        return ""
    one, many = found["time_ratio_median"], found["time_ratio_of_20_runs_median"]
    return (
        "ICA runs on the two thin factors of W_OV and never forms it (`benchmarks/ica_heads.py`): "
        f"over {found['heads']} heads of this model at k = {found['k']} it finds the sources that "
        "scikit-learn's FastICA finds on the dense matrix from the same start (least matched "
        f"|cosine| {found['cosine_least_where_converged']:.5f} where both converged, which they "
        f"did in {found['converged']} heads), {number(one)} times as fast for one run and, twenty "
        f"runs at once, {number(many)} times as fast a run (medians, one thread)."
    )
