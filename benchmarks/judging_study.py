"""Judge every method on Gemma 3 270M and write docs/results/judging.md.

Twelve ways to find features at layers 0, 5, 11 and 17, three seeds each, all with 100 features from
the same rows: reconstruction, replacement, detection, stability, and steering of 30 features a
method and layer (one seed); then SNMF at five sparsities at two of the layers; then, without
steering, SNMF with the freedoms of the SAE at two. Needs the extras `sae` and `embed`.

    python benchmarks/judging_study.py           # about an hour and a half on 2 cores; resumable
    python benchmarks/judging_study.py --quick   # one layer, four methods: a look in minutes
    python benchmarks/judging_study.py --page    # only write the page from what is there

Every stage of every cell is kept below --folder: after a kill the same command goes on. Processes
share the cells between them.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cofire import jobs
from cofire.cli.progress import TerminalProgress
from cofire.config import CompareConfig, SweepConfig
from cofire.report import write_compare_page
from cofire.store import CompareFolder
from judging_page import Folders, write_page

ROOT = Path(__file__).parents[1]

METHODS = (
    "snmf",
    "snmf:center=true",
    "snmf:solver=mu:max_iter=300",
    "sae-topk",
    "diffmeans",
    "pca",
    "ica",
    "nmf:max_iter=100",
    "kmeans",
    "neurons",
    "random",
    "permuted-snmf",
)
SPARSITIES = "0.005,0.01,0.02,0.05,0.1"
FREER_METHODS = (
    "snmf",
    "snmf:center=true",
    "snmf:code_penalty=0:max_active=20",
    "snmf:code_penalty=0:max_active=20:center=true",
    "sae-topk",
)
FREER: dict[str, Any] = {"seeds": 2, "steer": 0, "halves": 0}


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    layers: str
    methods: tuple[str, ...]
    k: str
    seeds: int
    sparsities: str
    swept_layers: str
    freer_layers: str
    freer_methods: tuple[str, ...]
    freer_sparsities: str
    common: dict[str, Any]


FULL = Size(
    layers="0,5,11,17",
    methods=METHODS,
    k="100",
    seeds=3,
    sparsities=SPARSITIES,
    swept_layers="5,11",
    freer_layers="11,17",
    freer_methods=FREER_METHODS,
    freer_sparsities="0.01,0.1,1",
    common={
        "loss_texts": 15,
        "steer": 30,
        "targets": "0.15,0.5",
        "samples": 2,
        "new_tokens": 16,
    },
)
QUICK = Size(
    layers="5",
    methods=("snmf", "diffmeans", "random", "permuted-snmf"),
    k="40",
    seeds=2,
    sparsities="0.01,0.05",
    swept_layers="5",
    freer_layers="5",
    freer_methods=FREER_METHODS,
    freer_sparsities="0.01,1",
    common={"loss_texts": 10, "steer": 2, "targets": "0.1,0.5", "samples": 2, "new_tokens": 10},
)


def main() -> None:
    """Run what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "judging")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "judging.md")
    parser.add_argument("--quick", action="store_true", help="a small study, same stages")
    parser.add_argument("--page", action="store_true", help="write the page only")
    parser.add_argument("--judge", choices=["sentences", "words"], default="sentences")
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--processes", type=int, default=2, help="with a thread each")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)  # whole processes gain more than threads within one
    size = QUICK if options.quick else FULL
    if options.worker:
        while not CompareFolder.present(options.folder / "methods"):
            time.sleep(1)
        run(size, options)
        return
    if options.page:
        folders = Folders(*(CompareFolder.open(options.folder / name) for name in Folders._fields))
    else:
        with workers(options.processes - 1):
            folders = run(size, options)
    write_page(folders, options.output)
    print(options.output)


@contextmanager
def workers(number: int) -> Iterator[None]:
    """Other processes with the same arguments, which take the cells that this one has not begun."""
    words = [sys.executable, *sys.argv, "--worker"]
    begun = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for _ in range(number)]
    try:
        yield
        for process in begun:
            process.wait()
    finally:
        for process in begun:
            process.terminate()


def run(size: Size, options: argparse.Namespace) -> Folders:
    """The comparison of methods, then on the same rows the sweep and SNMF with more freedom."""
    progress = TerminalProgress()
    common: dict[str, Any] = {
        **size.common,
        "k": size.k,
        "seeds": size.seeds,
        "judge": options.judge,
        "device": "cpu",
    }
    folder = jobs.compare(
        CompareConfig(
            model=options.model,
            layers=size.layers,
            methods=",".join(size.methods),
            output=options.folder / "methods",
            **common,
        ),
        progress,
    )
    write_compare_page(folder)
    sweep = jobs.sweep(
        SweepConfig(
            activations=folder.path / "activations",
            layers=size.swept_layers,
            methods="snmf",
            vary="sparsity",
            values=size.sparsities,
            output=options.folder / "sparsity",
            **common,
        ),
        progress,
    )
    write_compare_page(sweep)
    freer = jobs.compare(
        CompareConfig(
            activations=folder.path / "activations",
            layers=size.freer_layers,
            methods=",".join(size.freer_methods),
            output=options.folder / "freedom",
            **{**common, **FREER, "sparsity": size.freer_sparsities},
        ),
        progress,
    )
    write_compare_page(freer)
    return Folders(folder, sweep, freer)


if __name__ == "__main__":
    main()
