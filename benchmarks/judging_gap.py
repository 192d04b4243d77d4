"""The section of docs/results/judging.md on what the matched SAE has that SNMF lacks."""

from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.report.compare_tables import (
    CompareTables,
    Line,
    Measured,
    markdown_table,
    measure_title,
    shown,
)

SAE = "sae-topk"
COLUMNS: tuple[Measured, ...] = (
    ("unexplained-variance-equal", None),
    ("divergence-recovered-mean-equal", None),
    ("concept-detection", "cosine"),
    ("concept-auroc", "codes"),
    ("stability-excess", None),
)


def gap_section(tables: CompareTables) -> str:
    """A table a layer: SNMF with more freedom, one kind after the other, beside the SAE."""
    blocks = [
        "## What the matched SAE has that SNMF lacks",
        "SNMF by default keeps 1% of the neurons an atom, shrinks its codes by an L1 penalty and "
        "takes no mean off; the matched SAE has dense decoder rows, keeps its 20 largest codes "
        "unshrunk and learns an offset. Each of the three is given to SNMF here (*sparsity*: share "
        "of the neurons an atom keeps; *limit*: at most 20 codes a token in place of the penalty, "
        "`code_penalty=0, max_active=20`; *centred*: `center=True`), all else equal.",
    ]
    for layer in tables.layers:
        rows = [
            [*words(line), *(shown(line.figures.get(measured)) for measured in COLUMNS)]
            for line in tables.at(layer)
        ]
        heads = ["method", "sparsity", *(measure_title(measured) for measured in COLUMNS)]
        blocks += [f"### Layer {layer}", markdown_table(heads, rows), verdicts(tables.at(layer))]
    return "\n\n".join(blocks)


def verdicts(lines: list[Line]) -> str:
    """Which kinds of SNMF have intervals on the better or worse side of the SAE's."""
    sae = next((line for line in lines if line.axes[0].startswith(SAE)), None)
    told = []
    for measured in COLUMNS if sae is not None else ():
        theirs = sae.figures.get(measured)
        if theirs is None or theirs["low"] is None:
            continue
        lower = GRID_MEASURES[measured[0]].direction == "lower"
        found: dict[str, list[str]] = {"better": [], "worse": []}
        for line in lines:
            ours = line.figures.get(measured)
            if line is sae or ours is None or ours["low"] is None:
                continue
            if ours["low"] > theirs["high"]:
                found["worse" if lower else "better"].append(" ".join(words(line)))
            elif ours["high"] < theirs["low"]:
                found["better" if lower else "worse"].append(" ".join(words(line)))
        parts = [f"{side}: {'; '.join(names)}" for side, names in found.items() if names]
        told.append(f"- {measure_title(measured)}: {' · '.join(parts) or 'all overlap'}.")
    if not told:
        return ""
    return "Against the SAE, by intervals that do not overlap:\n\n" + "\n".join(told)


def words(line: Line) -> tuple[str, str]:
    """``SNMF, limit, centred`` and ``10%``."""
    method, _, _, sparsity = line.axes[:4]
    name, *settings = method.split(":")
    kinds = [
        word
        for key, word in (("max_active", "limit"), ("center", "centred"))
        if any(setting.startswith(key) for setting in settings)
    ]
    return ", ".join([name, *kinds]), "–" if sparsity is None else f"{100 * sparsity:g}%"
