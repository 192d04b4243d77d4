"""docs/results/judging.md: tables, figures and verdicts, all from the stored figures.

Verdicts follow rules that stand beside them on the page. A test finds a difference when its
p-value, corrected for all tests of its measure, is below 5%.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.interpret.wording import MISSING, figure
from cofire.report.axes import Axis
from cofire.report.charts import HEIGHT, WIDTH
from cofire.report.compare_charts import Along, Forest, along, forests
from cofire.report.compare_tables import (
    SIGNIFICANT,
    THEMES,
    CompareTables,
    Line,
    Measured,
    markdown_table,
    measure_title,
    shown,
)
from cofire.store import CompareFolder
from judging_gap import SAE, gap_section

COLOURS = {
    "one": "#c2410c",
    "two": "#2563a8",
    "three": "#8a6d00",
    "four": "#3c7a57",
    "five": "#7a4b94",
    "six": "#5b6770",
}
SNMF = "snmf"

_COLUMNS = 2  # charts side by side
_NAME = 20  # letters of a method's name in a figure


@dataclass(frozen=True)
class Trend:
    """A published finding, the rule by which it is judged here, and the verdict."""

    claim: str
    rule: str
    verdict: str
    figures: str


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


def slug(measured: Measured) -> str:
    """A measure as part of a file's name."""
    return measured[0] if measured[1] is None else f"{measured[0]}-{measured[1]}"


def published_solvers(tables: CompareTables) -> list[str]:
    """Methods that use the published solver."""
    names = dict.fromkeys(line.axes[0] for line in tables.lines)
    return [name for name in names if "solver=mu" in name]


def image(figures: Path, name: str, svg: str, measured: Measured) -> str:
    """Write a figure and refer to it."""
    (figures / f"{name}.svg").write_text(svg, encoding="utf-8")
    return f"![{measure_title(measured)}](figures/{name}.svg)"


def forest_svg(charts: Sequence[Forest]) -> str:
    """The layers of one measure side by side."""
    height = max((chart.height for chart in charts), default=60.0)
    parts = []
    for number, chart in enumerate(charts):
        bottom = chart.height - 36
        inner = [f'<text x="118" y="12" class="title">{chart.title}</text>']
        inner += [rule(tick.at, tick.text, bottom) for tick in chart.x.ticks]
        inner += [
            f'<text x="112" y="{y + 3.5}" text-anchor="end">{escape(short(name))}</text>'
            + ("" if there else f'<text x="122" y="{y + 3.5}">{MISSING}</text>')
            for name, y, there in chart.names
        ]
        inner += [
            f'<line x1="{m.low}" x2="{m.high}" y1="{m.y}" y2="{m.y}" stroke="{COLOURS[m.look]}"/>'
            f'<circle cx="{m.x}" cy="{m.y}" r="3" fill="{COLOURS[m.look]}"/>'
            for m in chart.marks
        ]
        row, column = divmod(number, _COLUMNS)
        place = f"translate({column * WIDTH:g},{row * height:g})"
        parts.append(f'<g transform="{place}">{"".join(inner)}</g>')
    rows = -(-len(charts) // _COLUMNS)
    return whole(WIDTH * min(_COLUMNS, max(1, len(charts))), height * max(1, rows), parts)


def along_svg(chart: Along) -> str:
    """Lines along a setting."""
    bottom = HEIGHT - 36
    parts = [ticks(chart.x, chart.y, bottom)]
    for number, (name, look, points, marks) in enumerate(chart.series):
        colour = COLOURS[look]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts += [
            f'<line x1="{m.x}" x2="{m.x}" y1="{m.low}" y2="{m.high}" stroke="{colour}"/>'
            f'<circle cx="{m.x}" cy="{m.y}" r="3" fill="{colour}"/>'
            for m in marks
        ]
        parts.append(
            f'<text x="{WIDTH + 8}" y="{34 + 16 * number}" fill="{colour}">{escape(name)}</text>'
        )
    return whole(WIDTH + 110, HEIGHT, parts)


def ticks(x: Axis, y: Axis, bottom: float) -> str:
    """Both axes of a chart along a setting."""
    parts = [f'<text x="4" y="10" class="title">{escape(y.name)}</text>']
    parts += [
        f'<line x1="46" x2="{WIDTH - 12}" y1="{t.at}" y2="{t.at}" class="rule"/>'
        f'<text x="40" y="{t.at + 3.5}" text-anchor="end">{t.text}</text>'
        for t in y.ticks
    ]
    parts += [
        f'<text x="{t.at}" y="{bottom + 14}" text-anchor="middle">{t.text}</text>' for t in x.ticks
    ]
    parts.append(
        f'<text x="{WIDTH - 12}" y="{HEIGHT - 5}" text-anchor="end">{escape(x.name)}</text>'
    )
    return "".join(parts)


def rule(at: float, text: str, bottom: float) -> str:
    """A vertical rule with its number."""
    return (
        f'<line x1="{at}" x2="{at}" y1="18" y2="{bottom}" class="rule"/>'
        f'<text x="{at}" y="{bottom + 14}" text-anchor="middle">{text}</text>'
    )


def whole(width: float, height: float, parts: Sequence[str]) -> str:
    """A drawing on white, so that it can be read on any page."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="sans-serif" font-size="10" '
        'fill="#444b59" stroke-width="1.4"><style>.rule{stroke:#ddd}.title{font-weight:600}'
        '</style><rect width="100%" height="100%" fill="white" stroke="none"/>'
        f"{''.join(parts)}</svg>\n"
    )


def short(name: str) -> str:
    """A name that fits beside a chart."""
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def escape(text: str) -> str:
    """Text inside a drawing."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
