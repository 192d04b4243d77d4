"""Trees of a run's features, kept in its folder as parts of the archive.

A tree lies in ``trees/SITE/``: ``NAME.json`` with settings, figures, scores and what was read of
every node, and ``NAME.safetensors`` with its factors. Which parents count is decided when it is
opened (``ParentRule``). A tree of a dictionary that was fitted anew since is none of the run's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from cofire.errors import StoreError
from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.contexts import Context
from cofire.site import Site
from cofire.store.run import Run
from cofire.structure.tree import FeatureTree, ParentRule, build_tree
from cofire.structure.tree_comparison import TreeScore
from cofire.structure.tree_labels import NodeReading, label_tree
from cofire.structure.tree_levels import Hierarchy, LevelFigures
from cofire.types import Float, Tensor

FORMAT = "cofire-run-tree"
FORMAT_VERSION = 1

_FOLDER = "trees"


@dataclass(frozen=True, eq=False)
class StoredTree:
    """A tree of a run's features.

    Attributes:
        site: whose features.
        name: tells it from other trees of the site.
        settings: what it was made with, as plain JSON values.
        figures: of every level.
        readings: of every node, level by level.
        scores: of the tree and its baselines.
        first_changed: whether its first level is another than the run's features.
        passes: of the tuning.
        stop_reason: of the tuning.
        atoms: of every level.
        weights: for every level but the first.
    """

    site: Site
    name: str
    settings: Mapping[str, Any]
    figures: tuple[LevelFigures, ...]
    readings: tuple[tuple[NodeReading, ...], ...]
    scores: tuple[TreeScore, ...]
    first_changed: bool
    passes: int
    stop_reason: str
    atoms: tuple[Float[Tensor, "_ channels"], ...]
    weights: tuple[Float[Tensor, "_ _"], ...]

    def tree(self, rule: ParentRule | None = None) -> FeatureTree:
        """The tree by a rule."""
        matrices = [matrix.double().numpy() for matrix in self.weights]
        return label_tree(build_tree(matrices, rule), self.readings)


def save_tree(
    run: Run,
    site: Site,
    name: str,
    hierarchy: Hierarchy,
    *,
    settings: Mapping[str, Any],
    readings: Sequence[Sequence[NodeReading]],
    scores: Sequence[TreeScore],
) -> None:
    """Keep a tree; one of the same name is replaced.

    Args:
        run: whose features it is of.
        site: of the features.
        name: of the tree.
        hierarchy: its factors and figures.
        settings: what it was made with, as plain JSON values.
        readings: of every node, level by level.
        scores: of the tree and its baselines.
    """
    tensors = {f"atoms.{i}": atoms.contiguous() for i, atoms in enumerate(hierarchy.atoms)}
    tensors |= {f"weights.{i}": w.contiguous() for i, w in enumerate(hierarchy.weights, 1)}
    if hierarchy.first_changed:
        tensors["codes"] = hierarchy.codes.contiguous()
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "site": site.name,
        "name": name,
        "settings": dict(settings),
        "dictionary": _dictionary_checksum(run, site),
        "first_changed": hierarchy.first_changed,
        "passes": hierarchy.passes,
        "stop_reason": hierarchy.stop_reason,
        "figures": [asdict(level) for level in hierarchy.figures],
        "scores": [asdict(score) for score in scores],
        "readings": [[asdict(reading) for reading in level] for level in readings],
    }
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    run.write_part(_part(site, name, "safetensors"), partial(save_file, tensors))
    # Last: a tree is there when its record is.
    run.write_part(_part(site, name, "json"), lambda file: file.write_text(text, encoding="utf-8"))


def load_tree(run: Run, site: Site, name: str) -> StoredTree | None:
    """A tree of a run; None where there is none of that name, or the dictionary has changed.

    Raises:
        StoreError: when its files are damaged or of a newer format.
    """
    file = run.part_file(_part(site, name, "json"))
    factors = run.part_file(_part(site, name, "safetensors"))
    if file is None or factors is None:
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    if int(record["format_version"]) > FORMAT_VERSION:
        raise StoreError(
            f"{file} is of format version {record['format_version']}; this cofire reads up to "
            f"version {FORMAT_VERSION}. Upgrade cofire to open it."
        )
    if record["dictionary"] != _dictionary_checksum(run, site):
        return None
    tensors = load_file(factors)
    n_levels = len(record["figures"])
    return StoredTree(
        site=site,
        name=name,
        settings=record["settings"],
        figures=tuple(LevelFigures(**level) for level in record["figures"]),
        readings=tuple(tuple(map(_reading, level)) for level in record["readings"]),
        scores=tuple(TreeScore(**score) for score in record["scores"]),
        first_changed=record["first_changed"],
        passes=record["passes"],
        stop_reason=record["stop_reason"],
        atoms=tuple(tensors[f"atoms.{level}"] for level in range(n_levels)),
        weights=tuple(tensors[f"weights.{level}"] for level in range(1, n_levels)),
    )


def stored_trees(run: Run, site: Site | None = None) -> list[StoredTree]:
    """The trees of a run's finished sites, or of one of them, by site and name."""
    found = []
    for one in run.sites if site is None else [site]:
        prefix = f"{_FOLDER}/{one.name}/"
        names = sorted(
            part.removeprefix(prefix).removesuffix(".json")
            for part in run.manifest["parts"]
            if part.startswith(prefix) and part.endswith(".json")
        )
        found += [tree for name in names if (tree := load_tree(run, one, name)) is not None]
    return found


def tree_codes(run: Run, tree: StoredTree) -> Float[Tensor, "rows _"]:
    """Codes of a tree's first level, all rows: the run's own unless the tree has others."""
    if not tree.first_changed:
        return run.codes(tree.site)
    file = run.part_file(_part(tree.site, tree.name, "safetensors"))
    if file is None:
        raise StoreError(f"The factors of tree {tree.name} are gone; run its command again.")
    return torch.as_tensor(load_file(file)["codes"])


def _part(site: Site, name: str, ending: str) -> str:
    return f"{_FOLDER}/{site.name}/{name}.{ending}"


def _dictionary_checksum(run: Run, site: Site) -> str:
    checksum: str = run.manifest["parts"][f"{site.name}/dictionary.safetensors"]["sha256"]
    return checksum


def _reading(record: Mapping[str, Any]) -> NodeReading:
    match = record["match"]
    if match is not None:
        interval = match["interval"]
        match = ConceptMatch(**{**match, "interval": None if interval is None else tuple(interval)})
    contexts = tuple(
        Context(**{**one, "tokens": tuple(one["tokens"]), "codes": tuple(one["codes"])})
        for one in record["contexts"]
    )
    types = tuple((name, int(count)) for name, count in record["types"])
    return NodeReading(record["label"], match, contexts, types, record["density"])
