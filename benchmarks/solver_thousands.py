"""Thousands of features from hundreds of thousands of tokens: one pass over a store.

The dictionary is learned with ``partial_fit``, a chunk at a time; the loss is that of every batch
before the atoms saw it, so it is the loss on new rows. Written after every chunk, so that a run
that is ended early has something to say.

    python benchmarks/solver_thousands.py --activations runs/wiki --components 4096 --keep FOLDER
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from cofire.errors import ConvergenceWarning
from cofire.factorization import SemiNMF
from measuring import finished_shards, machine, private_memory, watched

LAST_BATCHES = 10  # over which the loss and the density at the end are averaged
DUPLICATE_COSINE = 0.95


def main() -> None:
    """Stream once, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, required=True, help="folder of cofire capture")
    parser.add_argument("--components", type=int, nargs="+", default=[400, 1000, 4096])
    parser.add_argument("--chunk", type=int, default=8192, help="rows")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--keep", type=Path, help="folder for the dictionaries, for reading them")
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    SemiNMF(2, max_iter=4, device="cpu").fit(torch.rand(300, 64))  # load what is loaded once
    shards = finished_shards(options.activations)
    results: dict[int, dict[str, object]] = {}
    for k in options.components:
        before = private_memory()
        snmf = SemiNMF(k, device="cpu")
        rows = 0
        began = time.perf_counter()
        with watched() as memory:
            for shard in shards:
                for start in range(0, len(shard), options.chunk):
                    chunk = shard[start : start + options.chunk]
                    snmf.partial_fit(chunk)
                    if not rows:
                        first_s = time.perf_counter() - began
                    rows += len(chunk)
                    last = [r for r in snmf.history_ if r.phase == "stream"][-LAST_BATCHES:]
                    atoms = torch.from_numpy(snmf.components_)
                    cosines = (atoms @ atoms.T).fill_diagonal_(0.0)
                    results[k] = {
                        "components": k,
                        "rows": rows,
                        "seconds": time.perf_counter() - began,
                        "first_chunk_s": first_s,
                        "private_bytes": memory.private - before,
                        "loss_on_new_rows": _mean([r.relative_loss for r in last]),
                        "code_density": _mean([r.code_density for r in last]),
                        "active_a_row": k * (_mean([r.code_density for r in last]) or 0.0),
                        "dead": int((atoms == 0).all(dim=1).sum()),
                        "duplicates": int((cosines.amax(dim=1) > DUPLICATE_COSINE).sum()),
                    }
                    if options.output:
                        report = {"machine": machine(), "results": list(results.values())}
                        options.output.write_text(json.dumps(report, indent=2) + "\n")
                print(json.dumps(results[k]), flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            np.savez(options.keep / f"{k}.npz", atoms=snmf.components_, penalty=snmf.code_penalty_)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


if __name__ == "__main__":
    main()
