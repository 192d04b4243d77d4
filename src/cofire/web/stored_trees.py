"""Trees as they are stored hold factors and contexts; pages need to know who belongs to whom."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from cofire.errors import StoreError
from cofire.site import Site
from cofire.store import Run
from cofire.store.archive import MANIFEST
from cofire.store.tree_parts import StoredTree, load_tree
from cofire.structure.tree import FeatureTree, TreeNode
from cofire.structure.tree_files import tree_json

FOLDER = "trees"
"""Where a run keeps its trees, ``trees/SITE/NAME.json``."""

_TREES_KEPT = 16
_DAMAGE = (ValueError, KeyError, TypeError, SafetensorError, RecursionError)


@dataclass(frozen=True, eq=False)
class ReadTree:
    """A stored tree.

    Attributes:
        file: where it lies.
        tree: its nodes, labelled, by the usual rule for parents.
        record: the same and its figures, as pages get it.
        of_run: whether its leaves are the run's features.
    """

    file: Path
    tree: FeatureTree
    record: Mapping[str, Any]
    of_run: bool

    def siblings(self, leaf: int) -> list[TreeNode]:
        """Other leaves that hang on the same parent, the largest share first."""
        node = self.tree.levels[0][leaf]
        above = self.tree.path(node)[:1]
        return [one for parent in above for one in self.tree.children(parent) if one != node]


def is_tree(file: Path) -> bool:
    """Whether a file lies where trees are stored."""
    return file.suffix == ".json" and file.parent.parent.name == FOLDER


def read_tree(file: Path) -> ReadTree:
    """A stored tree; read again when its files or the run's manifest change.

    Args:
        file: its JSON file; the factors lie beside it.

    Raises:
        OSError: when a file is missing.
        StoreError: when one is damaged, or the run has other features by now.
    """
    factors = file.with_suffix(".safetensors")
    made_of = (file, factors, file.parents[2] / MANIFEST)
    return _read(file, tuple(one.stat().st_mtime_ns for one in made_of))


def trees_of_site(folder: Path, site: Site) -> Iterator[ReadTree]:
    """The trees of a site that can be read, by name.

    Args:
        folder: of the run.
        site: of the features.
    """
    for file in sorted((folder / FOLDER / site.name).glob("*.json")):
        try:
            yield read_tree(file)
        except (OSError, StoreError):
            continue  # the page of trees says what is wrong with it


@lru_cache(maxsize=_TREES_KEPT)
def _read(file: Path, _changed: tuple[int, ...]) -> ReadTree:
    try:
        run, site = Run.open(file.parents[2]), Site.parse(file.parent.name)
        stored = load_tree(run, site, file.stem)
    except _DAMAGE as error:
        raise StoreError(f"{file} is damaged; run `cofire tree` again.") from error
    if stored is None:
        raise StoreError(
            f"{file} is a tree of other features than the run has now; run `cofire tree` again."
        )
    tree = stored.tree()
    return ReadTree(file, tree, _record(stored, tree), not stored.first_changed)


def _record(stored: StoredTree, tree: FeatureTree) -> dict[str, Any]:
    return {
        **tree_json(tree),
        "site": stored.site.name,
        "name": stored.name,
        "settings": {name: value for name, value in stored.settings.items() if name != "nesting"},
        "first_changed": stored.first_changed,
        "stop_reason": stored.stop_reason,
        "figures": [asdict(level) for level in stored.figures],
        "scores": [asdict(score) for score in stored.scores],
    }
