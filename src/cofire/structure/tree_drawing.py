"""A tree of features as a drawing: geometry, and SVG that needs nothing else.

The root is on the left and not drawn; every level is a column; features of the finest level stand
below one another on the right. A line is as strong as the share it stands for; further parents are
dashed. A full dot is a node whose concept held-out texts confirm.
"""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from cofire.interpret.wording import figure
from cofire.structure.tree import FeatureTree, TreeNode
from cofire.structure.tree_files import one_line

ROW = 19.0
"""Height of a leaf in SVG units."""

_COLUMN = 250.0
_LEAF_TEXT = 330.0
_MARGIN = 14.0
_INNER_LETTERS, _LEAF_LETTERS = 34, 52  # that fit beside a node

STYLE = """
.tree { font: 12px system-ui, sans-serif; }
.tree text { fill: var(--ink, #1b1d22); paint-order: stroke;
  stroke: var(--paper, #fdfdfb); stroke-width: 3px; stroke-linejoin: round; }
.tree .link { fill: none; stroke: var(--strong-line, #b4b4ad); }
.tree .further { stroke-dasharray: 4 4; stroke: var(--fire-ink, #b44407); opacity: 0.55; }
.tree circle { fill: var(--paper, #fdfdfb); stroke: var(--ink, #1b1d22); stroke-width: 1.4; }
.tree .sure circle { fill: var(--fire-ink, #b44407); stroke: var(--fire-ink, #b44407); }
.tree .sure text { font-weight: 600; }
.tree .node { cursor: pointer; }
.tree .shade { fill: var(--paper, #fdfdfb); opacity: 0.85; }
"""


@dataclass(frozen=True)
class PlacedNode:
    """Where a node is, and how large its dot."""

    node: TreeNode
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class TreeDrawing:
    """A tree measured out.

    Attributes:
        width, height: of the drawing, in SVG units.
        placed: every node.
        links: (parent, child, share, whether it is the first parent).
    """

    width: float
    height: float
    placed: dict[str, PlacedNode]
    links: tuple[tuple[PlacedNode, PlacedNode, float, bool], ...]


def draw_tree(tree: FeatureTree) -> TreeDrawing:
    """Measure out where every node goes: leaves a row each, parents midway of their children."""
    top = len(tree.levels) - 1
    placed: dict[str, PlacedNode] = {}
    rows = 0

    def place(node: TreeNode) -> PlacedNode:
        nonlocal rows
        children = [place(child) for child in tree.children(node)]
        if children:
            y = (children[0].y + children[-1].y) / 2
        else:
            y = _MARGIN + (rows + 0.5) * ROW
            rows += 1
        leaves = len(tree.leaves(node))
        radius = 3.0 if node.level == 0 else min(9.0, 3.0 + 0.9 * leaves**0.5)
        found = PlacedNode(node, _MARGIN + 10.0 + (top - node.level) * _COLUMN, y, radius)
        placed[node.name] = found
        return found

    for node in sorted(tree.tops, key=lambda node: (-node.level, -len(tree.leaves(node)))):
        place(node)
    links = []
    for node in tree:
        child = placed[node.name]
        if node.parent is not None:
            above = placed[f"{node.level + 1}.{node.parent}"]
            links.append((above, child, node.share or 0.0, True))
        links += [
            (placed[f"{node.level + 1}.{parent}"], child, share, False)
            for parent, share in node.others
        ]
    width = 2 * _MARGIN + top * _COLUMN + _LEAF_TEXT
    return TreeDrawing(width, 2 * _MARGIN + rows * ROW, placed, tuple(links))


def tree_svg(tree: FeatureTree, *, alone: bool = True, title: str = "Tree of features") -> str:
    """A tree as SVG.

    Args:
        tree: the tree.
        alone: whether it is to be a file of its own, with its styles inside.
        title: what it is, for those who cannot see it.
    """
    drawing = draw_tree(tree)
    width, height = f"{drawing.width:g}", f"{drawing.height:g}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tree" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label={quoteattr(one_line(title))}>'
    ]
    if alone:
        parts.append(f"<title>{escape(one_line(title))}</title><style>{STYLE}</style>")
        parts.append(f'<rect width="{width}" height="{height}" fill="#fdfdfb"/>')
    parts += [_link(*link) for link in sorted(drawing.links, key=lambda link: link[3])]
    parts += [_node(tree, placed) for placed in drawing.placed.values()]
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _link(above: PlacedNode, child: PlacedNode, share: float, first: bool) -> str:
    middle = (above.x + child.x) / 2
    start, end = above.x + above.radius, child.x - child.radius
    path = (
        f"M{start:.1f} {above.y:.1f}C{middle:.1f} {above.y:.1f} {middle:.1f} {child.y:.1f} "
        f"{end:.1f} {child.y:.1f}"
    )
    kind = "link" if first else "link further"
    strength = f"{0.7 + 2.3 * share:.2f}"
    return (
        f'<path class="{kind}" d="{path}" stroke-width="{strength}" '
        f'data-parent="{above.node.name}" data-child="{child.node.name}"/>'
    )


def _node(tree: FeatureTree, placed: PlacedNode) -> str:
    node = placed.node
    leaf = node.level == 0
    words = node_words(node)
    letters = _LEAF_LETTERS if leaf else _INNER_LETTERS
    short = words if len(words) <= letters else words[: letters - 1].rstrip() + "…"
    x, y = placed.x + placed.radius + 4, placed.y + (4 if leaf else -placed.radius - 1)
    if not leaf and not tree.children(node):
        y = placed.y + 4
    return (
        f'<g class="node{" sure" if node.concept is not None else ""}" data-node="{node.name}">'
        f"<title>{escape(_told(tree, node))}</title>"
        f'<circle cx="{placed.x:.1f}" cy="{placed.y:.1f}" r="{placed.radius:.1f}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}">{escape(short)}</text></g>'
    )


def node_words(node: TreeNode) -> str:
    """A node's number in its level and its label, on one line."""
    return f"{node.index} {one_line(node.label)}".strip()


def _told(tree: FeatureTree, node: TreeNode) -> str:
    """What a node says when pointed at."""
    leaves = len(tree.leaves(node))
    lines = [f"Level {node.level}, feature {node_words(node)}"]
    if node.concept is not None:
        lines.append(f"selects {one_line(node.concept)}, held-out AUROC {figure(node.auroc)}")
    if node.level:
        lines.append(f"{leaves} feature{'' if leaves == 1 else 's'} of the first level below it")
    if node.parent is not None:
        lines.append(f"{100 * (node.share or 0.0):.0f}% of its weight goes to its parent")
    elif node.level < len(tree.levels) - 1:
        lines.append("no parent by the rule")
    return "\n".join(lines)
