"""A cost model of one sweep, checked against measurements, and what it says of a cluster.

Of n rows, d channels and k features on R processes a sweep of the default solver takes

    products   2 n d k (C^T X) + 2 n k^2 (C^T C) [+ 2 n d k (D X^T) where it is not gathered]
    codes      2 sweeps of 2 n k^2
    atoms      4 sweeps of 2 k^2 d, the same on every process; on CPUs 2 k^2 s d, where atoms keep
               a share s of the channels
    rows       n d numbers turned in memory, where D X^T is gathered
    network    8 (k d + k^2) + 4 k d bytes a process; a ring moves 2 (R - 1) / R of the sums

each divided by R where it is about rows, and by the rate at which the machine does that kind of
work. The rates of this machine are taken from the first and the last line of a
``solver_features.py`` result by least squares; the lines between and other row counts are then
foretold. The cluster is paper: its rates are stated, not measured.

    cd benchmarks/results
    python ../solver_cost.py --features solver-features.json --more solver-scaling.json
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

CODE_SWEEPS, ATOM_SWEEPS = 2, 4
SPARSITY = 0.01  # of all benchmarks whose results are read here


@dataclass(frozen=True)
class Sweep:
    """Amounts of work of one sweep on one process.

    ``entry_by_entry``: whether only the nonzero entries of atoms are touched, in D X^T and in the
    descent on atoms, as on CPUs.
    """

    rows: float
    channels: int
    features: int
    entry_by_entry: bool = True

    @property
    def product_flops(self) -> float:
        """Large matrix products."""
        n, d, k = self.rows, self.channels, self.features
        return 2 * n * d * k * (1 if self.entry_by_entry else 2) + 2 * n * k * k

    @property
    def descent_flops(self) -> float:
        """Coordinate descent on codes and atoms."""
        n, d, k = self.rows, self.channels, self.features
        entries = d * (SPARSITY if self.entry_by_entry else 1)
        return CODE_SWEEPS * 2 * n * k * k + ATOM_SWEEPS * 2 * k * k * entries

    @property
    def passes(self) -> float:
        """Numbers of X and C that are read or written outside products."""
        return self.rows * (self.channels + 8 * self.features)

    @property
    def network_bytes(self) -> float:
        """Bytes that a process hands over."""
        d, k = self.channels, self.features
        return 8 * (k * d + k * k) + 4 * k * d


@dataclass(frozen=True)
class Rates:
    """Seconds a unit of each kind of work."""

    product: float
    descent: float
    passing: float

    def seconds(self, sweep: Sweep) -> float:
        """Of one sweep, network left out."""
        return (
            self.product * sweep.product_flops
            + self.descent * sweep.descent_flops
            + self.passing * sweep.passes
        )


def fitted(lines: list[dict[str, float]]) -> Rates:
    """Rates >= 0 that explain some measured sweeps, relative errors alike."""
    sweeps = [Sweep(x["rows"], int(x["channels"]), int(x["components"])) for x in lines]
    work = np.array([[s.product_flops, s.descent_flops, s.passes] for s in sweeps])
    seconds = np.array([x["sweep_s"] for x in lines])
    relative = work / seconds[:, None]
    scale = relative.max(axis=0)
    found, _ = nnls(relative / scale, np.ones(len(lines)))
    return Rates(*(found / scale))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True, help="of solver_features.py")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="results to foretell")
    parser.add_argument("--tflops", type=float, default=400, help="of one GPU, products, 16 bit")
    parser.add_argument("--descent-tflops", type=float, default=100, help="of one GPU, descent")
    parser.add_argument("--network-gbytes", type=float, default=40, help="a second and GPU")
    parser.add_argument("--disk-gbytes", type=float, default=2, help="a second and GPU")
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    lines = json.loads(options.features.read_text())["results"]
    known = [lines[0], lines[len(lines) // 2], lines[-1]]
    rates = fitted(known)
    for path in options.more:
        more = json.loads(path.read_text())["results"]
        lines += [line for line in more if line.get("method") != "partial_fit"]
    checked = []
    print("| rows | features | measured s | model s | model / measured | |")
    print("| ---: | ---: | ---: | ---: | ---: | --- |")
    for line in lines:
        n, k = int(line["rows"]), int(line["components"])
        seconds = rates.seconds(Sweep(n, int(line["channels"]), k))
        measured = line.get("sweep_s", line.get("seconds_a_sweep"))
        use = "fitted" if line in known else "foretold"
        print(
            f"| {n:,} | {k} | {measured:.3f} | {seconds:.3f} | {seconds / measured:.2f} | {use} |"
        )
        checked.append({"rows": n, "components": k, "measured": measured, "model": seconds})
    n, d, k = 1_000_000_000, 14_336, 16_384
    print(f"\n{n:,} tokens × {d:,} neurons × {k:,} features, one sweep, on paper")
    print("| GPUs | products s | descent s | network s | disk s | GB over the network a GPU |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    cluster = []
    for gpus in (8, 32, 64, 128, 256, 512):
        sweep = Sweep(n / gpus, d, k, entry_by_entry=False)
        products = sweep.product_flops / (1e12 * options.tflops)
        descent = sweep.descent_flops / (1e12 * options.descent_tflops)
        network = 2 * (gpus - 1) / gpus * sweep.network_bytes / (1e9 * options.network_gbytes)
        disk = 2 * n * d / gpus / (1e9 * options.disk_gbytes)
        print(
            f"| {gpus} | {products:,.0f} | {descent:,.0f} | {network:.2f} | {disk:,.0f} | "
            f"{sweep.network_bytes / 1e9:.1f} |"
        )
        cluster.append(
            {
                "gpus": gpus,
                "products_s": products,
                "descent_s": descent,
                "network_s": network,
                "disk_s": disk,
                "network_bytes": sweep.network_bytes,
            }
        )
    if options.output:
        report = {"rates": vars(rates), "checked": checked, "cluster": cluster}
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
