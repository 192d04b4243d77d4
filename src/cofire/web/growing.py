"""Folders of results that are still being written: how far they are, and what can be told already.

Their commands write tables when they are done or interrupted; pages should not wait for that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cofire.evaluation.grid import GridCell
from cofire.store import CompareFolder
from cofire.store.compare_folder import CELLS
from cofire.store.weights_folder import HEADS, WeightsFolder, head_line
from cofire.web.records.results import Finished

Lines = Callable[[], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Growing:
    """A folder of results.

    Attributes:
        finished: how far it is; None where that is not known of its kind.
        tables: lines by the name of a document, for what no file of the folder says yet.
    """

    finished: Finished | None = None
    tables: Mapping[str, Lines] = field(default_factory=dict)


def growing(folder: Path, kind: str) -> Growing:
    """What a folder says of its progress.

    Args:
        folder: with a manifest.
        kind: of its results.

    Raises:
        StoreError: when it is damaged.
    """
    if kind == "weights":
        return _weights(WeightsFolder.open(folder))
    if kind == "compare":
        return _comparison(CompareFolder.open(folder))
    return Growing()


def _weights(folder: WeightsFolder) -> Growing:
    found = Finished(of="matrices", done=len(folder.finished), wanted=len(folder.wanted))
    complete = (folder.path / HEADS).exists() and found.done == found.wanted
    if complete:
        return Growing(found)
    return Growing(found, {Path(HEADS).stem: lambda: [head_line(one) for one in folder.heads()]})


def _comparison(folder: CompareFolder) -> Growing:
    lines = [_cell_line(folder, cell) for cell in folder.cells]
    fitted = sum(line["fitted"] for line in lines)
    return Growing(Finished(of="cells", done=fitted, wanted=len(lines)), {"cells": lambda: lines})


def _cell_line(folder: CompareFolder, cell: GridCell) -> dict[str, Any]:
    begun = CompareFolder.present(folder.path / CELLS / cell.name)
    found = folder.cell(cell) if begun else None  # asking for others would begin them
    return {
        **cell.columns(),
        "fitted": found is not None and found.has("fit"),
        "measured": found is not None and found.has("measure"),
        "losses": found is not None and found.has("loss"),
        "steered": found is not None and found.steered is not None,
        "failed": None if found is None else found.failure,
    }
