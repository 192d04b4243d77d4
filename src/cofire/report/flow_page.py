"""The pages of ``cofire flow``: features from layer to layer, and layers factorised at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cofire.interpret.wording import MISSING
from cofire.report import facts
from cofire.report.heat import Cell, HeatTable, Row, heat
from cofire.report.sankey import drawn_links, picked_nodes, sankey
from cofire.report.structure_page import write_structure_page
from cofire.site import Site
from cofire.store import Run
from cofire.store.structure_file import StructureFile

_LINKS = 20  # told in words; the file has all

_SPREAD = 1.5
"""An atom spread over so many layers counts as spanning layers; of two layers, 2 is the most."""


def write_flow_page(run: Run, file: StructureFile) -> Path:
    """Write the page of a flow, or of stacked layers, beside its JSON file.

    Raises:
        StoreError: when the file cannot be written.
    """
    return _stack_page(run, file) if file.record["kind"] == "stack" else _flow_page(run, file)


def _flow_page(run: Run, file: StructureFile) -> Path:
    parts = file.record["parts"]
    flow, features, chosen = parts["flow"], parts["features"], parts.get("chosen")
    steps = flow["steps"]
    return write_structure_page(
        run,
        file,
        "flow.html.j2",
        facts={
            "Where": facts.site_words([s for s in run.sites if s.layer in flow["layers"]]),
            "Layers": ", ".join(str(layer) for layer in flow["layers"]),
            "Least correlation": f"{flow['settings']['correlation']:g}",
            "Confirmed held out": f"{100 * flow['settings']['confirmation']:g}% of it",
            "Seed": str(flow["settings"]["seed"]),
        },
        n_layers=len(flow["layers"]),
        concept=None if chosen is None else chosen["concept"],
        plot=sankey(steps, features, None if chosen is None else chosen["features"]),
        steps=[
            {
                **step,
                **{
                    name: (step["origins"] if name == "born" else step["fates"]).count(name)
                    for name in ("persists", "splits", "merges", "dies", "born")
                },
            }
            for step in steps
        ],
        links=_links(steps, features, None if chosen is None else chosen["features"]),
        sensitivity=_sensitivity(steps),
        wired=any(step["wired_share"] is not None for step in steps),
    )


def _links(
    steps: Sequence[Mapping[str, Any]],
    features: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: Mapping[str, Sequence[Mapping[str, Any]]] | None,
) -> list[dict[str, Any]]:
    """The strongest of the links that are drawn, for those who cannot point at them."""
    links = drawn_links(steps, picked_nodes(chosen))
    links.sort(key=lambda one: -one[2]["correlation"])
    return [
        {
            **link,
            "layers": f"{lower[0]} → {higher[0]}",
            "from": f"{lower[1]} {features[str(lower[0])][lower[1]]['label']}",
            "to": f"{higher[1]} {features[str(higher[0])][higher[1]]['label']}",
        }
        for lower, higher, link in links[:_LINKS]
    ]


def _sensitivity(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Counts at other least correlations, summed over the steps."""
    found = []
    for place in range(len(steps[0]["counts"])):
        line = {"correlation": steps[0]["counts"][place]["correlation"]}
        for name in ("links", "persists", "splits", "merges", "dies", "born"):
            line[name] = sum(step["counts"][place][name] for step in steps)
        found.append(line)
    return found


def _stack_page(run: Run, file: StructureFile) -> Path:
    parts, settings = file.record["parts"], file.record["settings"]
    stacked, shuffled = parts["stacked"], parts["shuffled"]
    spans = [span for span in stacked["spans"] if span is not None]
    by_chance = [span for span in shuffled["spans"] if span is not None]
    features = sorted(
        enumerate(stacked["features"]), key=lambda pair: -(stacked["spans"][pair[0]] or 0.0)
    )
    return write_structure_page(
        run,
        file,
        "stack.html.j2",
        facts={
            "Where": facts.site_words([Site.parse(name) for name in stacked["sites"]]),
            "Layers": ", ".join(str(layer) for layer in stacked["layers"]),
            "Features": str(settings["k"]),
            "Sparsity": f"{100 * settings['sparsity']:.3g}% of all neurons",
            "Seed": str(settings["seed"]),
        },
        layers=stacked["layers"],
        n_features=len(stacked["features"]),
        spanning=sum(span >= _SPREAD for span in spans),
        spanning_shuffled=sum(span >= _SPREAD for span in by_chance),
        spread=_SPREAD,
        mean_span=sum(spans) / len(spans) if spans else None,
        mean_shuffled=sum(by_chance) / len(by_chance) if by_chance else None,
        table=HeatTable(
            "feature",
            (*(f"layer {layer}" for layer in stacked["layers"]), "layers", "label"),
            tuple(_stack_row(number, one, stacked["spans"][number]) for number, one in features),
        ),
    )


def _stack_row(number: int, feature: Mapping[str, Any], span: float | None) -> Row:
    cells = []
    for share in feature["shares"]:
        shown = MISSING if share is None else f"{share:.2f}" if share >= 0.005 else ""
        cells.append(Cell(shown, "share of the atom's squared length", heat(share, 1.0)))
    spread = MISSING if span is None else f"{span:.1f}"
    return Row(str(number), (*cells, Cell(spread), Cell(feature["label"])))
