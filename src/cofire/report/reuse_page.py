"""The page of ``cofire reuse``: how often neurons are reused, and families of features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cofire.report import facts
from cofire.report.charts import HEIGHT, WIDTH
from cofire.report.reuse_charts import count_chart
from cofire.report.structure_page import write_structure_page
from cofire.site import Site
from cofire.store import Run
from cofire.store.structure_file import StructureFile

_NAMED_P = 0.05
_LABELS = 6  # features named of a family


def write_reuse_page(run: Run, file: StructureFile) -> Path:
    """Write the page of a reuse result beside its JSON file.

    Raises:
        StoreError: when the file cannot be written.
    """
    parts = file.record["parts"]
    layers = [_layer(part) for part in sorted(parts.values(), key=lambda one: one["layer"])]
    settings = file.record["settings"]
    return write_structure_page(
        run,
        file,
        "reuse.html.j2",
        facts={
            "Where": facts.site_words([Site.parse(name) for name in parts]),
            "Layers": ", ".join(str(layer["layer"]) for layer in layers),
            "Random draws": str(settings["draws"]),
            "Seed": str(settings["seed"]),
        },
        layers=layers,
        chart_size=(WIDTH, HEIGHT),
    )


def _layer(part: Mapping[str, Any]) -> dict[str, Any]:
    of, labels = part["communities"]["of"], part["labels"]
    families = []
    for number, size in enumerate(part["communities"]["sizes"]):
        if size < 2:
            continue
        named = [
            one
            for one in part["enrichment"]
            if one["community"] == number and one["p_corrected"] < _NAMED_P
        ]
        members = [i for i, community in enumerate(of) if community == number]
        families.append(
            {
                "size": size,
                "named": "; ".join(
                    f"{one['name']} ({one['both']} of {one['named']}, p {one['p_corrected']:.2g})"
                    for one in named
                ),
                "labels": " · ".join(labels[i] for i in members[:_LABELS]),
                "more": max(0, size - _LABELS),
            }
        )
    return {
        **part,
        "families": families,
        "alone": sum(size == 1 for size in part["communities"]["sizes"]),
        "charts": [
            count_chart(
                "Features a neuron serves",
                "features",
                "neurons",
                part["degree_counts"],
                part["degree_expected"],
            ),
            count_chart(
                "Neurons that pairs of features share",
                "neurons shared, with the same sign",
                "pairs",
                part["shared_counts"],
                part["shared_expected"],
                part["shared_low"],
                part["shared_high"],
            ),
        ],
    }
