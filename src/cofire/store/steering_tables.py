"""What steering left as Parquet tables that any reader of Parquet can use without cofire."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.judging import Judgement
from cofire.evaluation.steered import SteeredCell, SteeredFeature, SteeredText
from cofire.evaluation.steering_records import Promotion, SteeringCell

_CELL = [
    ("feature", pa.int32()),
    ("control", pa.int32()),  # number of the null direction; null for the feature itself
    ("sign", pa.int8()),
    ("target_kl", pa.float64()),
    ("prompt", pa.int32()),
]
_KEY = tuple(name for name, _ in _CELL)

SCHEMAS: dict[str, pa.Schema] = {
    "steering": pa.schema(
        [
            ("feature", pa.int32()),
            ("label", pa.string()),
            ("words", pa.list_(pa.string())),
            ("promoted", pa.list_(pa.int32())),
            ("score", pa.float64()),
            ("chosen_sign", pa.int8()),
            ("chosen_kl", pa.float64()),
            ("scored", pa.int32()),
            ("best", pa.float64()),
            ("missing", pa.int32()),
            ("texts", pa.int32()),
            ("unreached", pa.int32()),
        ]
    ),
    "steering_cells": pa.schema(
        [
            *_CELL,
            ("alpha", pa.float64()),
            ("reached_kl", pa.float64()),
            ("status", pa.string()),
            ("n_tokens", pa.int32()),  # null when no promotion was measured
            ("logit_shift", pa.float64()),
            ("log_probability_change", pa.float64()),
            ("kl_efficiency", pa.float64()),
        ]
    ),
    "continuations": pa.schema(
        [
            *_CELL,
            ("sample", pa.int32()),
            ("text", pa.string()),
            ("ended", pa.bool_()),
            ("seed", pa.int64()),
            ("log_likelihood", pa.float64()),
            ("judged", pa.bool_()),
            ("concept", pa.float64()),
            ("fluency", pa.float64()),
            ("problems", pa.list_(pa.string())),
        ]
    ),
}
"""Columns of the three tables; a line a feature, a cell, a continuation."""

_PROMOTION = ("n_tokens", "logit_shift", "log_probability_change", "kl_efficiency")


def steering_tables(features: Sequence[SteeredFeature]) -> dict[str, pa.Table]:
    """The three tables of steered features, keyed by name; ``steered_features`` takes them back."""
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    for one in features:
        choice = one.choice
        records["steering"].append(
            {
                **asdict(one.about),
                "score": one.score,
                "chosen_sign": None if choice is None else choice.sign,
                "chosen_kl": None if choice is None else choice.target_kl,
                "scored": 0 if choice is None else choice.scored,
                "best": one.best,
                "missing": one.missing,
                "texts": one.n_texts,
                "unreached": one.unreached,
            }
        )
        for control, cells in ((False, one.cells), (True, one.controls)):
            for cell in cells:
                key = {
                    **{name: getattr(cell.cell, name) for name in _KEY if name != "control"},
                    "feature": one.feature,
                    "control": cell.cell.feature if control else None,
                }
                records["steering_cells"].append({**key, **_cell_record(cell)})
                records["continuations"] += [{**key, **_text_record(t)} for t in cell.texts]
    return {
        name: pa.Table.from_pylist(rows, schema=SCHEMAS[name]) for name, rows in records.items()
    }


def steered_features(tables: Mapping[str, pa.Table]) -> tuple[SteeredFeature, ...]:
    """Put steered features together from their tables."""
    texts: dict[tuple[Any, ...], list[SteeredText]] = {}
    for row in tables["continuations"].to_pylist():
        texts.setdefault(tuple(row[name] for name in _KEY), []).append(_text(row))
    cells: dict[tuple[int, bool], list[SteeredCell]] = {}
    for row in tables["steering_cells"].to_pylist():
        found = texts.get(tuple(row[name] for name in _KEY), [])
        place = row["feature"], row["control"] is not None
        cells.setdefault(place, []).append(_cell(row, tuple(found)))
    return tuple(
        SteeredFeature(
            DescribedFeature(
                row["feature"], row["label"], tuple(row["words"]), tuple(row["promoted"])
            ),
            tuple(cells.get((row["feature"], False), [])),
            tuple(cells.get((row["feature"], True), [])),
        )
        for row in tables["steering"].to_pylist()
    )


def _cell_record(one: SteeredCell) -> dict[str, Any]:
    cell, promotion = one.cell, one.promotion
    return {
        "alpha": cell.alpha,
        "reached_kl": cell.reached_kl,
        "status": cell.status,
        **({} if promotion is None else {name: getattr(promotion, name) for name in _PROMOTION}),
    }


def _text_record(text: SteeredText) -> dict[str, Any]:
    record = asdict(text)
    judgement = record.pop("judgement")
    return {**record, "judged": judgement is not None, **(judgement or {})}


def _cell(row: Mapping[str, Any], texts: tuple[SteeredText, ...]) -> SteeredCell:
    cell = SteeringCell(
        row["feature"] if row["control"] is None else row["control"],
        *(row[n] for n in ("sign", "target_kl", "prompt", "alpha", "reached_kl", "status")),
    )
    promotion = (
        None
        if row["n_tokens"] is None
        else Promotion(cell, **{name: row[name] for name in _PROMOTION})
    )
    return SteeredCell(cell, promotion, texts)


def _text(row: Mapping[str, Any]) -> SteeredText:
    judgement = (
        Judgement(row["concept"], row["fluency"], tuple(row["problems"])) if row["judged"] else None
    )
    names = ("sample", "text", "ended", "seed", "log_likelihood")
    return SteeredText(**{name: row[name] for name in names}, judgement=judgement)
