"""The page of ``cofire core``: shared neurons as a heat map, and what they do in the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cofire.interpret.wording import MISSING, figure
from cofire.report import facts
from cofire.report.heat import (
    Cell,
    HeatTable,
    Row,
    estimate_cell,
    heat,
    largest,
    p_text,
    signed,
)
from cofire.report.structure_page import write_structure_page
from cofire.site import Site
from cofire.store import Run
from cofire.store.structure_file import StructureFile, stored

_CORE_ROWS = 24  # core neurons drawn; the file has all
_SURE_P = 0.05


def write_core_page(run: Run, file: StructureFile) -> Path:
    """Write the page of a core result beside its JSON file.

    Raises:
        StoreError: when the file cannot be written.
    """
    record, parts = file.record, file.record["parts"]
    sharing = parts["sharing"]
    site = Site.parse(record["settings"]["site"])
    names = [str(member["name"]) for member in parts["members"]]
    core = sharing["core"]
    return write_structure_page(
        run,
        file,
        "core.html.j2",
        facts={
            "Where": facts.site_words([site]),
            "Layer": str(site.layer),
            "Features": str(len(names)),
            "Core share": f"{100 * sharing['share']:.3g}%",
            "Random draws": str(sharing["draws"]),
            "Seed": str(sharing["seed"]),
        },
        layer=site.layer,
        concept=record["settings"].get("concept"),
        members=_members(parts, sharing),
        left_out=[one["name"] for one in parts["left_out"]],
        core_size=len(core),
        needed=sharing["needed"],
        core_by_chance=sharing["core_by_chance"],
        core_p=sharing["core_p_value"],
        draws=sharing["draws"],
        mixed=sharing["mixing"]["mixed"],
        overlap=overlap_table(sharing, names),
        core_table=_core_table(sharing, names),
        core_more=max(0, len(core) - _CORE_ROWS),
        amplified=_amplified(parts.get("amplified")),
        ablated=_ablated(parts.get("ablated")),
    )


def core_sections(run: Run) -> list[dict[str, Any]]:
    """What the report shows of every core result that the run's folder holds."""
    found = []
    for file in stored(run, "core"):
        parts = file.record["parts"]
        if "sharing" not in parts:
            continue
        sharing = parts["sharing"]
        names = [str(member["name"]) for member in parts["members"]]
        found.append(
            {
                "site": file.record["settings"]["site"],
                "title": file.record["settings"].get("concept") or ", ".join(names),
                "members": len(names),
                "size": len(sharing["core"]),
                "needed": sharing["needed"],
                "by_chance": sharing["core_by_chance"],
                "p": sharing["core_p_value"],
                "page": f"{file.path.parent.name}/{file.path.stem}.html",
                "overlap": overlap_table(sharing, names),
            }
        )
    return found


def overlap_table(sharing: Mapping[str, Any], names: Sequence[str]) -> HeatTable:
    """Neurons shared pair by pair; a feature's own number on the diagonal."""
    found = sharing["overlap"]
    shared = found["shared"]
    most = largest([shared[i][j] for i in range(len(names)) for j in range(i)])
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, other in enumerate(names):
            if i == j:
                cells.append(Cell(str(shared[i][i]), f"{name}: {shared[i][i]} neurons", "own"))
                continue
            p = found["p_reuse_corrected"][i][j]
            title = (
                f"{name} and {other}: {shared[i][j]} shared, {found['opposed'][i][j]} with "
                f"opposite signs, Jaccard {figure(found['jaccard'][i][j], 2)}; against even draws "
                f"{p_text(found['p_uniform_corrected'][i][j])}, against draws that keep reuse "
                f"{p_text(p)} (both corrected)"
            )
            sure = p is not None and p < _SURE_P
            cells.append(Cell(str(shared[i][j]), title, heat(shared[i][j], most, sure=sure)))
        rows.append(Row(name, tuple(cells), title=f"feature {sharing['features'][i]}"))
    return HeatTable("", tuple(names), tuple(rows))


def _members(parts: Mapping[str, Any], sharing: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for i, member in enumerate(parts["members"]):
        feature = member["feature"]
        match = member["match"]
        found.append(
            {
                "feature": feature,
                "name": member["name"],
                "label": member["label"],
                "neurons": sharing["overlap"]["shared"][i][i],
                "core": sum(feature in one["members"] for one in sharing["core"]),
                "exclusive": len(sharing["exclusive"][str(feature)]),
                "auroc": None if match is None else match["auroc"],
            }
        )
    return found


def _core_table(sharing: Mapping[str, Any], names: Sequence[str]) -> HeatTable:
    rows = []
    shown = sharing["core"][:_CORE_ROWS]
    most = largest([weight for one in shown for weight in one["weights"]])
    for one in shown:
        weights = dict(zip(one["members"], one["weights"], strict=True))
        cells = []
        for feature, name in zip(sharing["features"], names, strict=True):
            weight = weights.get(feature)
            title = f"{name}: {'not held' if weight is None else signed(weight, 3)}"
            text = "" if weight is None else signed(weight)
            cells.append(Cell(text, title, heat(weight, most)))
        rows.append(Row(str(one["neuron"]), tuple(cells)))
    return HeatTable("neuron", tuple(names), tuple(rows))


def _amplified(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    most = largest([cell["value"] for row in record["rows"] for cell in row["cells"]])
    rows = []
    for row in record["rows"]:
        name = row["group"] if row["control"] is None else row["control"]
        what = row["group"] + ("" if row["control"] is None else f", {row['control']} control")
        cells = tuple(
            estimate_cell(cell, most, f"{what}, logit of {target}")
            for cell, target in zip(row["cells"], record["targets"], strict=True)
        )
        look = "group" if row["control"] is None else "control"
        neurons = f"{row['neurons']} neurons"
        rows.append(Row(f"{name} ({row['neurons']})", cells, look, neurons))
    figures = [one[k]["value"] for one in record["contrasts"] for k in ("found", "of_control")]
    contrasts = [
        Row(
            f"{one['name']}, beside {one['control']}",
            (
                *(
                    estimate_cell(one[key], largest(figures), one["name"])
                    for key in ("found", "of_control", "difference")
                ),
                Cell(MISSING if one["p_value"] is None else figure(one["p_value"], 2)),
            ),
        )
        for one in record["contrasts"]
    ]
    return {
        "table": HeatTable("amplified (neurons)", tuple(record["targets"]), tuple(rows)),
        "contrasts": HeatTable("", ("found", "control", "difference", "p"), tuple(contrasts)),
        "prompts": len(record["prompts"]),
        "kl": record["target_kl"],
    }


def _ablated(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    most = largest([row[k]["value"] for row in record["rows"] for k in ("own", "others")])
    rows = []
    for row in record["rows"]:
        what = row["what"] if row["control"] is None else row["control"]
        kl = row["kl"]["value"]
        cells = (
            estimate_cell(row["own"], most, "logit of the named member"),
            estimate_cell(row["others"], most, "logits of the others"),
            estimate_cell(row["apart"], most, "named member less the others"),
            Cell(MISSING if kl is None else figure(kl, 2), "KL, in nats"),
            *(Cell(MISSING if row[p] is None else figure(row[p], 2)) for p in ("p_own", "p_apart")),
        )
        look = "group" if row["control"] is None else "control"
        rows.append(Row(f"{what} ({row['neurons']:.3g})", cells, look))
    columns = ("named member", "others", "difference", "KL", "p, named", "p, difference")
    return {
        "table": HeatTable("held at the mean (neurons)", columns, tuple(rows)),
        "prompts": len(record["prompts"]) * len(record["targets"]),
        "recalled": record["recalled"],
    }
