"""Sections of docs/results/structure.md about reuse and layers, from structure-study.json."""

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import matplotlib.pyplot as plt

from cofire.interpret.wording import figure
from cofire.report.compare_tables import markdown_table
from cofire.report.sankey import Sankey, sankey
from page_words import (
    ACCENT,
    FIGURES,
    GREY,
    INK,
    SECOND,
    SURE,
    WORDS,
    Record,
    at_layers,
    middle,
    save,
    share,
)

_SHOWN_STEPS = 6  # of the flow that is drawn


def reuse_section(study: Record) -> str:
    """Reuse of neurons beside its nulls."""
    layers = study["reuse"]
    names = {
        "variance of the features a neuron serves": "variance of reuse",
        "neurons that serve no feature": "unused neurons",
        "sum of squares of the neurons that pairs share": "Σ shared²",
        "most neurons a pair shares": "most shared",
        "modularity of the best partition": "modularity",
    }
    rows = []
    for part in layers:
        by_name = {one["name"]: one for one in part["comparisons"]}
        cells = []
        for name in names:
            one = by_name[name]
            mark = "**" if one["p_value"] < SURE else ""
            cells.append(f"{mark}{figure(one['observed'], 3)}{mark} ({figure(one['expected'], 3)})")
        mixed = "yes" if part["mixing"]["mixed"] else "no"
        families = sum(size > 1 for size in part["families"])
        named = len({one["community"] for one in part["enrichment"]})
        rows.append([str(part["layer"]), *cells, mixed, str(families), str(named)])
    unmixed = [part["layer"] for part in layers if not part["mixing"]["mixed"]]
    sure = [part["layer"] for part in layers if beyond_reuse(part)]
    said = (
        f"Features share more neurons than their reuse explains at {len(sure)} of {len(layers)} "
        "layers"
    )
    said += (
        "."
        if not unmixed
        else (
            f"; at {at_layers(unmixed)} the draws had not forgotten where they began, and "
            "p-values do not count there."
        )
    )
    plot, axes = plt.subplots(1, 2, figsize=(8.4, 3.2))
    part = layers[len(layers) // 2]
    bars(axes[0], part["degree_counts"], part["degree_expected"], "features a neuron serves")
    bars(axes[1], part["shared_counts"], part["shared_expected"], "neurons a pair shares")
    axes[0].set_ylabel("neurons")
    axes[1].set_ylabel("pairs")
    axes[1].legend()
    drawn = save(plot, "structure-reuse", f"Reuse of neurons at layer {part['layer']} and its null")
    return (
        "## Reuse of neurons against chance\n\nThe bundled sentences, one seed. In brackets the "
        "mean of random draws; **bold** where fewer than 5% of the draws reach the figure. The "
        "first two are held against neurons drawn evenly, the others against dictionaries that "
        "keep the size of every feature and, for every neuron and sign, how many features it "
        "serves. *Families*: groups of two or more features by shared neurons, and how many of "
        "them are rich in a concept or a family of concepts (p < 0.05, corrected by Benjamini and "
        f"Hochberg).\n\n{said}\n\n"
        + markdown_table(
            ["layer", *names.values(), "mixed", "families", "named"], rows, words=WORDS
        )
        + f"\n\nLayer {part['layer']}:\n\n{drawn}"
    )


def bars(axes: Any, observed: Sequence[float], expected: Sequence[float], name: str) -> None:
    """A histogram on a logarithmic axis with what is expected."""
    axes.bar(range(len(observed)), observed, color=ACCENT, alpha=0.75, label="found")
    axes.plot(range(len(expected)), expected, color=INK, lw=1.5, label="by chance")
    axes.set(yscale="log", xlabel=name, ylim=(0.5, 2 * max(*observed, *expected)))


def flow_section(study: Record) -> str:
    """Features from layer to layer."""
    flow = study["flow"]
    steps = flow["steps"]
    rows = [
        [
            f"{step['lower']} → {step['higher']}",
            *(str(step[name]) for name in ("links", "persists", "splits", "merges", "dies")),
            str(step["born"]),
            middle(step["correlations"]),
            middle(step["heldout"]),
            share(step["wired_share"]),
            share(step["wired_others"]),
        ]
        for step in steps
    ]
    wired = [
        step
        for step in steps
        if step["wired_share"] is not None and step["wired_others"] is not None
    ]
    above = sum(step["wired_share"] > step["wired_others"] for step in wired)
    plot, axes = plt.subplots(figsize=(8.4, 3.0))
    bottom = [0.0] * len(steps)
    for fate, colour in (
        ("persists", SECOND),
        ("splits", "#5d8a3a"),
        ("merges", "#8a6d00"),
        ("dies", GREY),
    ):
        heights = [float(step[fate]) for step in steps]
        axes.bar(range(len(steps)), heights, bottom=bottom, color=colour, label=fate)
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    names = [f"{step['lower']}–{step['higher']}" for step in steps]
    axes.set_xticks(range(len(steps)), names, rotation=60, fontsize=8)
    axes.set(ylabel="features of the lower layer", xlabel="layers")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    fates = save(plot, "structure-flow", "What becomes of features, step by step")
    settings = flow["settings"]
    head = ["step", "links", "persists", "splits", "merges", "dies", "born"]
    head += ["correlation", "held out", "wired", "other pairs"]
    return (
        "## Features across layers\n\nFeatures of neighbouring layers are linked when their codes "
        f"on the same training tokens correlate by {settings['correlation']} or more, above a "
        "null of shuffled texts, and held-out tokens confirm it. *wired*: share of linked pairs "
        "whose weights join them through the residual stream more than all but 1% of features on "
        "shuffled neurons; *other pairs*: of pairs that are not linked. Linked pairs are wired "
        f"more often than others at {above} of {len(wired)} steps.\n\n{fates}\n\n"
        + markdown_table(head, rows, words=WORDS)
        + "\n\n"
        + weekday_flow(flow["weekday"], [(step["lower"], step["higher"]) for step in steps])
    )


def weekday_flow(links: Sequence[Record], pairs: Sequence[tuple[int, int]]) -> str:
    """The links of weekday features, drawn over the layers where there are most."""
    if not links:
        return "### One flow: weekday\n\nNo feature named after weekday is linked with another."
    layers = sorted({one["from"][0] for one in links} | {one["to"][0] for one in links})
    windows = [pairs[i : i + _SHOWN_STEPS] for i in range(max(1, len(pairs) - _SHOWN_STEPS + 1))]
    joined = [(one["from"][0], one["to"][0]) for one in links]
    shown = max(windows, key=lambda window: sum(pair in window for pair in joined))
    window = [one for one, pair in zip(links, joined, strict=True) if pair in shown]
    features: dict[str, dict[int, Record]] = {}
    chosen: dict[str, list[Record]] = {}
    steps: dict[tuple[int, int], list[Record]] = {}
    for one in window:
        for layer, feature, label, concept in (one["from"], one["to"]):
            features.setdefault(str(layer), {})[feature] = {"label": label}
            if concept == "weekday" and {"feature": feature} not in chosen.get(str(layer), []):
                chosen.setdefault(str(layer), []).append({"feature": feature})
        figures = {name: one[name] for name in ("correlation", "heldout", "cosine", "wired")}
        steps.setdefault((one["from"][0], one["to"][0]), []).append(
            {"lower": one["from"][1], "higher": one["to"][1], **figures}
        )
    records = [
        {"lower": low, "higher": high, "links": steps.get((low, high), [])} for low, high in shown
    ]
    drawing = sankey(records, features, chosen)
    (FIGURES / "structure-weekday.svg").write_text(sankey_svg(drawing), encoding="utf-8")
    confirmed = sum(one["wired"] is True for one in links)
    return (
        f"### One flow: weekday\n\n{len(links)} links join features of which at least one is named "
        f"after weekday, over {at_layers(layers)}; {confirmed} of them are wired. Drawn "
        "are the layers where there are most; filled boxes are named after weekday, bands are as "
        "thick as the correlation, dashed where the weights do not join the two. `cofire flow RUN "
        "--concept weekday` draws all.\n\n![Weekday features from layer to layer]"
        "(figures/structure-weekday.svg)"
    )


def sankey_svg(drawing: Sankey) -> str:
    """A flow as a picture of its own."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width:g} '
        f'{drawing.height:g}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    parts += [
        f'<text x="{x:g}" y="14" fill="{INK}" font-weight="bold">{name}</text>'
        for x, name in drawing.columns
    ]
    for band in drawing.bands:
        dashed = ' stroke-dasharray="6 4"' if "unwired" in band.look else ""
        parts.append(
            f'<path d="{band.path}" fill="none" stroke="{SECOND}" stroke-opacity="0.5" '
            f'stroke-width="{band.thickness}"{dashed}><title>{escape(band.title)}</title></path>'
        )
    for node in drawing.nodes:
        fill = ACCENT if node.chosen else GREY
        parts.append(
            f'<rect x="{node.x:g}" y="{node.y:g}" width="{drawing.node_width:g}" '
            f'height="{node.height:g}" fill="{fill}"><title>{escape(node.title)}</title></rect>'
            f'<text x="{node.x + 13:g}" y="{node.y + 9:g}" fill="{INK}" stroke="white" '
            f'stroke-width="3" paint-order="stroke">{escape(node.name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def stack_section(study: Record) -> str:
    """Layers factorised at once."""
    stack = study.get("stack")
    if stack is None:
        return ""
    rows = []
    for name, spans in (("layers at once", stack["spans"]), ("shuffled texts", stack["shuffled"])):
        known = [span for span in spans if span is not None]
        rows.append(
            [
                name,
                str(len(known)),
                middle(known),
                *(str(sum(span >= least for span in known)) for least in (1.5, 2.0, 2.5)),
            ]
        )
    head = ["rows", "features", "median span", "≥ 1.5", "≥ 2", "≥ 2.5"]
    return (
        f"## {at_layers(stack['layers']).capitalize()} factorised at once\n\n*Span*: over how many "
        "layers a feature's weight is spread (exp of the entropy of its shares, 1 to "
        f"{len(stack['layers'])}). The control fits layers whose texts were put in different "
        "orders, so that a feature spans layers by chance only.\n\n"
        + markdown_table(head, rows, words=WORDS)
    )


def flow_findings(study: Record) -> list[str]:
    """What reuse and flows come to, in sentences."""
    layers = study["reuse"]
    sure = [part["layer"] for part in layers if beyond_reuse(part)]
    steps = study["flow"]["steps"]
    links = sum(step["links"] for step in steps)
    persist, lower = (sum(step[name] for step in steps) for name in ("persists", "dies"))
    found = [
        f"Features share more neurons than reuse explains at {len(sure)} of {len(layers)} layers.",
        f"{links} links join features of neighbouring layers over {len(steps)} steps; {persist} "
        f"features persist one to one, {lower} have no link to the next layer.",
    ]
    stack = study.get("stack")
    if stack is not None:
        found.append(
            f"Layers factorised at once: a feature spans {middle(stack['spans'])} layers at the "
            f"median, {middle(stack['shuffled'])} when texts are shuffled."
        )
    return found


def beyond_reuse(part: Record) -> bool:
    """Whether pairs of features share more, in squares, than draws of the same reuse."""
    return any(
        one["name"].startswith("sum of squares") and one["p_value"] < SURE
        for one in part["comparisons"]
    )
