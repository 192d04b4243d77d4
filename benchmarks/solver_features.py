"""Cost of a sweep, memory and encoding against the number of features, on captured activations.

One line a number of features: seconds of a sweep (median), its floor (the two dense matrix products
over the data that any such method takes), the share of the machine's matrix-product ceiling that
the sweep reaches (all its operations, counted as if dense, against the rate of one large product),
private memory that the fit adds, plus the data, over the data in float32, and tokens a second that
``transform`` encodes against a dense linear encoder max(0, X W + b) of the same size.

    python benchmarks/solver_features.py --activations runs/wiki --rows 50000 --components 100 400
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch

from cofire.errors import ConvergenceWarning
from cofire.factorization import SemiNMF
from measuring import machine, median_seconds, private_memory, stored_rows, watched

CODE_SWEEPS, ATOM_SWEEPS = 2, 4  # of the default solver, for counting operations
CEILING_SIZE = 4096
MEMORY_SWEEPS = 14  # enough for a repair, which takes a sample of the rows


def ceiling() -> float:
    """Operations a second of a large float32 product."""
    A, B = torch.randn(CEILING_SIZE, CEILING_SIZE), torch.randn(CEILING_SIZE, CEILING_SIZE)
    return 2.0 * CEILING_SIZE**3 / median_seconds(lambda: A @ B, least=3)


def memory_of(k: int, options: argparse.Namespace) -> int:
    """Private bytes that a fit of k features adds in a process of its own, plus the data's."""
    command = [sys.executable, __file__, "--activations", str(options.activations)]
    command += ["--rows", str(options.rows), "--threads", str(options.threads)]
    done = subprocess.run([*command, "--memory-of", str(k)], stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


def measured_memory(options: argparse.Namespace) -> int:
    """See ``memory_of``, inside that process."""
    SemiNMF(2, max_iter=4, device="cpu").fit(torch.rand(300, 64))  # load what is loaded once
    X = stored_rows(options.activations, options.rows).X.float()
    base = private_memory() - 4 * X.numel()
    snmf = SemiNMF(options.memory_of, max_iter=MEMORY_SWEEPS, tol=0.0, device="cpu")
    with watched() as memory:
        snmf.fit(X)
    return memory.private - base


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, required=True, help="folder of cofire capture")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--components", type=int, nargs="+", default=[50, 100, 200, 400, 1000])
    parser.add_argument("--sweeps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    if options.memory_of:
        print(measured_memory(options))
        return
    X = stored_rows(options.activations, options.rows).X.float()
    n, d = X.shape
    peak = ceiling()
    results = []
    for k in options.components:
        D, C = torch.randn(k, d), torch.rand(k, n)
        floor = median_seconds(lambda D=D: D @ X.T, least=3)
        floor += median_seconds(lambda C=C: C @ X, least=3)
        dense = median_seconds(lambda D=D: torch.relu(X @ D.T + 1.0), least=3)
        del C
        gc.collect()
        stamps: list[float] = []
        snmf = SemiNMF(
            k,
            max_iter=options.sweeps,
            tol=0.0,
            device="cpu",
            callback=lambda record, stamps=stamps: stamps.append(time.perf_counter()),
        )
        began = time.perf_counter()
        snmf.fit(X)
        seconds = time.perf_counter() - began
        phases = [record.phase for record in snmf.history_]
        gaps = [
            b - a
            for a, b, phase in zip(stamps, stamps[1:], phases[1:], strict=False)
            if phase in ("penalised", "released")
        ]
        sweep = statistics.median(gaps)
        some = X[: min(n, 8192)]
        encode = median_seconds(lambda snmf=snmf, some=some: snmf.transform(some), least=3)
        products = 4.0 * n * d * k + 2.0 * n * k * k
        operations = products + CODE_SWEEPS * 2.0 * n * k * k + ATOM_SWEEPS * 2.0 * k * k * d
        results.append(
            {
                "components": k,
                "rows": n,
                "channels": d,
                "sweep_s": sweep,
                "floor_s": floor,
                "sweep_over_floor": sweep / floor,
                "share_of_ceiling": operations / sweep / peak,
                "fit_s": seconds,
                "private_over_data": memory_of(k, options) / (4.0 * n * d),
                "code_density": snmf.history_[-1].code_density,
                "relative_loss": snmf.relative_loss_,
                "transform_tokens_per_s": len(some) / encode,
                "dense_encoder_tokens_per_s": n / dense,
            }
        )
        last = results[-1]
        print(
            f"k={k:>5}: sweep {sweep:7.2f} s = {last['sweep_over_floor']:.2f} × floor, "
            f"{100 * last['share_of_ceiling']:.0f}% of {peak / 1e9:.0f} GFLOP/s; memory "
            f"{last['private_over_data']:.2f} × data; transform "
            f"{last['transform_tokens_per_s']:,.0f} tokens/s (dense encoder "
            f"{last['dense_encoder_tokens_per_s']:,.0f})",
            flush=True,
        )
        if options.output:
            report = {"machine": machine(), "ceiling_flops": peak, "results": results}
            options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
