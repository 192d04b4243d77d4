"""Published findings beside the stored figures: the rules they are judged by, and verdicts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.interpret.wording import figure
from cofire.report.compare_tables import (
    SIGNIFICANT,
    CompareTables,
    Line,
    Measured,
    markdown_table,
    measure_title,
    shown,
)
from judging_gap import SAE

SNMF = "snmf"


@dataclass(frozen=True)
class Trend:
    """A published finding, the rule by which it is judged here, and the verdict."""

    claim: str
    rule: str
    verdict: str
    figures: str


def trends_section(tables: CompareTables, swept: CompareTables) -> str:
    """The published trends, each with its rule and verdict."""
    found = [
        detected_trend(tables),
        *(
            against_trend(tables, claim, other, measured)
            for claim, other, measured in (
                (
                    "SNMF features detect concepts better than those of an SAE trained on the same "
                    "activations",
                    SAE,
                    ("concept-detection", "cosine"),
                ),
                (
                    "SNMF features steer better than those of an SAE trained on the same "
                    "activations",
                    SAE,
                    ("steering-gain", None),
                ),
                (
                    "SNMF features steer better than differences of means",
                    "diffmeans",
                    ("steering-gain", None),
                ),
            )
        ),
        first_layer_trend(tables),
        late_trend(tables),
        sparsity_trend(swept),
    ]
    nulls = [
        against_trend(
            tables, f"Not published: our solver beats the published one in {what}", mu, of
        )
        for mu in published_solvers(tables)
        for what, of in (
            ("detection", ("concept-detection", "cosine")),
            ("best feature for each concept", ("concept-auroc", "codes")),
            ("steering", ("steering-gain", None)),
        )
    ]
    nulls += [
        against_trend(tables, f"Not published: SNMF beats {words} in {what}", other, measured)
        for other, words in (
            ("permuted-snmf", "its own values on shuffled neurons"),
            ("random", "random directions"),
        )
        for what, measured in (
            ("detection", ("concept-detection", "cosine")),
            ("best feature for each concept", ("concept-auroc", "codes")),
            ("steering", ("steering-gain", None)),
            ("moving its own tokens", ("steering-efficiency", None)),
        )
    ]
    nulls += [
        interval_trend(tables, f"Not published: SNMF {words} than the matched SAE", measured)
        for words, measured in (
            ("features agree more between seeds", ("stability-excess", None)),
            ("features agree more between halves of the texts", ("stability-halves-excess", None)),
            (
                "reconstructs better with as many active features",
                ("unexplained-variance-equal", None),
            ),
            (
                "keeps more of the model's predictions with as many active features",
                ("divergence-recovered-mean-equal", None),
            ),
        )
    ]
    rows = [[t.claim, t.rule, t.verdict, t.figures] for t in [*found, *nulls]]
    return (
        "## Published trends on this model\n\n"
        "A difference is found when the two-sided test against SNMF, corrected (Holm) for all "
        f"tests of the measure over methods and layers, has p < {SIGNIFICANT:g}; otherwise the "
        "layer is open: no evidence either way.\n\n"
        + markdown_table(["trend", "rule", "verdict", "figures"], rows)
    )


def detected_trend(tables: CompareTables) -> Trend:
    """Over 75% of SNMF features have S_CD above 0."""
    verdicts, told = [], []
    for line in of_method(tables, SNMF):
        row = line.figures.get(("detected-share", "cosine"))
        told.append(f"L{line.axes[1]} {shown(row)}")
        verdicts.append((line.axes[1], side(row, 0.75)))
    return Trend(
        "Over 75% of SNMF features have S_CD > 0",
        "holds where the whole interval of the share is above 0.75, fails where it is below",
        by_layer(verdicts),
        ", ".join(told),
    )


def against_trend(tables: CompareTables, claim: str, other: str, measured: Measured) -> Trend:
    """SNMF is better than another method on one measure."""
    verdicts, told = [], []
    for layer in tables.layers:
        test = test_of(tables, other, layer, measured)
        verdicts.append((layer, None if test is None else found(test)))
        if test is not None:
            told.append(f"L{layer} δ = {figure(test['cliffs_delta'], 2)}{stars(test)}")
    return Trend(
        claim,
        f"{measure_title(measured)}: difference found in favour of SNMF",
        by_layer(verdicts) if told else "not measured",
        ", ".join(told) or "not measured",
    )


def interval_trend(tables: CompareTables, claim: str, measured: Measured) -> Trend:
    """SNMF is better than the matched SAE on a figure of a method, for which there is no test."""
    known = GRID_MEASURES[measured[0]]
    ours, theirs = (
        {line.axes[1]: line.figures.get(measured) for line in of_method(tables, method)}
        for method in (SNMF, SAE)
    )
    verdicts, told = [], []
    for layer in tables.layers:
        one, two = ours.get(layer), theirs.get(layer)
        if one is None or two is None or one["value"] is None or two["value"] is None:
            verdicts.append((layer, None))
            continue
        pair = (two, one) if known.direction == "lower" else (one, two)
        verdicts.append((layer, VERDICTS[compare_intervals(pair[0], pair[1:])]))
        told.append(f"L{layer} {shown(one)} and {shown(two)}")
    return Trend(
        claim,
        f"{measure_title(measured)}: holds where the better interval is that of SNMF and they do "
        "not overlap, fails where it is the other's",
        by_layer(verdicts) if told else "not measured",
        ", ".join(told) or "not measured",
    )


def first_layer_trend(tables: CompareTables) -> Trend:
    """Detection is best in the first layer."""
    rows = {
        line.axes[1]: line.figures.get(("concept-detection", "cosine"))
        for line in of_method(tables, SNMF)
    }
    known = {layer: row for layer, row in rows.items() if row and row["value"] is not None}
    verdict = "not measured"
    if len(known) > 1:
        first, *others = (known[layer] for layer in sorted(known))
        verdict = compare_intervals(first, others)
    return Trend(
        "S_CD of SNMF is highest in the first layer (Llama 3.1 8B)",
        "holds when the interval of the first layer lies above those of all others, fails when it "
        "lies below one",
        verdict,
        ", ".join(f"L{layer} {shown(row)}" for layer, row in sorted(known.items())),
    )


def late_trend(tables: CompareTables) -> Trend:
    """Steering gets better towards the late layers."""
    rows = {
        line.axes[1]: line.figures.get(("steering-gain", None)) for line in of_method(tables, SNMF)
    }
    known = [
        (layer, row) for layer, row in sorted(rows.items()) if row and row["value"] is not None
    ]
    verdict = "not measured"
    if len(known) > 1:
        early, late = known[: len(known) // 2], known[len(known) // 2 :]
        best_late = max((row for _, row in late), key=lambda row: row["value"])
        verdict = compare_intervals(best_late, [row for _, row in early])
    return Trend(
        "SNMF features steer better in later layers (Llama: L8 .125, L16 .25, L23 .50)",
        "gain over the unsteered model: holds when the interval of the best layer of the upper "
        "half lies above those of the lower half, fails when it lies below one",
        verdict,
        ", ".join(f"L{layer} {shown(row)}" for layer, row in known) or "not measured",
    )


def sparsity_trend(swept: CompareTables) -> Trend:
    """1% steers better than 5% and 10%."""
    measured: Measured = ("steering-gain", None)
    verdicts, told = [], []
    for layer in swept.layers:
        lines = {line.axes[3]: line.figures.get(measured) for line in swept.at(layer)}
        one, dense = lines.get(0.01), [lines[s] for s in (0.05, 0.1) if lines.get(s)]
        if one is None or one["value"] is None or not dense:
            verdicts.append((layer, None))
            continue
        verdicts.append((layer, VERDICTS[compare_intervals(one, dense)]))
        values = ", ".join(f"{100 * s:g}%: {shown(row)}" for s, row in sorted(lines.items()) if row)
        told.append(f"L{layer} {values}")
    return Trend(
        "Atoms of 1% of the neurons steer better than of 5 and 10% (.45, .41, .34)",
        "holds where the interval at 1% lies above those at 5 and 10%, fails where it is below one",
        by_layer(verdicts),
        "; ".join(told) or "not measured",
    )


VERDICTS = {"holds": True, "fails": False, "open": None, "not measured": None}


def of_method(tables: CompareTables, method: str) -> list[Line]:
    """The lines of one method, a line a layer."""
    return [line for line in tables.lines if line.axes[0] == method]


def test_of(
    tables: CompareTables, method: str, layer: int, measured: Measured
) -> dict[str, Any] | None:
    """The test of one method against SNMF at one layer."""
    for test in tables.tests_of(measured):
        if test["method"] == method and test["layer"] == layer:
            return dict(test)
    return None


def found(test: Any) -> bool | None:
    """True when the reference is better, False when it is worse, None when neither was found."""
    p, delta = test["corrected_p_value"], test["cliffs_delta"]
    if p is None or p >= SIGNIFICANT or delta is None:
        return None
    value = delta if test["difference"] is None else test["difference"]
    lower = GRID_MEASURES[test["measure"]].direction == "lower"
    return bool((value > 0) != lower)


def stars(test: Any) -> str:
    """A star where a difference was found."""
    return "*" if found(test) is not None else ""


def side(row: Any, limit: float) -> bool | None:
    """Whether an interval lies above (True) or below (False) a limit."""
    if row is None or row["low"] is None:
        return None
    return True if row["low"] > limit else False if row["high"] < limit else None


def compare_intervals(one: Any, others: Sequence[Any]) -> str:
    """Whether an interval lies above all others, or below one of them."""
    rows = [row for row in others if row["low"] is not None]
    if one["low"] is None or not rows:
        return "open"
    if all(one["low"] > row["high"] for row in rows):
        return "holds"
    return "fails" if any(one["high"] < row["low"] for row in rows) else "open"


def by_layer(verdicts: Iterable[tuple[int, bool | None]]) -> str:
    """``holds at L5, L11; open at L0``."""
    groups: dict[str, list[int]] = {}
    for layer, verdict in verdicts:
        word = "open" if verdict is None else "holds" if verdict else "fails"
        groups.setdefault(word, []).append(layer)
    parts = [
        f"**{word}** at {', '.join(f'L{layer}' for layer in groups[word])}"
        for word in ("holds", "fails", "open")
        if word in groups
    ]
    return "; ".join(parts) or "not measured"


def listed(groups: dict[str, list[int]]) -> str:
    """``pca (L0, L5), ica (L5)``."""
    return ", ".join(
        f"{method} ({', '.join(f'L{layer}' for layer in layers)})"
        for method, layers in groups.items()
    )


def published_solvers(tables: CompareTables) -> list[str]:
    """Methods that use the published solver."""
    names = dict.fromkeys(line.axes[0] for line in tables.lines)
    return [name for name in names if "solver=mu" in name]
