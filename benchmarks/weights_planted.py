"""Which structure the verdict names on planted weight matrices, and which method finds it.

Limits of the verdict were chosen on seeds 100 to 119; the table is of seeds 0 to 19. Every kind of
structure is drawn with two amounts of noise and examined at the right number of components and at
one half more.

    python benchmarks/weights_planted.py
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import torch

from cofire.weights.decompositions import METHODS
from cofire.weights.examination import Settings, examine
from cofire.weights.planted import STRUCTURES, plant_weights, recovered
from cofire.weights.verdict import verdict
from measuring import machine

RESULT = Path(__file__).parent / "results" / "weights-planted.json"
PLANTED = 8
CASES = ((0.05, 8), (0.05, 12), (0.5, 8))  # noise, components asked for
ANSWERS = (
    "independent",
    "nonnegative",
    "orthogonal",
    "none",
    "undecided",
    "independent and nonnegative",
)


def measure(structure: str, noise: float, k: int, seeds: range) -> dict[str, object]:
    """Verdicts and recoveries of one kind of matrix."""
    answers: Counter[str] = Counter()
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    patterns: dict[str, Counter[str]] = {}
    for seed in seeds:
        planted = plant_weights(structure, noise=noise, seed=seed)
        examined = examine(planted.matrix, Settings(n_components=k))
        decided = verdict(examined.evidence)
        answers[decided.structure] += 1
        for pattern in decided.patterns:
            patterns.setdefault(pattern.name, Counter())[pattern.answer] += 1
        if planted.mixing is not None:
            for method, made in examined.decompositions.items():
                found[method].append(recovered(planted, made))
    return {
        "structure": structure,
        "noise": noise,
        "n_components": k,
        "matrices": len(seeds),
        "verdicts": dict(answers),
        "patterns": {name: dict(counts) for name, counts in patterns.items()},
        "recovered": {
            method: sum(values) / len(values) if values else None
            for method, values in found.items()
        },
        "least_recovered": {
            method: min(values) if values else None for method, values in found.items()
        },
    }


def table(records: list[dict[str, object]]) -> str:
    """The confusion table."""
    lines = [f"{'planted':<14}{'noise':>6}{'k':>4}  " + "".join(f"{a[:14]:>16}" for a in ANSWERS)]
    for record in records:
        verdicts, mean = record["verdicts"], record["recovered"]
        assert isinstance(verdicts, dict)
        assert isinstance(mean, dict)
        counts = "".join(f"{verdicts.get(answer, 0):>16}" for answer in ANSWERS)
        lines.append(
            f"{record['structure']:<14}{record['noise']:>6}{record['n_components']:>4}  {counts}  "
            + ", ".join(f"{m} {v:.2f}" for m, v in mean.items() if v is not None)
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    seeds = range(options.first, options.first + options.seeds)
    records = []
    for noise, k in CASES:
        for structure in STRUCTURES:
            records.append(measure(structure, noise, k, seeds))
            print(table(records[-1:]), flush=True)
    print(table(records))
    result = {
        "machine": machine(),
        "seconds": round(time.perf_counter() - began, 1),
        "seeds": [seeds.start, seeds.stop - 1],
        "planted_components": PLANTED,
        "cases": records,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
