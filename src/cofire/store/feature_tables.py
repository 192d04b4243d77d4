"""Features as Parquet tables that any reader of Parquet can use without cofire."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from cofire.evaluation.fidelity import Fidelity
from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.contexts import Context
from cofire.interpret.reading import Feature, FeatureSet
from cofire.interpret.vocabulary import TokenWeight, VocabularyProjection
from cofire.site import Site

# Columns of "features" that stand in a Feature under the same name.
_PLAIN = (
    "label",
    "density",
    "max_code",
    "dead",
    "duplicate",
    "one_token",
    "nearest",
    "nearest_cosine",
)
_TOKEN_COUNT = pa.struct([("token", pa.string()), ("count", pa.int64())])

SCHEMAS: dict[str, pa.Schema] = {
    "features": pa.schema(
        [
            ("feature", pa.int32()),
            ("label", pa.string()),
            ("concept", pa.string()),
            ("auroc", pa.float64()),
            ("auroc_low", pa.float64()),
            ("auroc_high", pa.float64()),
            ("p_value", pa.float64()),
            ("auroc_train", pa.float64()),
            ("n_positive", pa.int32()),
            ("n_negative", pa.int32()),
            ("precision", pa.float64()),
            ("density", pa.float64()),
            ("max_code", pa.float64()),
            ("dead", pa.bool_()),
            ("duplicate", pa.bool_()),
            ("one_token", pa.bool_()),
            ("nearest", pa.int32()),
            ("nearest_cosine", pa.float64()),
            ("firing_types", pa.list_(_TOKEN_COUNT)),
        ]
    ),
    "contexts": pa.schema(
        [
            ("feature", pa.int32()),
            ("rank", pa.int32()),
            ("quantile", pa.float64()),
            ("code", pa.float64()),
            ("row", pa.int64()),
            ("text_id", pa.int32()),
            ("label", pa.string()),
            ("focus", pa.int32()),
            ("tokens", pa.list_(pa.string())),
            ("codes", pa.list_(pa.float32())),
        ]
    ),
    "neurons": pa.schema(
        [("feature", pa.int32()), ("neuron", pa.int32()), ("weight", pa.float32())]
    ),
    "vocabulary": pa.schema(
        [
            ("feature", pa.int32()),
            ("side", pa.string()),
            ("rank", pa.int32()),
            ("token_id", pa.int32()),
            ("token", pa.string()),
            ("logit", pa.float32()),
        ]
    ),
    "concepts": pa.schema(
        [
            ("feature", pa.int32()),
            ("concept", pa.string()),
            ("auroc_train", pa.float64()),
            ("auroc_heldout", pa.float64()),
        ]
    ),
}


def to_tables(features: FeatureSet) -> dict[str, pa.Table]:
    """The five tables of one feature set, keyed by name (``SCHEMAS`` lists their columns)."""
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    for feature in features:
        number = {"feature": feature.index}
        match = feature.concept
        interval = match.interval if match is not None and match.interval else (None, None)
        records["features"].append(
            {
                **number,
                **{name: getattr(feature, name) for name in _PLAIN},
                **({} if match is None else asdict(match)),
                "auroc_low": interval[0],
                "auroc_high": interval[1],
                "firing_types": [
                    {"token": name, "count": count} for name, count in feature.firing_types
                ],
            }
        )
        for contexts in (feature.contexts, feature.quantile_contexts):
            records["contexts"] += [
                {**number, "rank": rank, **vars(context)} for rank, context in enumerate(contexts)
            ]
        records["neurons"] += [
            {**number, "neuron": neuron, "weight": weight} for neuron, weight in feature.neurons
        ]
        if feature.vocabulary is not None:
            for side in ("promoted", "demoted"):
                records["vocabulary"] += [
                    {**number, "side": side, "rank": rank, **vars(weight)}
                    for rank, weight in enumerate(getattr(feature.vocabulary, side))
                ]
        records["concepts"] += [
            {**number, "concept": name, "auroc_train": train, "auroc_heldout": heldout}
            for name, train, heldout in feature.concept_scores
        ]
    return {
        name: pa.Table.from_pylist(rows, schema=SCHEMAS[name]) for name, rows in records.items()
    }


def from_tables(
    tables: Mapping[str, pa.Table], site: Site, fit: Fidelity, heldout: Fidelity | None
) -> FeatureSet:
    """Put a feature set together from its tables."""
    rows = {name: _by_feature(table) for name, table in tables.items() if name != "features"}
    return FeatureSet(
        features=tuple(
            _feature(
                record, {name: found.get(record["feature"], []) for name, found in rows.items()}
            )
            for record in tables["features"].to_pylist()
        ),
        site=site,
        fit=fit,
        heldout=heldout,
    )


def _by_feature(table: pa.Table) -> dict[int, list[dict[str, Any]]]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for record in table.to_pylist():
        grouped.setdefault(record.pop("feature"), []).append(record)
    return grouped


def _feature(record: dict[str, Any], rows: Mapping[str, list[dict[str, Any]]]) -> Feature:
    contexts = [_context(row) for row in rows["contexts"]]
    return Feature(
        index=record["feature"],
        concept=_match(record),
        concept_scores=tuple(
            (row["concept"], row["auroc_train"], row["auroc_heldout"]) for row in rows["concepts"]
        ),
        contexts=tuple(context for context in contexts if context.quantile is None),
        quantile_contexts=tuple(context for context in contexts if context.quantile is not None),
        neurons=tuple((row["neuron"], row["weight"]) for row in rows["neurons"]),
        vocabulary=_projection(rows["vocabulary"]),
        firing_types=tuple((item["token"], item["count"]) for item in record["firing_types"]),
        **{name: record[name] for name in _PLAIN},
    )


def _match(record: Mapping[str, Any]) -> ConceptMatch | None:
    if record["concept"] is None:
        return None
    known = record["auroc"] is not None
    names = ("concept", "auroc_train", "auroc", "p_value", "n_positive", "n_negative", "precision")
    return ConceptMatch(
        interval=(record["auroc_low"], record["auroc_high"]) if known else None,
        **{name: record[name] for name in names},
    )


def _context(row: dict[str, Any]) -> Context:
    del row["rank"]
    return Context(**{**row, "tokens": tuple(row["tokens"]), "codes": tuple(row["codes"])})


def _projection(rows: list[dict[str, Any]]) -> VocabularyProjection | None:
    if not rows:
        return None

    def side(name: str) -> tuple[TokenWeight, ...]:
        return tuple(
            TokenWeight(row["token_id"], row["token"], row["logit"])
            for row in rows
            if row["side"] == name
        )

    return VocabularyProjection(promoted=side("promoted"), demoted=side("demoted"))
