"""ICA of each head in rank space against scikit-learn's FastICA on the dense matrix, at the same k.

Both see the columns of W_OV as samples, start from the same rotation and stop at the same change of
a component, so that they take the same steps: the same sources are found (matched |cosine|) and the
times compare the work. The time to get W_OV from its factors counts for scikit-learn, whitening for
both. scikit-learn's own stop rule asks for the largest change of any component, as ours does.

    python benchmarks/ica_heads.py --layers 0,5,9,17
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import FastICA

from cofire import load_model
from cofire.low_rank import LowRankMatrix
from cofire.matching import match_atoms
from cofire.models.weights import attention_shape, ov
from cofire.site import parse_layers
from cofire.weights.icasso import icasso, single_run
from cofire.weights.whitening import whitened
from measuring import machine

RESULT = Path(__file__).parent / "results" / "ica-heads.json"
MAX_ITER, TOL, RUNS = 300, 1e-4, 20


def compare(matrix: LowRankMatrix, k: int, repeats: int) -> dict[str, float | int | bool]:
    """One head both ways, best of some repeats, and 20 runs at once."""
    start = np.linalg.qr(np.random.default_rng(0).normal(size=(k, k)))[0]
    ours_seconds, theirs_seconds, many_seconds = [], [], []
    for _ in range(repeats):
        began = time.process_time()
        theirs = FastICA(
            k, whiten="unit-variance", max_iter=MAX_ITER, tol=TOL, w_init=start, random_state=0
        )
        sources = theirs.fit_transform(matrix.dense().T.numpy())
        theirs_seconds.append(time.process_time() - began)
        # Singular vectors have no sign of their own: the same start is the one that is turned.
        white = whitened(matrix, k, samples="columns")
        turned = np.sign((theirs.whitening_ * white.whiten.T.numpy()).sum(axis=1))
        began = time.process_time()
        ours = single_run(
            matrix, k, max_iter=MAX_ITER, tol=TOL, start=torch.from_numpy(start * turned).float()
        )
        ours_seconds.append(time.process_time() - began)
        began = time.process_time()
        icasso(matrix, k, restarts=RUNS, max_iter=MAX_ITER, tol=TOL)
        many_seconds.append(time.process_time() - began)
    centred = ours.codes - ours.codes.mean(dim=0)
    found = match_atoms(centred.T, torch.from_numpy(sources.T.copy()).float(), either_sign=True)
    return {
        "cosine_mean": float(found.cosine.mean()),
        "cosine_least": float(found.cosine.min()),
        "seconds": min(ours_seconds),
        "seconds_scikit_learn": min(theirs_seconds),
        "seconds_icasso": min(many_seconds),
        "steps": int(ours.record["n_iter"]),
        "steps_scikit_learn": int(theirs.n_iter_),
        "converged": bool(ours.converged.all()),
    }


def main() -> None:
    """Measure every head and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", default="all")
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model = load_model("gemma-3-270m")
    records = []
    for layer in parse_layers(options.layers, model.n_layers):
        for head in range(attention_shape(model, layer).n_heads):
            found = compare(ov(model, layer, head), options.k, options.repeats)
            records.append({"layer": layer, "head": head, **found})
            print(
                f"{layer}.{head}  |cos| {found['cosine_mean']:.4f} least "
                f"{found['cosine_least']:.4f}  {1e3 * found['seconds']:.0f} ms, scikit-learn "
                f"{1e3 * found['seconds_scikit_learn']:.0f} ms ({found['steps']} and "
                f"{found['steps_scikit_learn']} steps); {RUNS} runs "
                f"{1e3 * found['seconds_icasso']:.0f} ms",
                flush=True,
            )
    both = [r for r in records if r["converged"]]
    ratios = [r["seconds_scikit_learn"] / r["seconds"] for r in records]
    a_run = [RUNS * r["seconds_scikit_learn"] / r["seconds_icasso"] for r in records]
    result = {
        "machine": machine(),
        "k": options.k,
        "heads": len(records),
        "converged": len(both),
        "cosine_mean_where_converged": statistics.mean(r["cosine_mean"] for r in both)
        if both
        else None,
        "cosine_least_where_converged": min((r["cosine_least"] for r in both), default=None),
        "time_ratio_median": statistics.median(ratios),
        "time_ratio_least": min(ratios),
        "time_ratio_of_20_runs_median": statistics.median(a_run),
        "records": records,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(
        f"median time ratio {result['time_ratio_median']:.2f} for one run, "
        f"{result['time_ratio_of_20_runs_median']:.2f} a run for {RUNS}; converged "
        f"{len(both)} of {len(records)}, mean |cos| {result['cosine_mean_where_converged']}"
    )


if __name__ == "__main__":
    main()
