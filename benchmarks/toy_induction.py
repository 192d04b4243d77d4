"""Does the weight instrument find induction and copying heads that are there by construction?

Trains two-layer transformers of attention only (``toy_training.py``) from several seeds, saves
them, scores every head by what it does on random tokens that come twice, and asks whether scores
that are read off the weights alone order the heads in the same way:

    PYTHONPATH=src python benchmarks/toy_induction.py --folder toys --seeds 0-5

A head counts as an induction head when, the second time, it gives at least a quarter of its
attention to the token after the first time (1/41 by chance), and as a copying head when it raises
the logits of what it attends to by at least half a standard deviation. Scores of weights:

copying       Σ Re λ / Σ |λ| of the head's W_OV from token to token
matching      the same of W_QK behind the earlier head that suits it best; heads of layer 1 only
composition   largest K-composition with an earlier head, likewise
both          the smaller of copying and matching
norm          ‖W_OV‖, which should say nothing: the yardstick
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM

from cofire.evaluation.auroc import auroc, auroc_interval
from cofire.models import LanguageModel, ov, qk
from cofire.weights.attention import HeadBehaviour, behaviour_on_repeats
from cofire.weights.measures import copying_score
from cofire.weights.operations import composition, matching_score
from cofire.weights.tokens import TokenReader, TokenStatistics
from measuring import machine
from toy_training import LENGTH, N_HEADS, Training, build, train

INDUCTION, COPYING = 0.25, 0.5
"""From which behavioural score a head counts."""

Row = dict[str, float | int | bool]


def heads_of(
    toy: LanguageModel, seed: int, behaviour: HeadBehaviour, statistics: TokenStatistics
) -> list[Row]:
    """One line a head: what it does, and what its weights say."""
    rows: list[Row] = []
    for layer in range(toy.n_layers):
        for head in range(N_HEADS):
            matrix = ov(toy, layer, head)
            row: Row = {
                "seed": seed,
                "layer": layer,
                "head": head,
                "induction": float(behaviour.induction[layer, head]),
                "copying_done": float(behaviour.copying[layer, head]),
                "previous": float(behaviour.previous[layer, head]),
                "copying": copying_score(matrix, statistics.gram),
                "norm": float(matrix.singular_values().norm()),
            }
            if layer:
                scores = qk(toy, layer, head)
                earlier = [ov(toy, 0, other) for other in range(N_HEADS)]
                row["matching"] = max(matching_score(scores, e, statistics) for e in earlier)
                row["composition"] = max(composition(e, scores.transposed) for e in earlier)
                row["both"] = min(row["copying"], row["matching"])
            rows.append(row)
    return rows


def agreement(rows: list[Row], score: str, label: str) -> dict[str, float | int | None]:
    """AUROC of a score of weights for a label of behaviour, with interval and rank correlation."""
    limit = INDUCTION if label == "induction" else COPYING
    known = [row for row in rows if score in row and np.isfinite(row[label])]
    values = np.array([float(row[score]) for row in known])
    done = np.array([float(row[label]) for row in known])
    positive = done >= limit
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return {"auroc": None, "low": None, "high": None, "heads": n + m, "positive": n}
    value = float(auroc(values[:, None], positive[:, None])[0, 0])
    low, high = auroc_interval(value, n, m)
    return {
        "auroc": value,
        "low": low,
        "high": high,
        "heads": n + m,
        "positive": n,
        "rank_correlation": float(spearmanr(values, done).statistic),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where models are kept")
    parser.add_argument("--seeds", default="0-5", help="first and last seed")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    first, last = map(int, arguments.seeds.split("-"))
    rows: list[Row] = []
    trained: dict[int, dict[str, float | int]] = {}
    for seed in range(first, last + 1):
        place = arguments.folder / f"toy-{seed}"
        note = place / "training.json"
        toy = build(seed)
        if note.is_file():
            found = json.loads(note.read_text())
            model = AutoModelForCausalLM.from_pretrained(place)
        else:
            training: Training = train(toy, seed)
            found = vars(training)
            model = toy.model
            model.save_pretrained(place)
            toy.tokenizer.save_pretrained(place)
            note.write_text(json.dumps(found))
        trained[seed] = found
        toy = LanguageModel(model, toy.tokenizer, name=toy.name)
        reader = TokenReader(toy)
        statistics = reader.statistics()
        behaviour = behaviour_on_repeats(
            toy, reader, statistics, n_texts=32, length=LENGTH // 2 - 4, seed=seed
        )
        rows += heads_of(toy, seed, behaviour, statistics)
        print(f"seed {seed}: {found}")
        for row in rows[-2 * N_HEADS :]:
            print("  " + "  ".join(f"{k} {v:.2f}" for k, v in row.items() if k != "seed"))
    behind = [row for row in rows if row["layer"]]
    figures = {
        f"{score} for {label}, {which}": agreement(heads, score, label)
        for which, heads in (("all heads", rows), ("layer 1", behind))
        for score in ("copying", "matching", "composition", "both", "norm")
        for label in ("induction", "copying_done")
        if which == "layer 1" or score in ("copying", "norm")
    }
    for name, found in figures.items():
        print(name, found)
    if arguments.output:
        record = {"machine": machine(), "training": trained, "agreement": figures, "heads": rows}
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
