"""The command ``tree``: features of features."""

from dataclasses import asdict
from typing import Any

from cofire.cli.listing import check_form, print_json, print_listing, say
from cofire.cli.progress import TerminalProgress
from cofire.config import TreeConfig
from cofire.store.tree_parts import StoredTree


def tree(config: TreeConfig) -> None:
    """Run ``cofire tree``."""
    from cofire import jobs
    from cofire.report import write_tree_file, write_tree_page
    from cofire.store import Run
    from cofire.structure.tree_comparison import OWN
    from cofire.structure.tree_files import tree_json
    from cofire.structure.tree_words import bottom_up, top_down

    check_form(config)
    rule = jobs.growing.rule_of(config)
    if config.compare:
        found = jobs.growing.directions(config, TerminalProgress())
        # Clusterings are of the run's features; they are the same beside every direction.
        own = [_line(one, score) for one in found for score in one.scores if score.tree == OWN]
        others = [_line(None, score) for score in found[0].scores if score.tree != OWN]
        print_listing([*own, *others], config, empty="")
        return
    stored = jobs.tree(config, TerminalProgress())
    shown = stored.tree(rule)
    run = Run.open(config.run)
    page = write_tree_page(run, stored, rule)
    if config.output is not None:
        write_tree_file(run, stored, rule, config.output)
    if config.as_json:
        print_json(tree_json(shown))
    elif config.as_csv or config.as_table:
        print_listing([_node(asdict(node)) for node in shown], config, empty="")
    else:
        for line in top_down(shown) if config.view == "down" else bottom_up(shown):
            say(line)
        say("")
        print_listing([asdict(level) for level in stored.figures], config, empty="")
        say(f"\nPage: {page.resolve()}")
        if config.output is not None:
            say(f"Written: {config.output.resolve()}")


def _line(stored: StoredTree | None, score: Any) -> dict[str, Any]:
    last = None if stored is None else stored.figures[-1]
    return {
        "tree": score.tree if stored is None else stored.settings["direction"],
        "kept by the top": None if last is None else last.kept,
        "variance of the top": None if last is None else last.variance,
        "score": score.score,
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "shuffled": score.shuffled_mean,
        "p": score.p_value,
        "leaves": score.leaves,
    }


def _node(record: dict[str, Any]) -> dict[str, Any]:
    others = ", ".join(f"{parent} ({share:.2f})" for parent, share in record["others"])
    return {**record, "others": others, "tokens": ", ".join(record["tokens"])}
