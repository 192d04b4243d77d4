"""Measure shared neurons, reuse and flow on Gemma 3 270M; structure_page.py makes the page of it.

Every fit and every result is a resumable run below --folder, so that an interrupted study goes on.

    python benchmarks/structure_study.py            # about 20 minutes on 2 idle cores
    python benchmarks/structure_study.py --seeds 1 --causal 1 --layers 3 --draws 99   # a quick look
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import seven_days
from cofire import jobs
from cofire.cli.progress import TerminalProgress
from cofire.config import CaptureConfig, CoreConfig, FitConfig, FlowConfig, ReuseConfig
from cofire.report import write_core_page, write_flow_page, write_reuse_page
from cofire.site import parse_layers
from cofire.store import Run
from cofire.structure.members import best_of_each, concept_members

OUTPUT = Path(__file__).parent / "results" / "structure-study.json"
SPARSITIES = (0.05, 0.01)
CONCEPT = "weekday"
N_LAYERS = 18
LEAST_DAYS = 3
"""Days with a feature of their own from which a layer's core is looked at."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/structure-study"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", default="all", help="layers in which days are looked for")
    parser.add_argument("--causal", type=int, default=2, help="seeds with a causal table")
    parser.add_argument(
        "--causal-layers", type=int, default=3, help="layers tested a seed: those with most days"
    )
    parser.add_argument("--draws", type=int, default=199, help="draws of every null")
    parser.add_argument("--stack", default="3-5", help="layers factorised at once; empty for none")
    options = parser.parse_args()
    progress = TerminalProgress()
    result = {
        "machine": {"cores": os.cpu_count(), "system": platform.system()},
        "settings": {
            "seeds": options.seeds,
            "draws": options.draws,
            "k": 100,
            "sparsities": list(SPARSITIES),
        },
        **days(options, progress),
        **whole(options, progress),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(options.output)


def days(options: argparse.Namespace, progress: TerminalProgress) -> dict[str, Any]:
    """Which layers have features of single days, what those share, and what that does."""
    texts = options.folder / "days.jsonl"
    if not texts.exists():
        seven_days.write(texts)
    store = jobs.capture(
        CaptureConfig(
            data=str(texts),
            layers="all",
            store_dtype="float16",
            output=options.folder / "activations-days",
        ),
        progress,
    )
    every = parse_layers(options.layers, N_LAYERS)
    found: list[dict[str, Any]] = []
    causal: list[dict[str, Any]] = []
    for sparsity in SPARSITIES:
        layers = every
        if sparsity != SPARSITIES[0]:  # only where the larger groups told days apart
            layers = sorted({one["layer"] for one in found if len(one["days"]) >= LEAST_DAYS})
        for seed in range(options.seeds if layers else 0):
            run = jobs.fit(
                FitConfig(
                    activations=store.path,
                    layers=",".join(map(str, layers)),
                    sparsity=sparsity,
                    seed=seed,
                    n_contexts=4,
                    output=options.folder / f"days-s{sparsity}-seed{seed}",
                ),
                progress,
            )
            lines = [
                named_days(run, site.layer) | {"sparsity": sparsity, "seed": seed}
                for site in run.sites
            ]
            tested = []
            if seed < options.causal and sparsity == SPARSITIES[0]:
                tested = most_days(lines, options.causal_layers)
            for line in lines:
                if len(line["days"]) >= LEAST_DAYS:
                    with_model = line["layer"] in tested
                    parts = core_of(run, line["layer"], with_model, options, progress)
                    line["core"] = core_figures(parts)
                    if with_model:
                        kept = ("members", "amplified", "ablated")
                        about = {name: line[name] for name in ("layer", "sparsity", "seed", "core")}
                        causal.append(about | {name: parts[name] for name in kept})
                found.append(line)
                print(line, flush=True)
    return {
        "texts": {"texts": len(store.corpus), "rows": store.n_rows},
        "days": found,
        "causal": causal,
    }


def most_days(lines: Sequence[Mapping[str, Any]], n_layers: int) -> list[int]:
    """The layers where most days have a feature of their own, of equals the lower."""
    enough = [line for line in lines if len(line["days"]) >= LEAST_DAYS]
    enough.sort(key=lambda line: (-len(line["days"]), line["layer"]))
    return [line["layer"] for line in enough[:n_layers]]


def named_days(run: Run, layer: int) -> dict[str, Any]:
    """Features that stand for single days and for weekdays as a whole."""
    site = run.site_at(layer)
    members = concept_members(run.codes(site), run.tokens(site).text_id, run.corpus, CONCEPT)
    best = best_of_each([member for member in members if member.detail])
    return {
        "layer": layer,
        "days": {member.name: member.feature for member in best},
        "whole": [member.feature for member in members if not member.detail],
    }


def core_of(
    run: Run, layer: int, causal: bool, options: argparse.Namespace, progress: TerminalProgress
) -> Mapping[str, Any]:
    """What ``cofire core`` finds, with its page in the run's folder."""
    config = CoreConfig(
        run=run.path, layer=layer, concept=CONCEPT, draws=options.draws, causal=causal
    )
    file = jobs.core(config, progress)
    write_core_page(run, file)
    parts: Mapping[str, Any] = file.record["parts"]
    return parts


def core_figures(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of sharing that the page tells."""
    sharing = parts["sharing"]
    found = sharing["overlap"]
    n = len(sharing["features"])
    pairs = [(i, j) for i in range(n) for j in range(i)]
    return {
        "names": [member["name"] for member in parts["members"]],
        "neurons": [found["shared"][i][i] for i in range(n)],
        "shared": found["shared"],
        "p_reuse_corrected": found["p_reuse_corrected"],
        "needed": sharing["needed"],
        "size": len(sharing["core"]),
        "by_chance": sharing["core_by_chance"],
        "p": sharing["core_p_value"],
        "mixed": sharing["mixing"]["mixed"],
        "mean_shared": sum(found["shared"][i][j] for i, j in pairs) / len(pairs),
        "exclusive": {
            member["name"]: len(sharing["exclusive"][str(member["feature"])])
            for member in parts["members"]
        },
    }


def whole(options: argparse.Namespace, progress: TerminalProgress) -> dict[str, Any]:
    """Reuse in every layer and the flow over all of them, on the bundled sentences."""
    store = jobs.capture(
        CaptureConfig(layers="all", store_dtype="float16", output=options.folder / "activations"),
        progress,
    )
    run = jobs.fit(FitConfig(activations=store.path, output=options.folder / "features"), progress)
    reuse = jobs.reuse(ReuseConfig(run=run.path, draws=options.draws), progress)
    write_reuse_page(run, reuse)
    flow = jobs.flow(FlowConfig(run=run.path, concept=CONCEPT), progress)
    write_flow_page(run, flow)
    found = {
        "reuse": [reuse_figures(part) for part in reuse.record["parts"].values()],
        "flow": flow_figures(flow.record["parts"]),
    }
    if options.stack:
        stack = jobs.flow(FlowConfig(run=run.path, stack=options.stack), progress)
        write_flow_page(run, stack)
        parts = stack.record["parts"]
        found["stack"] = {
            "layers": parts["stacked"]["layers"],
            "spans": parts["stacked"]["spans"],
            "shuffled": parts["shuffled"]["spans"],
            "shares": [one["shares"] for one in parts["stacked"]["features"]],
            "labels": [one["label"] for one in parts["stacked"]["features"]],
        }
    return found


def reuse_figures(part: Mapping[str, Any]) -> dict[str, Any]:
    """One layer without what the page does not tell."""
    kept = ("layer", "degree_counts", "degree_expected", "comparisons", "mixing", "most_reused")
    histogram = ("shared_counts", "shared_expected", "shared_low", "shared_high")
    return {
        **{name: part[name] for name in (*kept, *histogram)},
        "families": part["communities"]["sizes"],
        "enrichment": [one for one in part["enrichment"] if one["p_corrected"] < 0.05],
    }


def flow_figures(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of every step, links by strength, and the features of the concept that are linked."""
    features = parts["features"]
    steps = []
    links = []
    for step in parts["flow"]["steps"]:
        steps.append(
            {
                **{
                    name: step[name]
                    for name in (
                        "lower",
                        "higher",
                        "null_quantile",
                        "counts",
                        "wired_share",
                        "wired_others",
                    )
                },
                "links": len(step["links"]),
                **{fate: step["fates"].count(fate) for fate in ("persists", "splits", "merges")},
                "dies": step["fates"].count("dies"),
                "born": step["origins"].count("born"),
                "heldout": [link["heldout"] for link in step["links"]],
                "correlations": [link["correlation"] for link in step["links"]],
            }
        )
        for link in step["links"]:
            lower = features[str(step["lower"])][link["lower"]]
            higher = features[str(step["higher"])][link["higher"]]
            if CONCEPT in (lower["concept"], higher["concept"]):
                links.append(
                    {
                        "from": [step["lower"], link["lower"], lower["label"], lower["concept"]],
                        "to": [step["higher"], link["higher"], higher["label"], higher["concept"]],
                        "correlation": link["correlation"],
                        "heldout": link["heldout"],
                        "cosine": link["cosine"],
                        "wired": link["wired"],
                    }
                )
    return {"settings": parts["flow"]["settings"], "steps": steps, CONCEPT: links}


if __name__ == "__main__":
    main()
