"""docs/results/judging.md: tables, figures and verdicts, all from the stored figures.

Verdicts follow rules that stand beside them on the page. A test finds a difference when its
p-value, corrected for all tests of its measure, is below 5%.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.interpret.wording import MISSING, figure
from cofire.report.compare_charts import along, forests
from cofire.report.compare_tables import (
    SIGNIFICANT,
    THEMES,
    CompareTables,
    Measured,
    markdown_table,
    measure_title,
    shown,
)
from cofire.store import CompareFolder
from judging_charts import along_svg, forest_svg, image, slug
from judging_gap import gap_section
from judging_trends import found, listed, stars, test_of, trends_section


class Folders(NamedTuple):
    """The comparisons of the study."""

    methods: CompareFolder
    sparsity: CompareFolder
    freedom: CompareFolder


def write_page(folders: Folders, output: Path) -> None:
    """Write the page and its figures."""
    tables, swept, freer = (CompareTables.read(folder) for folder in folders)
    figures = output.parent / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    sections = [
        head(folders, tables),
        trends_section(tables, swept),
        losses_section(tables),
        gap_section(freer),
        themes(tables, figures),
        sweep_section(swept, figures),
        times_section(folders),
    ]
    output.write_text(
        "\n\n".join(s.strip() for s in sections if s.strip()) + "\n", encoding="utf-8"
    )


def head(folders: Folders, tables: CompareTables) -> str:
    """What was done, from the manifests."""
    manifest = folders.methods.manifest
    config, model = manifest["config"], manifest["model"]
    failed = [
        f"{cell.name} ({own.failure})"
        for folder in folders
        for cell in folder.cells
        if (own := folder.cell(cell)).failure is not None
    ]
    targets = config["targets"].replace(",", ", ")
    cells = 2 * len(config["targets"].split(",")) * config["prompts"]
    lines = [
        "# Measured: judging features",
        "Written by `python benchmarks/judging_study.py` from the figures of that run; do not "
        f"edit. {model['name']}, MLP neurons at layers {', '.join(map(str, tables.layers))}, "
        f"{manifest['corpus']['texts']:,} labelled sentences (the bundled corpus), held-out "
        f"ones never fitted. {config['k']} features a method, {config['seeds']} seeds, one for "
        "methods in which nothing is random. Brackets hold 95% bootstrap intervals; (a of b) says "
        "that only a of b had a figure; a dash is a figure that could not be measured.",
        f"Replacement is measured on {config['loss_texts']} held-out texts drawn at random. "
        f"Steering: {config['steer']} features a method and layer, drawn at random among those "
        f"alive in the first seed; KL targets {targets} nats, both signs, {config['samples']} "
        f"continuations of {config['new_tokens']} tokens in each of the {cells} cells (published: "
        "14 cells of 8 × 50); label: the concept that the feature selects on training sentences, "
        f"or its tokens; offline judge by {config['judge']}, which the page "
        "[offline-judge.md](offline-judge.md) measures. Methods are judged for labels of their "
        "own, some of which the unsteered model satisfies anyway: the gain over its own "
        "continuations, for the same label, is what verdicts go by.",
    ]
    if failed:
        lines.append(f"Failed: {'; '.join(failed)}.")
    return "\n\n".join(lines)


def losses_section(tables: CompareTables) -> str:
    """Where a test finds another method better than SNMF, and where SNMF better."""
    lines = []
    for measured in dict.fromkeys((test["measure"], test["score"]) for test in tables.tests):
        better: dict[str, list[int]] = {}
        worse: dict[str, list[int]] = {}
        undecided = 0
        for test in tables.tests_of(measured):
            verdict = found(test)
            if verdict is None:
                undecided += 1
                continue
            side_of = worse if verdict else better
            side_of.setdefault(test["method"], []).append(test["layer"])
        told = [
            f"{words} {listed(groups)}"
            for words, groups in (("SNMF better than", worse), ("SNMF worse than", better))
            if groups
        ]
        lines.append(
            f"- {measure_title(measured)}: {'; '.join(told) or 'no difference found'}"
            f"{f'; {undecided} open' if undecided else ''}."
        )
    return (
        "## Where SNMF wins and where it does not\n\nTests that find a difference, by layer.\n\n"
        + ("\n".join(lines))
    )


def themes(tables: CompareTables, figures: Path) -> str:
    """A table a measure: methods by layers; a figure for those that are drawn."""
    blocks = []
    for theme in THEMES:
        measures = tables.measured(theme)
        if not measures:
            continue
        blocks += [f"## {theme.title}", theme.words]
        for measured in measures:
            known = GRID_MEASURES[measured[0]]
            blocks += [
                f"### {measure_title(measured)}",
                f"{known.words} ({known.unit}; {better_words(known.direction)})",
                layer_table(tables, measured),
            ]
            if measured in theme.drawn:
                charts = forests(tables, measured)
                blocks += [
                    image(figures, f"judging-{slug(measured)}", forest_svg(charts), measured)
                ]
            tests = tables.tests_of(measured)
            if tests:
                blocks += [
                    "Difference SNMF minus method, * where found (corrected p < "
                    f"{SIGNIFICANT:g}); {pairing_words(tests[0])}:",
                    test_table(tables, measured),
                ]
    return "\n\n".join(blocks)


def sweep_section(swept: CompareTables, figures: Path) -> str:
    """Reconstruction against detection and steering along the sparsity."""
    chosen: tuple[Measured, ...] = (
        ("unexplained-variance", None),
        ("divergence-recovered-mean", None),
        ("active-features", None),
        ("concept-detection", "cosine"),
        ("concept-auroc", "codes"),
        ("stability-excess", None),
        ("steering-score", None),
        ("steering-gain", None),
        ("steering-efficiency", None),
    )
    blocks = [
        "## Sparsity",
        "SNMF with atoms that keep different shares of the neurons, all else equal.",
    ]
    for measured in chosen:
        if not any(measured in line.figures for line in swept.lines):
            continue
        shares = sorted({line.axes[3] for line in swept.lines if line.axes[3] is not None})
        rows = []
        for layer in swept.layers:
            lines = {line.axes[3]: line for line in swept.at(layer)}
            rows.append(
                [
                    str(layer),
                    *(
                        shown(lines[s].figures.get(measured)) if s in lines else MISSING
                        for s in shares
                    ),
                ]
            )
        blocks += [
            f"### {measure_title(measured)}",
            markdown_table(["layer", *(f"{100 * s:g}%" for s in shares)], rows),
        ]
        chart = along(swept, measured, "sparsity")
        if chart is not None:
            blocks.append(
                image(figures, f"judging-sparsity-{slug(measured)}", along_svg(chart), measured)
            )
    return "\n\n".join(blocks)


def times_section(folders: Sequence[CompareFolder]) -> str:
    """Seconds of every stage, as the cells noted them."""
    seconds: dict[str, list[float]] = {}
    for folder in folders:
        for cell in folder.cells:
            own = folder.cell(cell)
            stages = ["fit", "measure", "loss", *([own.steered] if own.steered else [])]
            for stage in stages:
                if own.has(stage):
                    kind = f"fit {cell.variant}" if stage == "fit" else stage.partition("-")[0]
                    seconds.setdefault(kind, []).append(own.figures(stage)["seconds"])
    rows = [
        [stage, str(len(found)), figure(sum(found) / len(found)), figure(sum(found) / 60)]
        for stage, found in seconds.items()
    ]
    rows.append(["all", "", "", figure(sum(map(sum, seconds.values())) / 60)])
    machine = folders[0].manifest["environment"]
    return (
        f"## Time\n\n{machine['cpu_count']} cores ({machine['device_name']}), "
        f"torch {machine['torch']}; by the clock, capture and tables not counted.\n\n"
        + markdown_table(["stage", "cells", "seconds a cell", "minutes in all"], rows)
    )


def layer_table(tables: CompareTables, measured: Measured) -> str:
    """Methods by layers."""
    names = list(dict.fromkeys(line.name for line in tables.lines))
    rows = []
    for name in names:
        lines = {line.axes[1]: line for line in tables.lines if line.name == name}
        rows.append(
            [
                name,
                *(
                    shown(lines[layer].figures.get(measured)) if layer in lines else MISSING
                    for layer in tables.layers
                ),
            ]
        )
    return markdown_table(["method", *(f"layer {layer}" for layer in tables.layers)], rows)


def test_table(tables: CompareTables, measured: Measured) -> str:
    """Differences from SNMF, methods by layers."""
    tests = tables.tests_of(measured)
    rows = []
    for method in dict.fromkeys(test["method"] for test in tests):
        cells = []
        for layer in tables.layers:
            test = test_of(tables, method, layer, measured)
            if test is None:
                cells.append(MISSING)
                continue
            value = test["difference"]
            text = (
                f"δ {figure(test['cliffs_delta'], 2)}"
                if value is None
                else (f"{value:+.3f}, δ {figure(test['cliffs_delta'], 2)}")
            )
            cells.append(
                f"{text}{stars(test)} ({test['reference_scored']}/{test['reference_total']}, "
                f"{test['scored']}/{test['total']})"
            )
        rows.append([method, *cells])
    return markdown_table(["method", *(f"layer {layer}" for layer in tables.layers)], rows)


def pairing_words(test: Any) -> str:
    """How two methods were paired."""
    if test["pairing"] == "shared":
        return "concepts paired, Wilcoxon; in parentheses concepts scored by SNMF and by the method"
    return (
        "features compared by rank, Mann-Whitney; in parentheses features scored of SNMF and of "
        "the method"
    )


def better_words(direction: str) -> str:
    """Which values are better."""
    return {"higher": "higher is better", "lower": "lower is better"}.get(direction, "describes")
