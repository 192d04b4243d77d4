"""Weak scaling: N processes, each with its own rows, one thread each (torch.distributed, gloo).

Every process fits the same number of rows, so that with perfect scaling a sweep takes as long with
N processes as with one. More processes than cores can only share them: that line shows what the
reductions cost, not how the method scales. Bytes are those a process hands over in one sweep: C^T X
and C^T C in float64, the atoms in float32.

    python benchmarks/solver_ranks.py --activations runs/wiki --rows-each 40000 --processes 1 2
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from cofire.errors import ConvergenceWarning
from cofire.factorization import SemiNMF
from measuring import machine, stored_rows


def measure(options: argparse.Namespace) -> None:
    """One process of a fit."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    rows = np.arange(rank * options.rows_each, (rank + 1) * options.rows_each)
    X = stored_rows(options.activations).take(rows).X.float()
    stamps: list[float] = []
    snmf = SemiNMF(
        options.components,
        max_iter=options.sweeps,
        tol=0.0,
        distributed=True,
        device="cpu",
        callback=lambda record: stamps.append(time.perf_counter()),
    ).fit(X)
    gaps = [
        b - a
        for (a, b), record in zip(pairwise(stamps), snmf.history_[1:], strict=True)
        if record.phase in ("penalised", "released")
    ]
    if rank == 0:
        k, d = snmf.components_.shape
        result = {
            "processes": dist.get_world_size(),
            "rows_each": options.rows_each,
            "components": k,
            "sweep_s": statistics.median(gaps),
            "bytes_a_sweep": 8 * k * (d + k) + 4 * k * d,
            "relative_loss": snmf.relative_loss_,
        }
        options.result.write_text(json.dumps(result))
    dist.destroy_process_group()


def main() -> None:
    """Measure every number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, required=True, help="folder of cofire capture")
    parser.add_argument("--rows-each", type=int, default=40_000)
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--sweeps", type=int, default=10)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    if options.result:
        measure(options)
        return
    results = []
    scratch = Path(os.environ.get("TMPDIR", "/tmp")) / f"solver-ranks-{os.getpid()}.json"
    for processes in options.processes:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(processes), __file__]
        command += ["--activations", str(options.activations), "--result", str(scratch)]
        command += ["--rows-each", str(options.rows_each), "--sweeps", str(options.sweeps)]
        command += ["--components", str(options.components)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        results.append(json.loads(scratch.read_text()))
        scratch.unlink()
        one, last = results[0], results[-1]
        print(
            f"{processes} processes × {options.rows_each:,} rows: sweep {last['sweep_s']:.3f} s, "
            f"efficiency {one['sweep_s'] / last['sweep_s']:.2f}, "
            f"{last['bytes_a_sweep'] / 2**20:.1f} MiB a process and sweep",
            flush=True,
        )
        if options.output:
            report = {"machine": machine(), "results": results}
            options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
