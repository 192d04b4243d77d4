"""Time and memory of a fit against the number of rows, from disk and from an iterable.

Every point runs in a process of its own, with the same number of sweeps, so that its memory is its
own and its time is that of the work, not of a stop rule. Memory is private (anonymous) memory over
what the process had before it opened the data; pages of files that the system may drop at any time
are not in it. Rows beyond those of the store are made as the fit asks for them: each the sum of two
captured rows with weights a and 1 - a, other ones every time round the store.

    python benchmarks/solver_scaling.py --activations runs/wiki --rows 25000 50000 100000 200000
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from cofire.errors import ConvergenceWarning
from cofire.factorization import SemiNMF
from cofire.rows_on_disk import Rows
from measuring import finished_shards, machine, private_memory, watched

CHUNK_ROWS = 16384


class Rounds:
    """``n_rows`` rows: those of the shards, then mixtures of them; the same every time."""

    def __init__(self, shards: list[Rows], n_rows: int) -> None:
        self.shards, self.n_rows = shards, n_rows

    def __iter__(self) -> Iterator[torch.Tensor]:
        left, turn = self.n_rows, 0
        while left > 0:
            generator = torch.Generator().manual_seed(turn)
            for shard in self.shards:
                for start in range(0, len(shard), CHUNK_ROWS):
                    rows = shard[start : start + CHUNK_ROWS][:left]
                    if turn:
                        share = torch.rand(len(rows), 1, generator=generator).to(rows.dtype)
                        other = torch.randperm(len(rows), generator=generator)
                        rows = torch.lerp(rows[other], rows, share)
                    yield rows
                    left -= len(rows)
                    if left <= 0:
                        return
            turn += 1


def measure(options: argparse.Namespace) -> dict[str, object]:
    """One fit, in this process."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(options.threads)
    SemiNMF(2, max_iter=4, device="cpu").fit(torch.rand(300, 64))  # load what is loaded once
    before = private_memory()
    shards = finished_shards(options.activations)
    captured = sum(len(shard) for shard in shards)
    stamps: list[float] = []
    snmf = SemiNMF(
        options.components,
        max_iter=options.sweeps,
        tol=0.0,
        device="cpu",
        callback=lambda record: stamps.append(time.perf_counter()),
    )
    n_rows = options.rows[0]
    rows = Rounds(shards, n_rows)
    with watched() as memory:
        began, work = time.perf_counter(), time.process_time()
        if options.method == "fit":
            snmf.fit(rows)
        else:
            for chunk in rows:
                snmf.partial_fit(chunk)
        seconds, work = time.perf_counter() - began, time.process_time() - work
    gaps = sorted(b - a for a, b in itertools.pairwise(stamps))
    return {
        "method": options.method,
        "rows": n_rows,
        "captured_rows": min(n_rows, captured),
        "channels": shards[0].shape[1],
        "components": options.components,
        "sweeps": options.sweeps if options.method == "fit" else 1,
        "seconds": seconds,
        "processor_seconds": work,
        "seconds_a_sweep": gaps[len(gaps) // 2] if options.method == "fit" else seconds,
        "private_bytes": memory.private - before,
        "data_bytes_float32": 4 * n_rows * shards[0].shape[1],
        "relative_loss": snmf.relative_loss_,
    }


def main() -> None:
    """Measure every point and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, required=True, help="folder of cofire capture")
    parser.add_argument("--rows", type=int, nargs="+", required=True)
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--sweeps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--method", choices=("fit", "partial_fit"))
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    if options.method:
        print(json.dumps(measure(options)))
        return
    results = []
    for method in ("fit", "partial_fit"):
        for n_rows in options.rows:
            command = [sys.executable, __file__, "--activations", str(options.activations)]
            command += ["--rows", str(n_rows), "--components", str(options.components)]
            command += ["--sweeps", str(options.sweeps), "--threads", str(options.threads)]
            done = subprocess.run(
                [*command, "--method", method], stdout=subprocess.PIPE, check=True
            )
            result = json.loads(done.stdout)
            results.append(result)
            print(
                f"{method:>12} {n_rows:>9,} rows: {result['seconds']:7.1f} s, "
                f"{1e6 * result['seconds_a_sweep'] / n_rows:6.2f} µs a row and sweep, "
                f"{result['private_bytes'] / 2**20:6.0f} MiB of its own",
                flush=True,
            )
            if options.output:
                report = {"machine": machine(), "results": results}
                options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
