"""Trees as they are stored hold factors; pages need to know who belongs to whom."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from cofire.errors import CofireError
from cofire.store.tree_parts import FORMAT
from cofire.structure.tree import build_tree

_READ = ("label", "match", "types", "density")  # of every node; its contexts would be most of it


def with_parents(file: Path, content: Any) -> Any:
    """A stored document; a stored tree with its nodes in ``levels``, the finest level first.

    Every node has ``index``, ``parent`` and ``share`` by the usual rule, ``others`` and what was
    read of it. Anything that is no stored tree is given back as it is.

    Args:
        file: where it lies; the factors lie beside it.
        content: what it holds.

    Raises:
        OSError, ValueError: when the factors are missing or damaged.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return content
    try:
        factors = load_file(file.with_suffix(".safetensors"))
        levels = range(1, len(content["figures"]))
        tree = build_tree([factors[f"weights.{level}"].double().numpy() for level in levels])
        nodes = [
            [
                {
                    "level": node.level,
                    "index": node.index,
                    "parent": node.parent,
                    "share": node.share,
                    "others": [list(other) for other in node.others],
                    **{name: reading[name] for name in _READ},
                }
                for node, reading in zip(of_level, readings, strict=True)
            ]
            for of_level, readings in zip(tree.levels, content["readings"], strict=True)
        ]
    except (KeyError, TypeError, SafetensorError, CofireError) as error:
        raise ValueError(f"{file} is no tree of this version") from error
    shown = ("format", "site", "name", "settings", "first_changed", "figures", "scores")
    return {**{name: content[name] for name in shown if name in content}, "levels": nodes}
