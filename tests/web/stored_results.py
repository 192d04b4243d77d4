"""Results as other commands store them, for the pages that show them.

Written by hand, in the layout of those commands, so that the pages are tested where a command is
not part of this tree.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cofire.store import Run

SITE = "blocks.0.mlp.hook_post"


def add_results(run: Run) -> None:
    """Put an overlap, a flow, a tree and steering of feature 1 into a run of layers 0 and 2."""
    _document(run.path / "core" / SITE / "core.json", core())
    _document(run.path / "flow" / "flow.json", flow())
    _document(run.path / "tree" / SITE / "tree.json", {"nodes": tree_nodes()})
    for name, rows in steering().items():
        _table(run.path / "steering" / SITE / f"{name}.parquet", rows)


def lone_results(folder: Path) -> list[Path]:
    """Folders of results of their own: a comparison of methods, and weights of heads."""
    compared, weights = folder / "compared", folder / "weights"
    _document(compared / "manifest.json", {"format": "cofire-compare", "created": "2026-11-20"})
    _table(compared / "results.parquet", comparison())
    _document(weights / "manifest.json", {"format": "cofire-weights", "created": "2026-11-20"})
    _table(weights / "heads.parquet", heads())
    return [compared, weights]


def core() -> dict[str, Any]:
    features = [1, 3, 6]
    jaccard = [[1.0, 0.25, 0.0], [0.25, 1.0, 0.1], [0.0, 0.1, 1.0]]
    shared = [[12, 5, 0], [5, 13, 2], [0, 2, 11]]
    p = [[1.0, 0.002, 1.0], [0.002, 1.0, 0.4], [1.0, 0.4, 1.0]]

    def held(neuron: int, members: list[int]) -> dict[str, Any]:
        return {"neuron": neuron, "sign": 1, "members": members, "weights": [0.3 for _ in members]}

    return {
        "features": features,
        "share": 0.5,
        "needed": 2,
        "channels": 64,
        "core": [held(7, [1, 3]), held(9, [1, 3, 6])],
        "between": [],
        "exclusive": {"1": [held(2, [1])], "3": [], "6": [held(40, [6])]},
        "core_by_chance": 0.4,
        "core_p_value": 0.01,
        "overlap": {
            "shared": shared,
            "opposed": [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
            "jaccard": jaccard,
            "p_uniform": p,
            "p_uniform_corrected": p,
            "p_reuse": p,
            "p_reuse_corrected": p,
        },
    }


def flow() -> dict[str, Any]:
    def link(lower: int, higher: int, correlation: float, wired: bool) -> dict[str, Any]:
        return {
            "lower": lower,
            "higher": higher,
            "correlation": correlation,
            "heldout": correlation - 0.1,
            "cosine": 0.2,
            "wired": wired,
        }

    links = [link(0, 2, 0.9, True), link(1, 3, 0.7, False), link(1, 4, 0.6, True)]
    fates = ["persists", "splits"] + ["dies"] * 6
    origins = ["born", "born", "persists", "split", "split", "born", "born", "born"]
    step = {
        "lower": 0,
        "higher": 2,
        "n_lower": 8,
        "n_higher": 8,
        "links": links,
        "fates": fates,
        "origins": origins,
        "null_quantile": 0.2,
        "least": 0.4,
        "counts": [],
        "wired_share": 0.67,
        "wired_others": 0.1,
    }
    return {"layers": [0, 2], "settings": {}, "steps": [step]}


def tree_nodes() -> list[dict[str, Any]]:
    leaves = [
        {"id": f"0/{i}", "level": 0, "feature": i, "parent": f"1/{i // 4}", "share": 0.8}
        for i in range(8)
    ]
    inner = [
        {"id": f"1/{i}", "level": 1, "label": name, "parent": "2/0", "share": 0.5}
        for i, name in enumerate(("days", "places"))
    ]
    return [{"id": "2/0", "level": 2, "label": "everything", "parent": None}, *inner, *leaves]


def steering() -> dict[str, list[dict[str, Any]]]:
    def cell(sign: int, kl: float) -> dict[str, Any]:
        return {"feature": 1, "control": None, "sign": sign, "target_kl": kl, "prompt": 0}

    cells = [cell(sign, kl) for sign in (1, -1) for kl in (0.25, 0.5)]
    return {
        "steering": [
            {
                "feature": 1,
                "label": "days",
                "score": 1.25,
                "chosen_sign": 1,
                "chosen_kl": 0.5,
                "scored": 8,
                "best": 2.0,
                "missing": 1,
                "texts": 9,
                "unreached": 0,
            }
        ],
        "steering_cells": [
            {**one, "alpha": 3.0, "reached_kl": one["target_kl"], "status": "found"}
            for one in cells
        ],
        "continuations": [
            {
                **one,
                "sample": 0,
                "text": " is <b>Monday</b>",
                "concept": 2.0,
                "fluency": 1.0,
            }
            for one in cells
        ],
    }


def comparison() -> list[dict[str, Any]]:
    figures = {"snmf": (0.31, 0.29, 0.33), "pca": (0.22, 0.2, 0.24), "random": (0.9, None, None)}
    return [
        {
            "method": method,
            "layer": layer,
            "k": 8,
            "sparsity": None,
            "seed": None,
            "seeds": 1,
            "measure": measure,
            "score": None,
            "over": "rows",
            "value": value,
            "low": low,
            "high": high,
            "n": 100,
            "missing": 0,
            "unit": "share",
            "direction": "lower",
            "note": None,
        }
        for measure in ("unexplained-variance", "dead-share")
        for layer in (0, 2)
        for method, (value, low, high) in figures.items()
    ]


def heads() -> list[dict[str, Any]]:
    return [
        {
            "layer": layer,
            "head": head,
            "method": method,
            "kurtosis": 0.5 * layer - head + len(method),
        }
        for layer in range(3)
        for head in range(4)
        for method in ("ica", "nmf")
    ]


def _document(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
