"""Trees as files that other programs read: JSON, GraphML and Newick.

JSON holds everything and is read back. GraphML holds every node and every link, further parents
included (networkx, Gephi, yEd, Cytoscape). Newick (tree viewers) holds the first parent only, names
nodes ``level.number label`` and gives a branch the length of the levels it spans.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cofire.errors import DataError, InputError
from cofire.interpret.wording import readable
from cofire.structure.tree import FeatureTree, ParentRule, TreeNode

FORMAT = "cofire-tree"
FORMAT_VERSION = 1

_BREAKS = re.compile(r"\s+")
_GRAPHML = "http://graphml.graphdrawing.org/xmlns"
_NODE_KEYS = {
    "level": "int",
    "index": "int",
    "label": "string",
    "concept": "string",
    "auroc": "double",
    "density": "double",
    "leaves": "int",
}
_EDGE_KEYS = {"share": "double", "first": "boolean"}


def tree_json(tree: FeatureTree) -> dict[str, Any]:
    """A tree as plain JSON values; ``tree_from_json`` takes it back."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "rule": asdict(tree.rule),
        "levels": [[asdict(node) for node in nodes] for nodes in tree.levels],
    }


def tree_from_json(record: Mapping[str, Any]) -> FeatureTree:
    """The tree that ``tree_json`` took apart.

    Raises:
        DataError: when it is none, or of a newer format.
    """
    if record.get("format") != FORMAT:
        raise DataError(f"This is no {FORMAT}; its format is {record.get('format')!r}.")
    if int(record["format_version"]) > FORMAT_VERSION:
        raise DataError(
            f"This tree is of format version {record['format_version']}; this cofire reads up to "
            f"version {FORMAT_VERSION}. Upgrade cofire to read it."
        )
    levels = tuple(tuple(_node(node) for node in nodes) for nodes in record["levels"])
    return FeatureTree(levels, ParentRule(**record["rule"]))


def _node(record: Mapping[str, Any]) -> TreeNode:
    others = tuple((int(parent), float(share)) for parent, share in record["others"])
    return TreeNode(**{**record, "others": others, "tokens": tuple(record["tokens"])})


def graphml(tree: FeatureTree) -> str:
    """A tree as GraphML: a node for every feature and the root, a link from parent to child."""
    ElementTree.register_namespace("", _GRAPHML)
    document = ElementTree.Element(f"{{{_GRAPHML}}}graphml")
    for owner, keys in (("node", _NODE_KEYS), ("edge", _EDGE_KEYS)):
        for name, kind in keys.items():
            key = {"id": name, "for": owner, "attr.name": name, "attr.type": kind}
            ElementTree.SubElement(document, f"{{{_GRAPHML}}}key", key)
    graph = ElementTree.SubElement(
        document, f"{{{_GRAPHML}}}graph", {"id": "tree", "edgedefault": "directed"}
    )
    root = ElementTree.SubElement(graph, f"{{{_GRAPHML}}}node", {"id": "root"})
    _data(root, {"label": "all features", "leaves": tree.sizes[0]})
    for node in tree:
        element = ElementTree.SubElement(graph, f"{{{_GRAPHML}}}node", {"id": node.name})
        facts = {key: getattr(node, key) for key in _NODE_KEYS if key != "leaves"}
        _data(element, {**facts, "leaves": len(tree.leaves(node))})
    for node in tree:
        above = "root" if node.parent is None else f"{node.level + 1}.{node.parent}"
        _link(graph, above, node.name, node.share if node.parent is not None else None, True)
        for parent, share in node.others:
            _link(graph, f"{node.level + 1}.{parent}", node.name, share, False)
    return ElementTree.tostring(document, encoding="unicode", xml_declaration=True) + "\n"


def _link(
    graph: ElementTree.Element, above: str, below: str, share: float | None, first: bool
) -> None:
    link = ElementTree.SubElement(graph, f"{{{_GRAPHML}}}edge", {"source": above, "target": below})
    _data(link, {"share": share, "first": first})


def _data(element: ElementTree.Element, facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        if value is not None:
            data = ElementTree.SubElement(element, f"{{{_GRAPHML}}}data", {"key": name})
            data.text = str(value).lower() if isinstance(value, bool) else one_line(str(value))


def newick(tree: FeatureTree) -> str:
    """A tree in Newick's form, a root above all, ended by a semicolon and a line break.

    >>> from cofire.structure.tree import build_tree
    >>> import numpy as np
    >>> newick(build_tree([np.array([[1.0], [2.0]])]))
    "(('0.0':1,'0.1':1)'1.0':1)root;\\n"
    """
    top = len(tree.levels)

    def written(node: TreeNode, above: int) -> str:
        inner = ",".join(written(child, node.level) for child in tree.children(node))
        name = f"{node.name} {one_line(node.label)}".strip().replace("'", "''")
        return f"{f'({inner})' if inner else ''}'{name}':{above - node.level}"

    return f"({','.join(written(node, top) for node in tree.tops)})root;\n"


def one_line(text: str) -> str:
    """Text without line breaks and without characters that XML and viewers cannot take."""
    return _BREAKS.sub(" ", readable(text)).strip()


def tree_text(tree: FeatureTree, path: Path) -> str:
    """What a file of this name holds of a tree: ``.json``, ``.graphml``, ``.nwk`` or ``.newick``.

    Raises:
        InputError: for another ending.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        return json.dumps(tree_json(tree), indent=1, ensure_ascii=False) + "\n"
    if ending == ".graphml":
        return graphml(tree)
    if ending in (".nwk", ".newick"):
        return newick(tree)
    raise InputError(
        f"A tree is written as .html, .svg, .json, .graphml or .nwk; got {path.name!r}."
    )
