"""The page docs/results/llm-judge.md, from the figures that llm_judge.py stores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cofire.interpret.wording import MISSING, figure
from cofire.report.compare_tables import markdown_table

Record = Mapping[str, Any]


def write_page(record: Record, output: Path) -> None:
    """Write the page; parts that were not measured are left out.

    Args:
        record: what ``llm_judge.py`` stored.
        output: the page.
    """
    blocks = [
        "# A language model as judge",
        f"Written by `benchmarks/llm_judge.py`; the model asked is {record['model']}. Brackets "
        "hold 95% bootstrap intervals; a dash is what could not be measured. Seconds are those of "
        f"one answer on {record['machine']['cores']} cores that other work shared (load "
        f"{record['machine']['load']:g}); they say what to expect, not what the model can do.",
        *(rating_blocks(record["rating"], record["model"]) if "rating" in record else []),
        *(label_blocks(record["labels"], record["model"]) if "labels" in record else []),
        *(steering_blocks(record["steering"], record["model"]) if "steering" in record else []),
    ]
    output.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def rating_blocks(found: Record, model: str) -> list[str]:
    """Are concepts told on held-out sentences?"""
    items, sentences = found["items"], found["sentences"]
    rows = [
        [
            name,
            interval(one["auroc"], one["interval"]),
            figure(one["with"], 2),
            figure(one["without"], 2),
            f"{one['missing']} of {items}",
            seconds(one["seconds"]),
        ]
        for name, one in found["judges"].items()
    ]
    shares = [
        [name, side, *(f"{one['shares'][value][place]:.0%}" for value in ("0", "1", "2"))]
        for name, one in found["judges"].items()
        if name.startswith(model)
        for place, side in enumerate(("with", "without"))
    ]
    differences = [
        [name, interval(one["value"], one["interval"]), str(one["items"])]
        for name, one in found["differences"].items()
    ]
    return [
        "## Rating a concept",
        f"{found['concepts']} concepts of the bundled corpus drawn at random, {sentences} held-out "
        f"sentences with and {sentences} without each: {items} items, the same for every judge. "
        "*Name only*: the judge knows the concept's name. *Described*: the name and eight telling "
        "words of the training sentences. *Learned*: the training sentences themselves, which only "
        "the offline judges can learn from. The AUROC is over all items together: the chance that "
        "one with its concept is rated above one without; its interval draws concepts.",
        markdown_table(
            ["judge", "AUROC", "rating with", "without", "not rated", "seconds a question"],
            rows,
            words=("judge",),
        ),
        "How the language model's ratings fall:",
        markdown_table(["judge", "concept", "0", "1", "2"], shares, words=("judge", "concept")),
        "Differences of AUROC on the items that both judges rated:",
        markdown_table(["difference", "AUROC", "items"], differences, words=("difference",)),
    ]


def label_blocks(found: Record, model: str) -> list[str]:
    """Do labels say where features fire?"""
    number, windows = len(found["features"]), found["windows"]
    names = ("offline", "language model", "difference")
    controls = ("offline, of another feature", "language model, of another feature")
    rows = [
        [
            reader,
            name,
            interval(one[name]["value"], one[name]["interval"]),
            f"{one[name]['n']} of {one[name]['n'] + one[name]['missing']}",
        ]
        for reader, one in found["auroc"].items()
        for name in (*names, *controls)
    ]
    examples = [
        [str(one["feature"]), one["offline"], one["language model"] or MISSING]
        for one in found["examples"][:12]
    ]
    return [
        "## Labels of features",
        f"{number} features of SNMF (k 100, layer {found['layer']} of Gemma 3 270M, bundled "
        f"corpus) that are not dead, drawn at random, labelled from their contexts by `cofire "
        f"label` (missing: {found['missing']}, {found['distinct']} different ones, "
        f"{seconds(found['seconds'])} s a label). A label is worth what it foretells: an offline "
        f"judge rates, for the label alone, the feature's {windows} top windows among held-out "
        f"texts and {windows} random ones (`context_windows`); AUROC, mean over features. Labels "
        "of another feature are the control. Offline labels list tokens that fired on training "
        "texts, which the judge by words can find again.",
        markdown_table(
            ["read by", "labels", "AUROC", "features"], rows, words=("read by", "labels")
        ),
        "The first of them:",
        markdown_table(
            ["feature", "offline", "language model"],
            [[cell.replace("|", "\\|") for cell in row] for row in examples],
            words=("offline", "language model"),
        ),
    ]


def steering_blocks(found: Record, model: str) -> list[str]:
    """Does the language model agree with the offline judges?"""
    rows = [
        [
            " and ".join(one["judges"]),
            one["of"],
            interval(one["value"], one["interval"]),
            str(one["n"]),
        ]
        for one in found["correlations"]
    ]
    means = [
        [name, *(figure(one[what], 2) for what in ("concept", "fluency", "score"))]
        for name, one in found["means"].items()
    ]
    fell = [
        [what, *(str(found["ratings"][what][value]) for value in ("0", "1", "2"))]
        for what in ("concept", "fluency")
    ]
    return [
        "## Judging what steered features write",
        f"{len(found['features'])} of the run's features, drawn at random, steered at KL 0.15 and "
        f"0.5 nats, both signs, two continuations of 16 tokens each: {found['texts']} "
        f"continuations, of which {model} left {found['not_judged']} without a score. Every judge "
        "rates the same ones for the features' offline labels. Spearman's rank correlation; "
        "intervals draw features, and are too narrow with fewer than ten.",
        markdown_table(["judges", "of", "correlation", "texts"], rows, words=("judges", "of")),
        "Mean ratings, 0 to 2:",
        markdown_table(["judge", "concept", "fluency", "score"], means, words=("judge",)),
        "How the language model's ratings fall:",
        markdown_table(["rating of", "0", "1", "2"], fell, words=("rating of",)),
    ]


def interval(value: float | None, found: Sequence[float] | None) -> str:
    """A figure with its interval."""
    if value is None:
        return MISSING
    shown = figure(value, 2)
    return shown if found is None else f"{shown} [{figure(found[0], 2)}, {figure(found[1], 2)}]"


def seconds(value: float | None) -> str:
    """Seconds, or a dash."""
    return MISSING if value is None else figure(value, 2)
