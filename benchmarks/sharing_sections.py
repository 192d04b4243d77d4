"""Sections of docs/results/structure.md about the neurons of days, from structure-study.json."""

import statistics

from cofire.evaluation.discoveries import corrected_p_values
from cofire.interpret.wording import MISSING, figure
from cofire.report.compare_tables import markdown_table
from page_words import SURE, WORDS, Record, at_layers, middle


def days_section(study: Record) -> str:
    """Which layers have features of single days, and what those share."""
    texts, seeds = study["texts"], study["settings"]["seeds"]
    rows = []
    lines = study["days"]
    for sparsity, layer in dict.fromkeys((one["sparsity"], one["layer"]) for one in lines):
        mine = [one for one in lines if (one["sparsity"], one["layer"]) == (sparsity, layer)]
        cores = [one["core"] for one in mine if one.get("core")]
        rows.append(
            [
                f"{sparsity:.0%}",
                str(layer),
                ", ".join(str(len(one["days"])) for one in mine),
                ", ".join(str(len(one["whole"])) for one in mine),
                ", ".join(str(core["size"]) for core in cores) or MISSING,
                ", ".join(figure(core["by_chance"], 2) for core in cores) or MISSING,
                ", ".join(figure(core["p"], 2) for core in cores) or MISSING,
                ", ".join(figure(core["mean_shared"], 2) for core in cores) or MISSING,
                ", ".join(figure(statistics.fmean(core["exclusive"].values()), 2) for core in cores)
                or MISSING,
            ]
        )
    cores = [one["core"] for one in lines if one.get("core")]
    sure = sum(core["p"] < SURE for core in cores)
    with_days = sorted({one["layer"] for one in lines if one.get("core")})
    said = (
        f"At {at_layers(with_days)} at least three days have a feature of their own in some seed. "
        if with_days
        else "At no layer do three days have a feature of their own. "
    )
    if cores:
        said += (
            f"Of the {len(cores)} sets of day features, {sure} share more core neurons than "
            f"dictionaries of the same sizes and the same reuse do (p < {SURE}, not corrected)."
        )
    head = ["sparsity", "layer", "days", "whole", "core", "by chance", "p", "shared", "exclusive"]
    return (
        f"## What the features of days share\n\n{texts['texts']:,} texts "
        f"({texts['rows']:,} tokens) in which the seven days can be told apart: the bundled "
        "sentences about weekdays and months, neutral ones, and 40 carrier sentences that come "
        f"once with every day. {seeds} seeds, in order in every cell. *days*: of seven, those with "
        "a feature that held-out texts confirm; *whole*: features named after weekday as a whole; "
        "*core*: neurons that at least half of the day features hold with one sign, beside their "
        "number in random dictionaries that keep the size of every feature and the reuse of every "
        "neuron; *shared*: neurons two day features share on average; *exclusive*: neurons of one "
        f"day alone, on average.\n\n{said}\n\n{markdown_table(head, rows, words=WORDS)}"
    )


def causal_section(study: Record) -> str:
    """The seven-day table of the layer with most days, and the contrasts of all."""
    if not study["causal"]:
        return (
            "## Amplifying core and exclusive neurons\n\nNo layer had features of three days, so "
            "that nothing could be tested."
        )
    shown = max(study["causal"], key=lambda one: (len(one["members"]), one["core"]["size"]))
    table = shown["amplified"]
    rows = []
    for row in table["rows"]:
        name = row["group"] if row["control"] is None else f"{row['group']}, {row['control']}"
        if row["kind"] == "exclusive" and row["control"] is not None:
            continue  # the controls of exclusive neurons stand in the contrasts
        cells = [
            day_cell(cell, row, day)
            for cell, day in zip(row["cells"], table["targets"], strict=True)
        ]
        rows.append([name, str(row["neurons"]), *cells])
    head = ["amplified", "neurons", *table["targets"]]
    return "\n\n".join(
        [
            "## Amplifying core and exclusive neurons",
            f"Layer {shown['layer']}, sparsity {shown['sparsity']:.0%}, seed {shown['seed']}: the "
            f"layer and seed with most day features ({len(shown['members'])}). Mean change in the "
            "logit of each day's first token, against the mean change of all logits, over "
            f"{len(table['prompts'])} prompts, every row "
            f"amplified until the next-token distribution has moved by {table['target_kl']} nats, "
            "so that rows compare. **Bold**: the interval over prompts leaves 0 out; a day's own "
            "row and column is marked ◂. Controls: random neurons and weights, the group's weights "
            "on other neurons (permuted) or on neurons of like activation (magnitude), and the "
            "strongest neurons of a feature that is no day (feature).",
            markdown_table(head, rows, words=WORDS),
            contrasts(study),
            ablated(study, shown),
        ]
    )


def day_cell(cell: Record, row: Record, day: str) -> str:
    """A mean shift; bold where its interval leaves 0 out."""
    if cell["value"] is None:
        return MISSING
    text = f"{cell['value']:+.2f}".replace("-", "−")
    if cell["low"] is not None and (cell["low"] > 0 or cell["high"] < 0):
        text = f"**{text}**"
    return text + (" ◂" if row["member"] == day else "")


def contrasts(study: Record) -> str:
    """Groups beside controls, over all layers and seeds that were tested."""
    tests = [
        (one, contrast) for one in study["causal"] for contrast in one["amplified"]["contrasts"]
    ]
    corrected = corrected_p_values([contrast["p_value"] for _, contrast in tests])
    rows = []
    for name, control in dict.fromkeys((c["name"], c["control"]) for _, c in tests):
        mine = [
            (c, p)
            for (_, c), p in zip(tests, corrected, strict=True)
            if (c["name"], c["control"]) == (name, control)
        ]
        above = sum(p is not None and p < SURE and c["difference"]["value"] > 0 for c, p in mine)
        below = sum(p is not None and p < SURE and c["difference"]["value"] < 0 for c, p in mine)
        rows.append(
            [
                name,
                control,
                middle(c["found"]["value"] for c, _ in mine),
                middle(c["of_control"]["value"] for c, _ in mine),
                middle(c["difference"]["value"] for c, _ in mine),
                f"{above} of {len(mine)}",
                f"{below} of {len(mine)}",
            ]
        )
    layers = at_layers(sorted({one["layer"] for one in study["causal"]}))
    head = ["figure", "control", "group", "of control", "difference", "sure above", "sure below"]
    return (
        "Over all layers and seeds that were tested "
        f"({len(study['causal'])}, at {layers}: of every seed those with most day features, "
        f"chosen before anything was amplified): *core raises all* is the mean shift of all "
        "days when the core is amplified; *exclusive sets apart* the shift of the own day less "
        "that of the others when a day's exclusive neurons are. Medians, and in how many of them "
        f"the group is above or below its control (Wilcoxon over prompts, p < {SURE} after Holm's "
        f"correction over all {len(tests)} tests).\n\n{markdown_table(head, rows, words=WORDS)}"
    )


def ablated(study: Record, shown: Record) -> str:
    """Recall with groups held at their mean."""
    table = shown["ablated"]
    rows = [
        [
            row["what"] if row["control"] is None else f"{row['what']}, {row['control']}",
            figure(row["neurons"], 3),
            *(interval(row[name]) for name in ("own", "others", "apart")),
            figure(row["kl"]["value"], 2),
            MISSING if row["p_apart"] is None else figure(row["p_apart"], 2),
        ]
        for row in table["rows"]
    ]
    every = [
        row["p_apart"]
        for one in study["causal"]
        for row in one["ablated"]["rows"]
        if row["what"] == "own exclusive" and row["control"] is not None
    ]
    sure = sum(p is not None and p < SURE for p in corrected_p_values(every))
    head = ["held at the mean", "neurons", "own", "others", "apart", "KL", "p"]
    return (
        "### Ablating them\n\nThe same features, on prompts that name a day and lead the model to "
        f"name it again, which it does in {table['recalled']:.0%} of them: change in the logit of "
        "the named day, of the others, and the first less the second, when neurons are held at "
        "their mean. p: that *apart* is as under the control, not corrected. Over all layers and "
        f"seeds {sure} of {len(every)} comparisons of exclusive neurons with a control are sure "
        f"after correction.\n\n{markdown_table(head, rows, words=WORDS)}"
    )


def interval(found: Record, digits: int = 2) -> str:
    """An estimate with its interval."""
    if found["value"] is None:
        return MISSING
    text = f"{found['value']:+.{digits}f}"
    if found["low"] is None:
        return text
    return f"{text} [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"


def sharing_findings(study: Record) -> list[str]:
    """What the neurons of days come to, in sentences."""
    cores = [one["core"] for one in study["days"] if one.get("core")]
    if not cores:
        return ["At no layer do three days have features of their own."]
    layers = sorted({one["layer"] for one in study["days"] if one.get("core")})
    sure = sum(core["p"] < SURE for core in cores)
    found = [
        f"Features of at least three single days are found at {at_layers(layers)} only; elsewhere "
        f"features stand for weekdays as a whole. {sure} of {len(cores)} sets of day features "
        "share a larger core than reuse explains."
    ]
    tests = [c for one in study["causal"] for c in one["amplified"]["contrasts"]]
    corrected = corrected_p_values([c["p_value"] for c in tests])
    for name in dict.fromkeys(c["name"] for c in tests):
        mine = [(c, p) for c, p in zip(tests, corrected, strict=True) if c["name"] == name]
        above = sum(p is not None and p < SURE and c["difference"]["value"] > 0 for c, p in mine)
        found.append(
            f"Amplified, *{name}*: {middle((c['found']['value'] for c, _ in mine), 3)} logits, "
            f"{middle((c['of_control']['value'] for c, _ in mine), 3)} under controls; "
            f"surely above the control in {above} of {len(mine)} comparisons."
        )
    return found
