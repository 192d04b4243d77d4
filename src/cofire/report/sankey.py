"""Geometry of a Sankey plot: features as nodes in a column a layer, links as bands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cofire.interpret.wording import figure

_NODE, _TOP, _BOTTOM = 9.0, 26.0, 8.0
_PLOT = 900.0  # width that columns share, within these limits of one column's
_LEAST_COLUMN, _MOST_COLUMN = 150.0, 300.0
_RIGHT, _RIGHT_NAMED = 60.0, 140.0  # room beside the last column
_STEP, _STEP_NAMED = 7.0, 18.0  # from one node to the next: without and with names beside them
_THICK = 5.0
_SWEEPS = 12
_LABEL = 18  # letters of a name

Node = tuple[int, int]
"""Layer and feature."""


@dataclass(frozen=True)
class SankeyNode:
    """A feature: its box, its name where names are drawn, and what it says when pointed at."""

    x: float
    y: float
    height: float
    name: str
    title: str
    chosen: bool


@dataclass(frozen=True)
class SankeyBand:
    """A link: SVG path, thickness, and what it says when pointed at."""

    path: str
    thickness: float
    title: str
    look: str


@dataclass(frozen=True)
class Sankey:
    """The plot.

    Attributes:
        width, height: in SVG units.
        node_width: of every node.
        columns: (x, name) of every layer.
        nodes, bands: what is drawn.
        named: whether nodes have names beside them.
        summary: the plot in words.
    """

    width: float
    height: float
    node_width: float
    columns: tuple[tuple[float, str], ...]
    nodes: tuple[SankeyNode, ...]
    bands: tuple[SankeyBand, ...]
    named: bool
    summary: str


Linked = tuple[Node, Node, Mapping[str, Any]]
"""A feature, one of the next layer, and the link's record."""


def picked_nodes(chosen: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> set[Node] | None:
    """Features of a concept; None when none is asked for."""
    if chosen is None:
        return None
    return {(int(layer), int(one["feature"])) for layer, of in chosen.items() for one in of}


def drawn_links(steps: Sequence[Mapping[str, Any]], picked: set[Node] | None) -> list[Linked]:
    """The links of picked features, or all."""
    return [
        (lower, higher, link)
        for step in steps
        for link in step["links"]
        for lower, higher in [((step["lower"], link["lower"]), (step["higher"], link["higher"]))]
        if picked is None or lower in picked or higher in picked
    ]


def sankey(
    steps: Sequence[Mapping[str, Any]],
    features: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: Mapping[str, Sequence[Mapping[str, Any]]] | None,
) -> Sankey | None:
    """Lay the links out; None when there is none to draw.

    Args:
        steps: as in a flow's record.
        features: label of every feature, by layer.
        chosen: features of a concept, by layer: they and what is linked with them are drawn, with
            names; all linked features, without names, when None.
    """
    picked = picked_nodes(chosen)
    links = drawn_links(steps, picked)
    if not links:
        return None
    layers = [steps[0]["lower"], *(step["higher"] for step in steps)]
    nodes = {node for lower, higher, _ in links for node in (lower, higher)} | (picked or set())
    order = _ordered(layers, nodes, [(a, b, link["correlation"]) for a, b, link in links])
    step_height = _STEP if picked is None else _STEP_NAMED
    tallest = max(len(column) for column in order.values())
    height = _TOP + tallest * step_height + _BOTTOM
    wide = min(_MOST_COLUMN, max(_LEAST_COLUMN, _PLOT / (len(layers) - 1)))
    place = {}
    for column, layer in enumerate(layers):
        start = _TOP + (tallest - len(order[layer])) * step_height / 2
        for row, node in enumerate(order[layer]):
            place[node] = (column * wide + 2, start + row * step_height)
    tall = step_height - 2 if picked is None else 10.0
    drawn = tuple(
        SankeyNode(
            x,
            round(y, 1),
            tall,
            _short(_label(features, node)) if picked is not None else "",
            f"layer {node[0]}, feature {node[1]}: {_label(features, node)}",
            picked is not None and node in picked,
        )
        for node, (x, y) in sorted(place.items())
    )
    bands = tuple(
        _band(place[a], place[b], tall, link, _said(features, a, b, link), picked is not None)
        for a, b, link in links
    )
    return Sankey(
        width=(len(layers) - 1) * wide + (_RIGHT if picked is None else _RIGHT_NAMED),
        height=round(height, 1),
        node_width=_NODE,
        columns=tuple((i * wide + 2, f"layer {layer}") for i, layer in enumerate(layers)),
        nodes=drawn,
        bands=bands,
        named=picked is not None,
        summary=f"{len(links)} links between {len(nodes)} features of {len(layers)} layers.",
    )


def _ordered(
    layers: Sequence[int], nodes: set[Node], links: Sequence[tuple[Node, Node, float]]
) -> dict[int, list[Node]]:
    """Nodes of every layer, each near the mean place of its partners, so that few bands cross."""
    order = {layer: sorted(node for node in nodes if node[0] == layer) for layer in layers}
    below: dict[Node, list[tuple[Node, float]]] = {}
    above: dict[Node, list[tuple[Node, float]]] = {}
    for lower, higher, weight in links:
        above.setdefault(lower, []).append((higher, weight))
        below.setdefault(higher, []).append((lower, weight))
    for sweep in range(_SWEEPS):
        upwards = sweep % 2 == 0
        partners = below if upwards else above
        walk = list(layers[1:]) if upwards else list(layers[-2::-1])
        for layer in walk:
            height = {
                node: (i + 0.5) / len(column)
                for column in order.values()
                for i, node in enumerate(column)
            }
            wanted = {}
            for node in order[layer]:
                known = partners.get(node, [])
                total = sum(weight for _, weight in known)
                wanted[node] = (
                    sum(height[other] * weight for other, weight in known) / total
                    if total
                    else height[node]
                )
            order[layer].sort(key=lambda node: wanted[node])
    return order


def _band(
    start: tuple[float, float],
    end: tuple[float, float],
    tall: float,
    link: Mapping[str, Any],
    title: str,
    chosen: bool,
) -> SankeyBand:
    x0, y0 = start[0] + _NODE, start[1] + tall / 2
    x1, y1 = end[0], end[1] + tall / 2
    bend = (x1 - x0) / 2
    looks = ["band"] + (["chosen"] if chosen else [])
    if link["wired"] is False:
        looks.append("unwired")
    return SankeyBand(
        f"M{x0:.1f},{y0:.1f}C{x0 + bend:.1f},{y0:.1f} {x1 - bend:.1f},{y1:.1f} {x1:.1f},{y1:.1f}",
        round(_THICK * link["correlation"], 1),
        title,
        " ".join(looks),
    )


def _label(features: Mapping[str, Sequence[Mapping[str, Any]]], node: Node) -> str:
    return str(features[str(node[0])][node[1]]["label"])


def _said(
    features: Mapping[str, Sequence[Mapping[str, Any]]],
    lower: Node,
    higher: Node,
    link: Mapping[str, Any],
) -> str:
    text = (
        f"layer {lower[0]}, feature {lower[1]} ({_label(features, lower)}) and layer {higher[0]}, "
        f"feature {higher[1]} ({_label(features, higher)}): correlation "
        f"{figure(link['correlation'], 2)}, held out {figure(link['heldout'], 2)}"
    )
    if link["cosine"] is None:
        return text
    wired = "above" if link["wired"] else "not above"
    return f"{text}; weights: cosine {figure(link['cosine'], 2)}, {wired} shuffled neurons"


def _short(label: str) -> str:
    return label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
