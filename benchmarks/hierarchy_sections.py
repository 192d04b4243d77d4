"""Sections of docs/results/structure.md about trees, from structure-hierarchy.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from cofire.interpret.wording import MISSING, figure
from cofire.report.compare_tables import markdown_table
from page_words import SURE, WORDS, Record, at_layers, middle

LEAST_SEEDS = 3
"""Seeds, of five, in which weekday must be the parent for a layer to be said to have it."""

_QUESTIONS = {
    "days": "texts about days",
    "levels": "bundled sentences",
    "finer": "bundled sentences, 200 features",
    "words": "means of known words",
}
_WAYS = {
    "merge": "merge (bottom up)",
    "merge, all tuned": "merge, all levels tuned",
    "split": "split (top down)",
    "cluster": "cluster the atoms",
    "merge, published objective": "merge, only the last level's error tuned",
}


def cells_of(result: Record, question: str) -> list[Record]:
    """Cells of a question."""
    return [cell for cell in result["cells"] if cell["question"] == question]


def tree_section(result: Record) -> str:
    """Does weekday emerge as the parent of single days."""
    settings = result["settings"]
    rows = []
    emerged, among_words = parents(result)
    for question, words in _QUESTIONS.items():
        cells = cells_of(result, question)
        for layer in sorted({cell["layer"] for cell in cells}):
            mine = [cell for cell in cells if cell["layer"] == layer]
            for way in dict.fromkeys(name for cell in mine for name in cell["weekday"]):
                found = [cell["weekday"][way] for cell in mine if way in cell["weekday"]]
                by_texts = [one["by_texts"] for one in found if "by_texts" in one]
                rows.append(
                    [
                        words,
                        str(layer),
                        way,
                        middle(one["days"] for one in found),
                        parent_seeds(found),
                        middle(one["days"] for one in by_texts),
                        parent_seeds(by_texts),
                        gathered(found),
                        seeds_with(found, "weekday_features"),
                        seeds_with(found, "weekday_nodes"),
                    ]
                )
    n_seeds = settings["seeds"]
    dear_seeds = min(n_seeds, settings["dear_seeds"])
    head = ["leaves", "layer", "way", "days", "parent", "days by texts", "parent of these"]
    head += ["gathered", "weekday feature", "weekday node"]
    return (
        "## Does weekday emerge as the parent of single days?\n\n"
        f"**{answered('Among fitted features', emerged)}** "
        f"{answered('Among known words, whose leaves include the seven days,', among_words)} "
        f"*Most seeds* means at least {LEAST_SEEDS}, and more than twice as many as by chance. "
        "The rule, fixed beforehand: a node above the first level holds day features "
        f"of at least {settings['least_days']} different days, and these are at least "
        f"{settings['day_share']:.0%} of its leaves; a day feature fires, in at least half of its "
        "strong firings, on the name of one day. In brackets the seeds in which the rule would "
        "hold with the leaves shuffled, on average. Added after a first look, since few features "
        "fire on one name alone: *days by texts*, features confirmed by held-out texts as "
        "about one day, in its place; and *gathered*, a node of which at least half of the leaves, "
        "two or more, fire on names of days, whichever. *Days*: different days, median over seeds; "
        "*weekday feature*, *weekday node*: seeds in which a feature of the first level, or a node "
        f"above, is confirmed as weekday by held-out texts. {n_seeds} seeds, of the bundled "
        f"sentences {dear_seeds}. {data_words(result)}"
        f"\n\n{markdown_table(head, rows, words=WORDS)}\n\n{between_days(result)}"
    )


def tree_findings(result: Record) -> list[str]:
    """What trees come to, in sentences."""
    emerged, among_words = parents(result)
    found = [
        answered("Among fitted features", emerged),
        answered("Among means of known words", among_words),
    ]
    cells = cells_of(result, "levels")
    if cells:
        top = [cell["figures"]["merge"][-1] for cell in cells]
        found.append(
            f"Fine-tuning lifts the explained variance of the coarsest level from "
            f"{middle((one['variance_before'] for one in top), 2)} to "
            f"{middle((one['variance'] for one in top), 2)} (median over layers and seeds), every "
            "constraint kept."
        )
        _, sure = score_rows(cells, tested="merge")
        found.append(
            "Trees of features agree with the nesting of the concepts better than shuffled trees "
            f"(purity in {sure['purity']}, F1 in {sure['f1']} of {len(cells)} layers and seeds), "
            "but above all clusterings of the same features by "
            f"{above_clusterings(cells, 'merge')[0]}."
        )
    return found


def answered(who: str, places: Mapping[str, list[int]]) -> str:
    """Where weekday is the parent, in a sentence."""
    if not places:
        return f"{who} weekday is nowhere the parent of single days in most seeds."
    told = "; ".join(f"{where}, {at_layers(layers)}" for where, layers in places.items())
    return f"{who} weekday is the parent of single days in most seeds here: {told}."


def parents(result: Record) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Where weekday is the parent of days in most seeds: among features, and among known words."""
    emerged: dict[str, list[int]] = {}
    among_words: dict[str, list[int]] = {}
    for question, words in _QUESTIONS.items():
        cells = cells_of(result, question)
        for layer in sorted({cell["layer"] for cell in cells}):
            mine = [cell["weekday"] for cell in cells if cell["layer"] == layer]
            for way in dict.fromkeys(name for one in mine for name in one):
                found = [one[way] for one in mine if way in one]
                by_texts = [one["by_texts"] for one in found if "by_texts" in one]
                for told, asked in (("", found), (", days by texts", by_texts)):
                    if mostly(asked):
                        places = among_words if question == "words" else emerged
                        places.setdefault(f"{words}, {way}{told}", []).append(layer)
    return emerged, among_words


def mostly(found: Sequence[Record]) -> bool:
    """Whether weekday is the parent in most seeds, and more often than by chance."""
    parents = sum(one["parent"] for one in found)
    return parents >= LEAST_SEEDS and parents > 2 * sum(one["by_chance"] for one in found)


def parent_seeds(found: Sequence[Record]) -> str:
    """In how many seeds weekday is the parent, and by chance."""
    if not found:
        return MISSING
    chance = sum(one["by_chance"] for one in found)
    return f"{sum(one['parent'] for one in found)} of {len(found)} ({figure(chance, 2)})"


def gathered(found: Sequence[Record]) -> str:
    """In how many seeds features of days are gathered, and by chance."""
    known = [one for one in found if "gathered" in one]
    if not known:
        return MISSING
    chance = sum(one["gathered_by_chance"] for one in known)
    return f"{sum(one['gathered'] for one in known)} of {len(known)} ({figure(chance, 2)})"


def seeds_with(found: Sequence[Record], name: str) -> str:
    """In how many seeds there is at least one."""
    known = [one[name] for one in found if name in one]
    return f"{sum(value > 0 for value in known)} of {len(known)}" if known else MISSING


def data_words(result: Record) -> str:
    """What the four kinds of leaves are."""
    settings, texts = result["settings"], result["texts"]
    parts = []
    if "days" in texts:
        parts.append(
            f"*texts about days*: {texts['days']['texts']} sentences in which the days can be "
            f"told apart, levels {sizes(settings['day_levels'])}, sparsity "
            f"{settings['day_sparsity']:.0%}"
        )
    if "concepts" in texts:
        parts.append(
            f"*bundled sentences*: {texts['concepts']['texts']:,} sentences of 46 concepts, of "
            f"which five of each day are fitted, levels {sizes(settings['levels'])} or "
            f"{sizes(settings['finer'])}, sparsity {settings['sparsity']:.0%}"
        )
        parts.append(
            "*means of known words*: the mean activation of each of some 70 words as leaves, "
            f"levels above them {sizes(settings['word_levels'])}"
        )
    return "; ".join(parts) + "."


def sizes(levels: Sequence[int]) -> str:
    """Levels, finest first."""
    return " → ".join(map(str, levels))


def between_days(result: Record) -> str:
    """How much there is to find at all."""
    cells = [cell for cell in cells_of(result, "levels") if "between_days" in cell]
    if not cells:
        return ""
    rows = []
    for layer in sorted({cell["layer"] for cell in cells}):
        one = next(cell["between_days"] for cell in cells if cell["layer"] == layer)
        rows.append(
            [
                str(layer),
                str(one["tokens"]),
                f"{one['share']:.1%}",
                f"{one['by_chance']:.1%}",
                figure(one["p_value"], 2),
            ]
        )
    head = ["layer", "tokens", "between days", "by chance", "p"]
    return (
        "How much there is to find in the bundled sentences: the share of the variance of the "
        "activations on day names that lies between days, beside days drawn over the tokens anew."
        f"\n\n{markdown_table(head, rows, words=WORDS)}"
    )


def words_section(result: Record) -> str:
    """Trees of leaves that are known."""
    cells = cells_of(result, "words")
    if not cells:
        return ""
    rows, sure = score_rows(cells, tested="merge")
    return (
        "## Trees of known words\n\nLeaves are the mean activations of "
        f"{cells[0]['leaves']} words that stand in the bundled sentences, nested by what they are "
        "(days, months, seasons and spans within time, and so on): whether a tree finds a known "
        f"hierarchy when its leaves are given. {score_words('merge', sure, cells)}\n\n"
        f"{score_table(rows)}"
    )


def ways_section(result: Record) -> str:
    """The ways to build a tree on the same rows."""
    cells = cells_of(result, "levels")
    if not cells:
        return ""
    figures = []
    for layer in sorted({cell["layer"] for cell in cells}):
        mine = [cell for cell in cells if cell["layer"] == layer]
        for way in mine[0]["figures"]:
            found = [cell["figures"][way] for cell in mine]
            levels = range(len(found[0]))
            figures.append(
                [
                    str(layer),
                    _WAYS.get(way, way),
                    *(
                        f"{middle((f[i].get('variance_before') for f in found), 3)} → "
                        f"{middle((f[i]['variance'] for f in found), 3)}"
                        for i in levels
                    ),
                    middle((f[-1].get("variance_heldout") for f in found), 3),
                ]
            )
    rows, sure = score_rows(cells, tested="merge")
    head = ["layer", "way", *(f"{k} features" for k in result["settings"]["levels"]), "held out"]
    return (
        "## Ways to build a tree, on the same rows\n\nExplained variance of every level on "
        "training rows before → after fine-tuning, and of the coarsest level on held-out rows; "
        "medians over seeds. *Only the last level\u2019s error tuned* is the published objective, "
        "with every promise kept (codes and weights of 0 or more, sparse atoms, a loss that never "
        f"rises).\n\n{markdown_table(head, figures, words=WORDS)}\n\n"
        "### Scores against the nesting of the concepts\n\n"
        "A leaf\u2019s class is the concept that held-out texts confirm; the leaves of *split* "
        "are features of its own. Trees have the same numbers of nodes. "
        f"{score_words('merge', sure, cells)}\n\n{score_table(rows)}"
    )


def score_rows(cells: Sequence[Record], *, tested: str) -> tuple[list[list[str]], dict[str, int]]:
    """A line a layer and tree; for every score, cells in which the tested tree beats shuffles."""
    rows = []
    sure: dict[str, int] = {}
    for layer in sorted({cell["layer"] for cell in cells}):
        scores = [score for cell in cells if cell["layer"] == layer for score in cell["scores"]]
        names = list(dict.fromkeys(score["score"] for score in scores))
        for tree in dict.fromkeys(score["tree"] for score in scores):
            cells_of_row = []
            for name in names:
                mine = [s for s in scores if (s["tree"], s["score"]) == (tree, name)]
                reached = sum(s["p_value"] is not None and s["p_value"] < SURE for s in mine)
                if tree == tested:
                    sure[name] = sure.get(name, 0) + reached
                cells_of_row.append(
                    f"{middle(s['value'] for s in mine)} "
                    f"({middle(s['shuffled_mean'] for s in mine)}; {reached} of {len(mine)})"
                )
            rows.append([str(layer), tree, *cells_of_row])
    return rows, sure


def score_words(tested: str, sure: dict[str, int], cells: Sequence[Record]) -> str:
    """How often the tested tree beats shuffled ones, and clusterings."""
    n = len(cells)
    shuffled = ", ".join(f"{name} in {count}" for name, count in sure.items())
    rivals = ", ".join(above_clusterings(cells, tested))
    return (
        f"In brackets the mean of shuffled trees, and in how many seeds fewer than {SURE:.0%} of "
        f"them reach the score. Of {n} layers and seeds *{tested}* beats shuffled trees by "
        f"{shuffled}; it is above all three clusterings by {rivals}."
    )


def above_clusterings(cells: Sequence[Record], tested: str) -> list[str]:
    """For every score, in how many cells the tested tree is above all clusterings."""
    found: list[str] = []
    names = list(dict.fromkeys(score["score"] for score in cells[0]["scores"]))
    for name in names:
        above = total = 0
        for cell in cells:
            of: dict[str, Any] = {
                s["tree"]: s["value"] for s in cell["scores"] if s["score"] == name
            }
            rivals = [
                value
                for tree, value in of.items()
                if tree.startswith(("atoms,", "codes,")) and value is not None
            ]
            if of.get(tested) is not None and rivals:
                total += 1
                above += of[tested] > max(rivals)
        found.append(f"{name} in {above} of {total}")
    return found


def score_table(rows: Sequence[Sequence[str]]) -> str:
    """Scores of trees."""
    return markdown_table(
        ["layer", "tree", "purity of concepts", "purity of families", "hierarchical F1"],
        rows,
        words=WORDS,
    )
