"""Trees come back from the files other programs read."""

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import networkx
import numpy as np
import pytest

from cofire.errors import DataError, InputError
from cofire.structure.tree import build_tree
from cofire.structure.tree_drawing import draw_tree, tree_svg
from cofire.structure.tree_files import graphml, newick, tree_from_json, tree_json, tree_text

NASTY = 'it\'s (a, b): "c"; <d> & [e]\n\x1b\u202e zürich'


@pytest.fixture
def tree():
    lower = np.array([[4.0, 0.0], [3.0, 1.0], [1.0, 3.0], [0.0, 0.0], [0.0, 2.0]])
    bare = build_tree([lower, np.array([[1.0], [2.0]])])
    nodes = [
        [replace(node, label=f"label {node.name}", tokens=(" a", "b")) for node in level]
        for level in bare.levels
    ]
    nodes[0][2] = replace(nodes[0][2], label=NASTY, concept="weekday", auroc=0.75, density=0.5)
    return bare.with_nodes(nodes)


def read_newick(text):
    """(name, length, children) of the root: a parser of its own, after the format's grammar."""
    tokens = re.findall(r"'(?:[^']|'')*'|[(),;]|:[^,();]*|[^'(),:;]+", text.strip())
    place = 0

    def node():
        nonlocal place
        children = []
        if tokens[place] == "(":
            place += 1
            while True:
                children.append(node())
                mark = tokens[place]
                place += 1
                if mark == ")":
                    break
                assert mark == ","
        name, length = "", None
        if tokens[place] not in "(),;" and not tokens[place].startswith(":"):
            name = tokens[place]
            if name.startswith("'"):
                name = name[1:-1].replace("''", "'")
            place += 1
        if tokens[place].startswith(":"):
            length = float(tokens[place][1:])
            place += 1
        return name, length, children

    found = node()
    assert tokens[place:] == [";"]
    return found


def test_json_gives_the_same_tree_back(tree):
    text = json.dumps(tree_json(tree), allow_nan=False)
    again = tree_from_json(json.loads(text))
    assert again.levels == tree.levels
    assert again.rule == tree.rule


def test_json_of_something_else_is_refused(tree):
    with pytest.raises(DataError, match="no cofire-tree"):
        tree_from_json({"format": "other"})
    with pytest.raises(DataError, match="Upgrade"):
        tree_from_json({**tree_json(tree), "format_version": 99})


def test_newick_holds_every_node_under_its_parent(tree):
    name, _, tops = read_newick(newick(tree))
    assert name == "root"
    parents = {}

    def walk(above, level, nodes):
        for named, length, children in nodes:
            own, _, label = named.partition(" ")
            assert length == level - int(own.split(".")[0])
            parents[own] = (above, label)
            walk(own, int(own.split(".")[0]), children)

    walk("root", 3, tops)
    assert len(parents) == len(tree)
    for node in tree:
        above = "root" if node.parent is None else f"{node.level + 1}.{node.parent}"
        assert parents[node.name][0] == above
    assert parents["0.2"][1].startswith('it\'s (a, b): "c"; <d> & [e]')
    assert "\n" not in newick(tree)[:-1]


def test_graphml_opens_in_networkx_with_all_links(tree):
    graph = networkx.read_graphml(io.BytesIO(graphml(tree).encode()))
    assert graph.number_of_nodes() == len(tree) + 1
    first = [(a, b) for a, b, facts in graph.edges(data=True) if facts["first"]]
    assert len(first) == len(tree)
    assert networkx.is_arborescence(networkx.DiGraph(first))
    further = [(a, b) for a, b, facts in graph.edges(data=True) if not facts["first"]]
    assert sorted(further) == [("1.0", "0.2"), ("1.1", "0.1")]
    assert graph.edges["1.1", "0.1"]["share"] == 0.25
    facts = graph.nodes["0.2"]
    assert (facts["concept"], facts["auroc"], facts["level"]) == ("weekday", 0.75, 0)
    assert facts["label"].endswith("zürich")
    assert "concept" not in graph.nodes["0.1"]  # missing is missing
    assert graph.nodes["2.0"]["leaves"] == 4


def test_a_file_says_by_its_name_what_it_holds(tree):
    assert tree_text(tree, Path("a.JSON")).startswith("{")
    assert tree_text(tree, Path("a.nwk")) == tree_text(tree, Path("b.newick")) == newick(tree)
    assert tree_text(tree, Path("a.graphml")) == graphml(tree)
    with pytest.raises(InputError, match="html, .svg, .json, .graphml or .nwk"):
        tree_text(tree, Path("tree.png"))


def test_the_drawing_is_svg_with_every_node_in_its_place(tree):
    svg = ElementTree.fromstring(tree_svg(tree))
    name = "{http://www.w3.org/2000/svg}"
    nodes = {one.get("data-node"): one for one in svg.iter(f"{name}g")}
    assert set(nodes) == {node.name for node in tree}
    assert "sure" in nodes["0.2"].get("class")
    links = [(one.get("data-parent"), one.get("data-child")) for one in svg.iter(f"{name}path")]
    assert ("1.1", "0.2") in links
    assert ("1.0", "0.2") in links  # the further parent
    drawing = draw_tree(tree)
    leaves = sorted(drawing.placed[node.name].y for node in tree.levels[0])
    assert min(b - a for a, b in pairwise(leaves)) >= 19
    for placed in drawing.placed.values():
        assert 0 < placed.x < drawing.width
        assert 0 < placed.y < drawing.height
        inside = [drawing.placed[child.name].y for child in tree.children(placed.node)]
        assert not inside or min(inside) <= placed.y <= max(inside)


def test_a_drawing_needs_nothing_else(tree):
    svg = tree_svg(tree)
    assert "<script" not in svg
    assert not re.search(r"(href|src|url\()", svg)
    assert "<d> &" not in svg  # escaped
