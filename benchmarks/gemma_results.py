"""Measure the main job on Gemma 3 270M and write docs/results/gemma-3-270m.md.

Every fit is a resumable run below --folder, so an interrupted measurement goes on.

    python benchmarks/gemma_results.py            # about an hour on one core, nearly all of it `mu`
    python benchmarks/gemma_results.py --mu-iterations 100    # a quick look
"""

import argparse
from pathlib import Path

from cofire import jobs
from cofire.cli.progress import TerminalProgress
from cofire.config import CaptureConfig, FitConfig
from gemma_page import PENALTIES, SPARSITIES, Cell, write_page

LAYERS = "0,5,11,17"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/gemma-results"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/gemma-3-270m.md"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the default solver")
    parser.add_argument("--mu-seeds", type=int, default=1)
    parser.add_argument("--mu-iterations", type=int, default=500)
    options = parser.parse_args()
    progress = TerminalProgress()
    path = options.folder / "activations"
    store = jobs.capture(CaptureConfig(layers=LAYERS, output=path), progress)
    cells = [Cell("bcd", s, seed) for s in SPARSITIES for seed in range(options.seeds)]
    cells += [Cell("mu", s, seed) for s in SPARSITIES for seed in range(options.mu_seeds)]
    cells += [
        Cell("bcd", 0.01, seed, penalty) for penalty in PENALTIES for seed in range(options.seeds)
    ]
    runs = {}
    for cell in cells:
        config = FitConfig(
            activations=path,
            output=options.folder / cell.name,
            solver=cell.solver,
            sparsity=cell.sparsity,
            code_penalty=cell.penalty,
            seed=cell.seed,
            max_iter=options.mu_iterations if cell.solver == "mu" else None,
        )
        print(cell.name)
        runs[cell] = jobs.fit(config, progress)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    page = "\n".join(write_page(runs, store, options.mu_iterations)) + "\n"
    options.output.write_text(page, encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main()
