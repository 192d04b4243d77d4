"""Tables of a whole comparison, made from its finished cells: figures, tests between methods."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
import pyarrow as pa

from cofire.evaluation.bootstrap import RESAMPLES
from cofire.evaluation.grid import GridCell
from cofire.evaluation.grid_comparisons import GridComparison, compare_groups
from cofire.evaluation.grid_figures import CellRecord, Columns, GridFigure, group_figures
from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.evaluation.measurement import Estimate, estimate_record
from cofire.store.compare_folder import CellFolder, CompareFolder
from cofire.store.steering_tables import steered_features

RESULTS, COMPARISONS = "results", "comparisons"

_FEW_RESAMPLES = 100

_AXES = [
    ("method", pa.string()),
    ("layer", pa.int32()),
    ("k", pa.int32()),
    ("sparsity", pa.float64()),
]
_INTERVAL = [("low", pa.float64()), ("high", pa.float64())]
_NUMBERS = [("value", pa.float64()), *_INTERVAL, ("n", pa.int32()), ("missing", pa.int32())]

RESULT_SCHEMA = pa.schema(
    [
        *_AXES,
        ("seed", pa.int32()),  # null for all seeds together
        ("seeds", pa.int32()),
        ("measure", pa.string()),
        ("score", pa.string()),
        ("over", pa.string()),
        *_NUMBERS,
        ("unit", pa.string()),
        ("direction", pa.string()),
        ("note", pa.string()),
    ]
)
"""Columns of ``results``: a line a method, setting, measure and score, for all seeds together, and
a line without interval for each seed."""

COMPARISON_SCHEMA = pa.schema(
    [
        ("measure", pa.string()),
        ("score", pa.string()),
        ("layer", pa.int32()),
        *[(f"reference_{name}", kind) for name, kind in _AXES if name != "layer"],
        *[(name, kind) for name, kind in _AXES if name != "layer"],
        ("pairing", pa.string()),
        ("test", pa.string()),
        ("pairs", pa.int32()),
        ("reference_total", pa.int32()),
        ("reference_scored", pa.int32()),
        ("reference_missing", pa.int32()),
        ("total", pa.int32()),
        ("scored", pa.int32()),
        ("missing", pa.int32()),
        ("difference", pa.float64()),  # reference minus other
        *_INTERVAL,
        ("p_value", pa.float64()),
        ("corrected_p_value", pa.float64()),
        ("cliffs_delta", pa.float64()),
        ("cliffs_delta_low", pa.float64()),
        ("cliffs_delta_high", pa.float64()),
        ("standardised_difference", pa.float64()),
    ]
)
"""Columns of ``comparisons``: a line a test."""


def write_results(folder: CompareFolder, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
    """Write figures and tests of all finished cells, as Parquet and CSV.

    Args:
        folder: a comparison.
        resamples, seed: of the intervals.

    Raises:
        StoreError: when a cell is damaged, or the disk is full.
    """
    groups = cell_groups(folder)
    figures: list[dict[str, Any]] = []
    for group, records in groups.items():
        found = group_figures(records, resamples=resamples, seed=seed)
        figures += [_figure(group, None, len(records), one) for one in found]
        if len(records) > 1:
            for record in records:  # intervals of single seeds are not kept
                alone = group_figures([record], resamples=_FEW_RESAMPLES, seed=seed)
                figures += [_figure(group, record.cell.seed, 1, one) for one in alone]
    reference = folder.manifest.get("reference") or ""
    tests = compare_groups(groups, reference, resamples=resamples, seed=seed)
    _write(folder, RESULTS, figures, RESULT_SCHEMA)
    _write(folder, COMPARISONS, [_test(one) for one in tests], COMPARISON_SCHEMA)


def cell_groups(folder: CompareFolder) -> dict[GridCell, list[CellRecord]]:
    """The finished cells by method and setting, a record a seed, in the order of the plan."""
    groups: dict[GridCell, list[CellRecord]] = {}
    for cell in folder.cells:
        own = folder.cell(cell)
        if own.has("fit"):
            groups.setdefault(cell.group, []).append(read_cell(own))
    return groups


def read_cell(folder: CellFolder) -> CellRecord:
    """Everything that is kept of a cell with a dictionary.

    Raises:
        StoreError: when a file is missing or damaged.
    """
    measured, steer = folder.has("measure"), folder.steered
    steering: Mapping[str, Any] = {} if steer is None else folder.figures(steer)
    return CellRecord(
        cell=folder.cell,
        dictionary=folder.dictionary(),
        features=_columns(folder, "features") if measured else None,
        concepts=_columns(folder, "concepts") if measured else None,
        rows=_columns(folder, "rows") if measured and folder.holds("rows") else None,
        losses=_columns(folder, "losses") if folder.has("loss") else None,
        written=_columns(folder, "written") if folder.holds("written") else None,
        halves=_columns(folder, "halves") if folder.has("halves") else None,
        steered=()
        if steer is None
        else steered_features(
            {name: folder.table(name) for name in ("steering", "steering_cells", "continuations")}
        ),
        published=bool(steering.get("settings", {}).get("shared_strength")),
        effect_target=float(steering.get("effect_target", 0.0)),
        unsteered=tuple(steering.get("unsteered", ())),
        seconds=folder.figures("fit").get("seconds"),
    )


def _columns(folder: CellFolder, name: str) -> Columns:
    table = folder.table(name)
    return {
        column: np.asarray(table[column].to_pylist(), dtype=object)
        if pa.types.is_string(table.schema.field(column).type)
        else table[column].to_numpy()
        for column in table.column_names
    }


def _figure(group: GridCell, seed: int | None, seeds: int, one: GridFigure) -> dict[str, Any]:
    known = GRID_MEASURES[one.measure]
    return {
        **group.columns(),
        "seed": seed,
        "seeds": seeds,
        "measure": one.measure,
        "score": one.score,
        "over": one.over,
        **estimate_record(one.estimate),
        **({} if seed is None else {"low": None, "high": None}),
        "unit": known.unit,
        "direction": known.direction,
        "note": one.estimate.note,
    }


def _ends(found: Estimate, prefix: str = "") -> dict[str, Any]:
    ends = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    return dict(zip((f"{prefix}low", f"{prefix}high"), ends, strict=True))


def _test(one: GridComparison) -> dict[str, Any]:
    test = one.comparison
    reference, other = one.reference.columns(), one.other.columns()
    return {
        "measure": one.measure,
        "score": one.score,
        "layer": other["layer"],
        **{f"reference_{name}": reference[name] for name in ("method", "k", "sparsity")},
        **{name: other[name] for name in ("method", "k", "sparsity")},
        "pairing": test.pairing,
        "test": test.test,
        "pairs": test.pairs,
        "reference_total": test.count_first.total,
        "reference_scored": test.count_first.scored,
        "reference_missing": test.count_first.missing,
        "total": test.count_second.total,
        "scored": test.count_second.scored,
        "missing": test.count_second.missing,
        "difference": test.difference.value,
        **_ends(test.difference),
        "p_value": test.p_value,
        "corrected_p_value": test.corrected_p_value,
        "cliffs_delta": test.cliffs_delta.value,
        **_ends(test.cliffs_delta, "cliffs_delta_"),
        "standardised_difference": test.standardised_difference.value,
    }


def _write(
    folder: CompareFolder, name: str, records: Sequence[Mapping[str, Any]], schema: pa.Schema
) -> None:
    folder.write_table(f"{name}.parquet", pa.Table.from_pylist(list(records), schema=schema))
    folder.write_text(f"{name}.csv", _csv(records, schema.names))


def _csv(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
