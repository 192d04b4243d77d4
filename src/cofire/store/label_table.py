"""Labels that a language model gave the features of a run, beside the offline ones."""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from cofire.interpret.llm_labels import FeatureLabel
from cofire.site import Site
from cofire.store.run import Run

_TABLE = "labels"

SCHEMA = pa.schema(
    [
        ("feature", pa.int32()),
        ("kind", pa.string()),
        ("label", pa.string()),
        ("problem", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
    ]
)
"""Columns of ``labels/SITE/labels.parquet``; a missing label is null and ``problem`` says why."""


def write_labels(run: Run, site: Site, labels: Sequence[FeatureLabel], *, model: str) -> None:
    """Store labels; those of the same feature and kind are replaced, others stay.

    Args:
        run: the run.
        site: of the features.
        labels: what was written.
        model: name of the model that wrote them.
    """
    kept = {(one.feature, one.kind): one for one in read_labels(run, site)}
    kept |= {(one.feature, one.kind): one for one in labels}
    ordered = [asdict(kept[key]) for key in sorted(kept)]
    table = pa.Table.from_pylist(ordered, schema=SCHEMA)
    run.add_tables(_folder(site), {_TABLE: table}, {"model": model})


def read_labels(run: Run, site: Site) -> list[FeatureLabel]:
    """Labels of one site, feature by feature; empty when none were written.

    Raises:
        StoreError: when they are damaged.
    """
    found = run.added_tables(_folder(site))
    if found is None:
        return []
    return [FeatureLabel(**record) for record in found[0][_TABLE].to_pylist()]


def _folder(site: Site) -> str:
    return f"labels/{site.name}"
