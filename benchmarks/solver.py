"""The default solver against the published algorithm: time to its best loss, final loss, recovery.

For every seed both run on the same rows from their own starts. "Times sooner" is the time of the
published algorithm to the best loss of its run, over the time of bcd to a loss as low, its start
included. The published time is the iteration of that loss times the median time of an iteration,
once as cofire's ``mu`` computes it (loss by Gram matrices) and once as published (the residual is
formed). Losses are ||X - C D||^2 / ||X||^2 in float64. The floor of a sweep is the two dense matrix
products over the data that any such method takes, the median of times before and after every fit.
What is loaded or compiled once in a process is done before any clock starts. With one thread, times
are processor seconds, so that other work on the machine does not count.

    python benchmarks/solver.py --activations layer9.npy --components 100 --seeds 0 1 2
    python benchmarks/solver.py --planted hard --components 100
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from cofire.errors import ConvergenceWarning
from cofire.factorization import SemiNMF
from cofire.factorization.constraints import keep_largest, kept_entries
from cofire.factorization.planted import plant, recovery
from measuring import median_seconds

PLANTED: dict[str, dict[str, float]] = {
    "easy": {"overlap": 0.0, "code_density": 0.05, "noise": 0.1},
    "hard": {"overlap": 0.5, "code_density": 0.1, "noise": 0.25, "power": 0.7},
}
CURVE_POINTS = 200
DUPLICATE_COSINE = 0.95


@dataclass
class SeedResult:
    """One seed of one method; ``recovered`` is the share of planted atoms with cosine > 0.9.

    ``curve`` is the loss over the seconds, thinned out.
    """

    method: str
    seed: int
    loss: float
    best_iteration: int
    seconds_to_best: float
    seconds_total: float
    seconds_per_sweep: float
    code_density: float
    times_sooner: float | None = None
    times_sooner_as_published: float | None = None
    recovered: float | None = None
    matched_cosine: float | None = None
    dead: int = 0
    duplicates: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)


def main() -> None:
    """Measure, print a table and optionally write the figures."""
    options = parse()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    X, truth = data(options)
    SemiNMF(2, max_iter=4, device="cpu").fit(torch.rand(300, 64))  # compiles what is compiled once
    machine = described()
    floors = [floor(X, options.components, clock)]  # a machine that others use changes its pace
    literal = published_iteration(X, options.components, options.sparsity, clock)
    results: list[SeedResult] = []
    atoms: dict[str, list[torch.Tensor]] = {"mu": [], "bcd": [], "bcd, penalty kept": []}
    for seed in options.seeds:
        mu = run(X, "mu", options, seed, clock, atoms, truth)
        results.append(mu)
        for name, penalty in (("bcd", 0.0), ("bcd, penalty kept", 0.03)):
            bcd = run(X, name, options, seed, clock, atoms, truth, penalty=penalty, target=mu.loss)
            if bcd.seconds_to_best < float("inf"):
                bcd.times_sooner = mu.seconds_to_best / bcd.seconds_to_best
                bcd.times_sooner_as_published = mu.best_iteration * literal / bcd.seconds_to_best
            results.append(bcd)
            floors.append(floor(X, options.components, clock))
    seconds = statistics.median(floors)
    machine |= {"floor_s": seconds, "gflops": 4e-9 * X.numel() * options.components / seconds}
    summary = summarise(results, atoms, machine, literal)
    report(X, options, machine, literal, summary)
    if options.output:
        options.output.write_text(
            json.dumps(
                {
                    "options": {
                        name: value.name if isinstance(value, Path) else str(value)
                        for name, value in vars(options).items()
                    },
                    "shape": list(X.shape),
                    "machine": machine,
                    "published_iteration_s": literal,
                    "summary": summary,
                    "runs": [asdict(result) for result in results],
                },
                indent=2,
            )
            + "\n"
        )


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, help="a matrix as .npy or .safetensors")
    parser.add_argument("--planted", choices=PLANTED, default="hard")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--channels", type=int, default=2048, help="of planted data")
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--sparsity", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--mu-iterations", type=int, default=500)
    parser.add_argument("--tol", type=float, help="of bcd")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="where to write JSON")
    return parser.parse_args()


def data(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Rows, and the atoms they are made of where those are known."""
    if options.activations is None:
        planted = plant(
            options.rows,
            options.channels,
            options.components,
            sparsity=options.sparsity,
            **PLANTED[options.planted],
        )
        return planted.X, planted.atoms
    if options.activations.suffix == ".npy":
        X = torch.from_numpy(np.load(options.activations, mmap_mode="c")[: options.rows])
    else:
        X = torch.cat(list(load_file(options.activations).values()))[: options.rows]
    return X.float().contiguous(), None


def described() -> dict[str, float | str | int]:
    """What the figures are measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }


def floor(X: torch.Tensor, k: int, clock: Callable[[], float]) -> float:
    """Seconds of two dense products of the data with k features."""
    D, C = torch.randn(k, X.shape[1]), torch.rand(k, X.shape[0])
    return median_seconds(lambda: D @ X.T, clock) + median_seconds(lambda: C @ X, clock)


def published_iteration(
    X: torch.Tensor, k: int, sparsity: float, clock: Callable[[], float]
) -> float:
    """Seconds of one iteration as published, residual and all, in the paper's orientation."""
    A, kept = X.T, kept_entries(sparsity, X.shape[1])
    Y = torch.rand(k, X.shape[0])

    def iterate() -> float:
        Z = torch.linalg.solve(Y @ Y.T + 1e-6 * torch.eye(k), Y @ A.T).T
        Z = keep_largest(Z.T.contiguous(), kept).T
        norms = Y.norm(dim=1)
        Z = Z * norms
        scaled = Y / norms[:, None]
        B, P = Z.T @ A, Z.T @ Z
        raising = B.clamp(min=0) + (-P).clamp(min=0) @ scaled
        lowering = (-B).clamp(min=0) + P.clamp(min=0) @ scaled + 1e-6
        Y.copy_(scaled * torch.sqrt(raising / lowering))
        return float((A - Z @ Y).square().sum())

    return median_seconds(iterate, clock, least=3)


def run(
    X: torch.Tensor,
    name: str,
    options: argparse.Namespace,
    seed: int,
    clock: Callable[[], float],
    atoms: dict[str, list[torch.Tensor]],
    truth: torch.Tensor | None,
    *,
    penalty: float | None = None,
    target: float | None = None,
) -> SeedResult:
    """Fit once; ``target`` is the loss that counts as reached (its own best for mu)."""
    stamps: list[float] = []
    began = clock()
    snmf = SemiNMF(
        options.components,
        sparsity=options.sparsity,
        solver=name.split(",")[0],
        code_penalty=penalty,
        max_iter=options.mu_iterations if name == "mu" else None,
        tol=None if name == "mu" else options.tol,
        random_state=seed,
        device="cpu",
        callback=lambda record: stamps.append(clock() - began),
    ).fit(X)
    total = clock() - began
    records = snmf.history_
    target = snmf.relative_loss_ * (1 + 1e-9) if target is None else target
    reached = [i for i, record in enumerate(records) if record.relative_loss <= target]
    steps = [
        (b - a) / max(1, after.iteration - before.iteration)
        for a, b, before, after in zip(stamps, stamps[1:], records, records[1:], strict=False)
        if after.phase not in ("repair", "final")
    ]
    per_sweep = statistics.median(steps)
    seconds = stamps[reached[0]] if reached else float("inf")
    iteration = records[reached[0]].iteration if reached else 0
    if name == "mu":
        seconds = iteration * per_sweep
    found = torch.from_numpy(snmf.components_)
    atoms[name].append(found)
    matched = None if truth is None else recovery(found, truth)
    cosines = (found @ found.T).fill_diagonal_(0.0)
    thin = max(1, len(stamps) // CURVE_POINTS)
    return SeedResult(
        method=name,
        seed=seed,
        loss=snmf.relative_loss_,
        best_iteration=iteration,
        seconds_to_best=seconds,
        seconds_total=total,
        seconds_per_sweep=per_sweep,
        code_density=records[-1].code_density,
        recovered=None if matched is None else float((matched > 0.9).float().mean()),
        matched_cosine=None if matched is None else float(matched.mean()),
        dead=int((found == 0).all(dim=1).sum()),
        duplicates=int((cosines.amax(dim=1) > DUPLICATE_COSINE).sum()),
        curve=[
            (second, record.relative_loss)
            for second, record in list(zip(stamps, records, strict=True))[::thin]
        ],
    )


def summarise(
    results: list[SeedResult],
    atoms: dict[str, list[torch.Tensor]],
    machine: dict[str, float | str | int],
    literal: float,
) -> dict[str, dict[str, float | None]]:
    """Medians over seeds for every method."""
    published = statistics.median(r.loss for r in results if r.method == "mu")
    summary = {}
    for name, found in atoms.items():
        runs = [result for result in results if result.method == name]
        matches = [
            float(recovery(found[j], found[i]).mean())
            for i in range(len(found))
            for j in range(i + 1, len(found))
        ]

        def middle(key: str, runs: list[SeedResult] = runs) -> float | None:
            values = [getattr(result, key) for result in runs]
            known = [value for value in values if value is not None]
            return statistics.median(known) if known else None

        loss = statistics.median(result.loss for result in runs)
        sweep = statistics.median(result.seconds_per_sweep for result in runs)
        summary[name] = {
            "loss": loss,
            "loss_over_published": loss / published,
            "times_sooner": middle("times_sooner"),
            "times_sooner_as_published": middle("times_sooner_as_published"),
            "sweep_over_floor": sweep / float(machine["floor_s"]),
            "seconds_total": middle("seconds_total"),
            "code_density": middle("code_density"),
            "recovered": middle("recovered"),
            "matched_cosine": middle("matched_cosine"),
            "dead": middle("dead"),
            "duplicates": middle("duplicates"),
            "seed_match": statistics.median(matches) if matches else None,
        }
    summary["mu"]["published_iteration_over_floor"] = literal / float(machine["floor_s"])
    return summary


def report(
    X: torch.Tensor,
    options: argparse.Namespace,
    machine: dict[str, float | str | int],
    literal: float,
    summary: dict[str, dict[str, float | None]],
) -> None:
    """A Markdown table."""
    source = options.activations or f"planted, {options.planted}"
    print(
        f"{source}: {X.shape[0]} rows × {X.shape[1]} channels, k = {options.components}, sparsity "
        f"{options.sparsity}, {len(options.seeds)} seeds, {options.mu_iterations} published "
        f"iterations\n"
        f"machine: {machine['gflops']:.0f} GFLOP/s float32 on {machine['threads']} of "
        f"{machine['cores']} cores (load {machine['load']}); floor of a sweep "
        f"{1e3 * float(machine['floor_s']):.0f} ms; published iteration {1e3 * literal:.0f} ms\n"
    )
    columns = {
        "loss": "loss",
        "loss_over_published": "over published",
        "times_sooner": "times sooner than mu",
        "times_sooner_as_published": "than as published",
        "sweep_over_floor": "sweep / floor",
        "seconds_total": "total s",
        "code_density": "codes > 0",
        "recovered": "recovered",
        "matched_cosine": "matched cosine",
        "dead": "dead",
        "duplicates": "duplicates",
        "seed_match": "seed match",
    }
    print("| method | " + " | ".join(columns.values()) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name, row in summary.items():
        cells = ["" if row[key] is None else f"{row[key]:.4g}" for key in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
