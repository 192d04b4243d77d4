"""A tree of features as a page of its own, as a part of a run's report, and as other files."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from cofire.interpret.contexts import Context
from cofire.interpret.wording import readable, token_text
from cofire.report import facts
from cofire.report.embedding import content_policy, embed_json, rounded, script, stylesheet
from cofire.report.templating import page_templates
from cofire.store import Run
from cofire.store.archive import write_atomically
from cofire.store.tree_parts import StoredTree
from cofire.structure.tree import FeatureTree, ParentRule, TreeNode
from cofire.structure.tree_comparison import SCORES, TreeScore
from cofire.structure.tree_drawing import STYLE, node_words, tree_svg
from cofire.structure.tree_files import tree_text
from cofire.structure.tree_sensitivity import rule_agreement, sensitivity
from cofire.structure.tree_words import bottom_up_steps

_STYLES = ("base.css", "overview.css", "tree.css")
_SCRIPTS = ("text.js", "dom.js", "tree.js")
_CONTEXT_TOKENS = 12  # on each side of the one that fires

_DIRECTIONS = {
    "merge": "from the bottom up",
    "split": "from the top down",
    "cluster": "by clustering",
}
_TUNED = {"above": "the levels above", "all": "all levels", "none": "no level"}


def write_tree_page(
    run: Run, stored: StoredTree, rule: ParentRule | None = None, output: Path | None = None
) -> Path:
    """Write the page of a tree as one HTML file that needs no network.

    Args:
        run: whose features it is of.
        stored: the tree.
        rule: which parents count.
        output: the file; beside the tree in the run's folder when None.

    Raises:
        StoreError: when the file cannot be written.
    """
    if output is None:
        output = run.path / "trees" / stored.site.name / f"{stored.name}.html"
    style = Markup(f"{stylesheet(*_STYLES)}\n{STYLE}")
    code = script(*_SCRIPTS)
    page = (
        page_templates()
        .get_template("tree.html.j2")
        .render(
            policy=Markup(content_policy(style, code)),
            style=style,
            script=code,
            model=facts.model_name(run.manifest),
            site=stored.site,
            tree=tree_values(stored, rule),
            licences=facts.licence_notes(run.manifest),
            version=run.manifest.get("cofire_version"),
        )
    )
    write_atomically(output, lambda path: path.write_bytes(page.encode("utf-8")))
    return output


def write_tree_file(run: Run, stored: StoredTree, rule: ParentRule | None, output: Path) -> Path:
    """Write a tree as a file of the kind that its name says: .html, .svg, .json, .graphml, .nwk.

    Raises:
        InputError: for another ending.
        StoreError: when the file cannot be written.
    """
    if output.suffix.lower() in (".html", ".htm"):
        return write_tree_page(run, stored, rule, output)
    tree = stored.tree(rule)
    title = _title(stored)
    text = (
        tree_svg(tree, title=title) if output.suffix.lower() == ".svg" else tree_text(tree, output)
    )
    write_atomically(output, lambda path: path.write_bytes(text.encode("utf-8")))
    return output


def tree_values(stored: StoredTree, rule: ParentRule | None = None) -> dict[str, Any]:
    """What the templates need of one tree."""
    tree = stored.tree(rule)
    matrices = [weights.double().numpy() for weights in stored.weights]
    by_threshold: dict[float, list[Any]] = {}
    for line in sensitivity(matrices):
        by_threshold.setdefault(line.threshold, []).append(line)
    scores = [score for score in stored.scores if score.leaves]
    by_tree: dict[str, list[TreeScore]] = {}
    for score in scores:
        by_tree.setdefault(score.tree, []).append(score)
    return {
        "id": f"{stored.site.layer}-{stored.site.kind}-{stored.name}",
        "site": stored.site,
        "title": _title(stored),
        "facts": _facts(stored),
        "rule": tree.rule,
        "svg": Markup(tree_svg(tree, alone=False, title=_title(stored))),
        "data": embed_json(_data(stored, tree)),
        "figures": stored.figures,
        "scores": by_tree,
        "score_names": SCORES,
        "leaves": scores[0].leaves if scores else 0,
        "of": scores[0].of if scores else 0,
        "agreement": rule_agreement(matrices),
        "sensitivity": by_threshold,
        "bottom_up": [bottom_up_steps(tree, node) for node in tree.levels[0]],
    }


def _title(stored: StoredTree) -> str:
    first, *above = (level.features for level in stored.figures)
    sizes = ", ".join(map(str, above))
    return f"{first} features of layer {stored.site.layer}, told by {sizes} of coarser levels"


def _facts(stored: StoredTree) -> dict[str, str]:
    settings = stored.settings
    rows = "the activations" if settings["activations"] else "what the features say of the rows"
    return {
        "Layer": str(stored.site.layer),
        "Levels": " → ".join(str(level.features) for level in stored.figures),
        "Found": _DIRECTIONS[settings["direction"]],
        "Fitted to": rows,
        "Tuned together": f"{_TUNED[settings['tune']]}, {stored.passes} passes",
        "Seed": str(settings["seed"]),
    }


def _data(stored: StoredTree, tree: FeatureTree) -> dict[str, Any]:
    return {
        node.name: _node(tree, node, stored.readings[node.level][node.index].contexts)
        for node in tree
    }


def _node(tree: FeatureTree, node: TreeNode, contexts: tuple[Context, ...]) -> dict[str, Any]:
    return {
        "level": node.level,
        "index": node.index,
        "label": node_words(node).removeprefix(f"{node.index} "),
        "concept": None if node.concept is None else readable(node.concept),
        "auroc": rounded(node.auroc, 3),
        "density": rounded(node.density),
        "tokens": [token_text(name) for name in node.tokens],
        "parent": None if node.parent is None else f"{node.level + 1}.{node.parent}",
        "share": rounded(node.share, 3),
        "others": [[f"{node.level + 1}.{one}", rounded(share, 3)] for one, share in node.others],
        "children": [child.name for child in tree.children(node)],
        "contexts": [_context(context) for context in contexts],
    }


def _context(context: Context) -> list[str]:
    """The text before the firing token, the token, the text after it."""
    start = max(0, context.focus - _CONTEXT_TOKENS)
    pieces = [token_text(piece) for piece in context.tokens]
    return [
        ("… " if start else "") + "".join(pieces[start : context.focus]),
        pieces[context.focus],
        "".join(pieces[context.focus + 1 : context.focus + 1 + _CONTEXT_TOKENS]),
    ]
