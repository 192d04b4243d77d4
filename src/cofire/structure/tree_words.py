"""A tree of features as lines of text, from the top down or from every feature up."""

from collections.abc import Iterator

from cofire.structure.tree import FeatureTree, TreeNode
from cofire.structure.tree_drawing import node_words


def top_down(tree: FeatureTree) -> Iterator[str]:
    """Parents before their children, a line a node, drawn as an outline."""
    for node in tree.tops:
        yield f"{_place(tree, node)}{node_words(node)}"
        yield from _below(tree, node, "")


def _below(tree: FeatureTree, node: TreeNode, indent: str) -> Iterator[str]:
    children = tree.children(node)
    for number, child in enumerate(children, 1):
        last = number == len(children)
        yield f"{indent}{'└─' if last else '├─'} {node_words(child)}{_share(child.share)}"
        yield from _below(tree, child, indent + ("   " if last else "│  "))


def bottom_up(tree: FeatureTree) -> Iterator[str]:
    """A line a feature of the finest level: what it belongs to, with shares, up to the top."""
    for node in tree.levels[0]:
        yield "  →  ".join(bottom_up_steps(tree, node))


def bottom_up_steps(tree: FeatureTree, node: TreeNode) -> list[str]:
    """A node, and everything above it with the share of what is below that goes there."""
    steps = [node_words(node)]
    for above in tree.path(node):
        steps.append(f"{node_words(above)}{_share(node.share)}")
        node = above
    return steps


def _share(share: float | None) -> str:
    return "" if share is None else f" ({100 * share:.0f}%)"


def _place(tree: FeatureTree, node: TreeNode) -> str:
    return "" if node.level == len(tree.levels) - 1 else f"(level {node.level}, no parent) "
