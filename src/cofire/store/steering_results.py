"""Steering results in a run's folder, and the lines that are kept while it is steered.

``steering/SITE/`` holds the three tables of `steering_tables`; the manifest says under ``added``
how they were made. Until all features that were asked for are done, each stands as one line of
``unfinished.jsonl`` there, which is only ever added to.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from cofire.appending import append_line
from cofire.errors import StoreError
from cofire.evaluation.steered import Steered, SteeredFeature
from cofire.evaluation.steering_records import SteeringSettings
from cofire.sampling import SamplingSettings
from cofire.site import Site
from cofire.store.run import Run
from cofire.store.steering_tables import SCHEMAS, steered_features, steering_tables

logger = logging.getLogger(__name__)

_CIRCUMSTANCE = ("batch_rows",)  # says how to compute, not what


def settings_record(settings: SteeringSettings, **further: Any) -> dict[str, Any]:
    """What decides steering results, as plain JSON values."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    for name in _CIRCUMSTANCE:
        del record[name]
    return {**record, **further}


def write_steering(run: Run, site: Site, steered: Steered, **further: Any) -> None:
    """Store results; earlier ones of the site are replaced, and unfinished lines removed.

    Args:
        run: the run.
        site: of the dictionary.
        steered: what came of it.
        further: more that decides the results, plain JSON values; ``read_steering`` gives it back.
    """
    record = {
        "settings": settings_record(steered.settings),
        "judge": steered.judge,
        "further": further,
    }
    run.add_tables(_folder(site), steering_tables(steered.features), record)
    UnfinishedSteering.of(run, site).remove()


def read_steering(run: Run, site: Site) -> tuple[Steered, Mapping[str, Any]] | None:
    """Stored results and what else decided them; None when the site was not steered.

    Raises:
        StoreError: when they are damaged or another version wrote them.
    """
    found = run.added_tables(_folder(site))
    if found is None:
        return None
    tables, record = found
    try:
        features = steered_features(tables)
        settings = _settings(record["settings"])
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"The steering results of {site} in {run.path} were written by another version of "
            "cofire; steer again with --again."
        ) from error
    return Steered(site.name, settings, record["judge"], features), record["further"]


class UnfinishedSteering:
    """Features that were steered but whose results are not stored yet: a line each.

    Args:
        folder: of the results, such as a cell's of a comparison.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "unfinished.jsonl"

    @classmethod
    def of(cls, run: Run, site: Site) -> "UnfinishedSteering":
        """Those of one site of a run."""
        return cls(Path(run.path) / _folder(site))

    def add(self, feature: SteeredFeature, settings: Mapping[str, Any]) -> None:
        """Keep one feature; it is on disk when this returns.

        Raises:
            StoreError: when the file cannot be written.
        """
        tables = {name: table.to_pylist() for name, table in steering_tables([feature]).items()}
        try:
            append_line(self.path, json.dumps({"settings": dict(settings), "tables": tables}))
        except OSError as error:
            raise StoreError(
                f"Cannot write {self.path}: {error.strerror or error}. What was steered before is "
                "kept; make room and run the same command again."
            ) from error

    def read(self, settings: Mapping[str, Any]) -> list[SteeredFeature]:
        """Features kept with these settings; a line cut short by a kill is passed over."""
        if not self.path.is_file():
            return []
        found: dict[int, SteeredFeature] = {}
        passed_over = 0
        for line in self.path.read_bytes().split(b"\n"):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if record["settings"] != settings:
                    continue
                tables = {
                    name: pa.Table.from_pylist(rows, schema=SCHEMAS[name])
                    for name, rows in record["tables"].items()
                }
                (one,) = steered_features(tables)
            except (ValueError, KeyError, TypeError):
                passed_over += 1
                continue
            found[one.feature] = one
        if passed_over:
            logger.warning("%s: %d lines cannot be read and are left out", self.path, passed_over)
        return list(found.values())

    def remove(self) -> None:
        """Forget what was kept."""
        self.path.unlink(missing_ok=True)


def _folder(site: Site) -> str:
    return f"steering/{site.name}"


def _settings(record: Mapping[str, Any]) -> SteeringSettings:
    lists = ("prompts", "targets", "signs")
    return SteeringSettings(
        **{
            **record,
            **{name: tuple(record[name]) for name in lists},
            "sampling": SamplingSettings(**record["sampling"]),
        }
    )
