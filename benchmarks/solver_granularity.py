"""What larger dictionaries see: concepts, features a concept, contexts, splits of smaller features.

Reads the dictionaries that ``solver_thousands.py --keep`` learned from a large text, on labelled
sentences captured at the same site and on tokens of the large text. Every dictionary stands beside
its control, the same atoms on shuffled neurons: the more features, the more concepts are selected
by chance, so only what is above the control counts.

    python benchmarks/solver_granularity.py --dictionaries FOLDER --labelled runs/sentences \\
        --activations runs/wiki
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cofire.activations import Activations
from cofire.interpret.concepts import concept_profile, sure_concepts
from cofire.nnls import nonnegative_codes
from cofire.types import AtomMatrix, CodeMatrix
from measuring import machine, stored_rows

STRONG = 0.5  # of a feature's largest code, from which a token is one of its contexts
RELATED = 0.5  # cosine from which an atom counts as a version of a smaller dictionary's
BLOCK_ROWS = 2048


def main() -> None:
    """Read every dictionary, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dictionaries", type=Path, required=True, help="of solver_thousands.py")
    parser.add_argument("--labelled", type=Path, required=True, help="captured labelled sentences")
    parser.add_argument("--activations", type=Path, required=True, help="captured large text")
    parser.add_argument("--rows", type=int, default=8192, help="tokens of the large text to read")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="where to write JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    labelled = stored_rows(options.labelled)
    text = stored_rows(options.activations)
    drawn = np.random.default_rng(0).choice(len(text), options.rows, replace=False)
    text = text.take(np.sort(drawn))
    smaller: AtomMatrix | None = None
    results: list[dict[str, Any]] = []
    for file in sorted(options.dictionaries.glob("*.npz"), key=lambda file: int(file.stem)):
        with np.load(file) as kept:
            atoms, penalty = torch.from_numpy(kept["atoms"]), float(kept["penalty"])
        began = time.perf_counter()
        line = {"components": len(atoms), **contexts(text, atoms, penalty)}
        line |= concepts(labelled, atoms, penalty)
        shuffled = torch.from_numpy(np.random.default_rng(0).permuted(atoms.numpy(), axis=1))
        line |= {f"control_{key}": v for key, v in concepts(labelled, shuffled, penalty).items()}
        if smaller is not None:
            line |= versions(atoms, smaller)
        line["seconds"] = time.perf_counter() - began
        smaller = atoms
        results.append(line)
        print(json.dumps(line), flush=True)
        if options.output:
            report = {"machine": machine(), "rows_read": len(text), "results": results}
            options.output.write_text(json.dumps(report, indent=2) + "\n")


def encode(rows: Activations, atoms: AtomMatrix, penalty: float) -> CodeMatrix:
    """Codes in half precision: those of thousands of features of all rows are large."""
    blocks = [
        nonnegative_codes(block.float(), atoms, penalty=penalty).half()
        for block in rows.chunks(BLOCK_ROWS)
    ]
    return torch.cat(blocks)


def contexts(text: Activations, atoms: AtomMatrix, penalty: float) -> dict[str, Any]:
    """Medians over the features that fire: tokens they fire strongly on, and different ones."""
    codes = encode(text, atoms, penalty)
    peak = codes.amax(dim=0)
    strong = (codes >= STRONG * peak) & (codes > 0)
    tokens = text.tokens.token_id
    firing = np.flatnonzero(peak.numpy() > 0)
    different = [len(np.unique(tokens[strong[:, feature].numpy()])) for feature in firing]
    return {
        "silent": len(atoms) - len(firing),
        "active_a_token": float((codes > 0).sum(dim=1).float().mean()),
        "median_contexts": float(strong[:, firing].sum(dim=0).float().median()),
        "median_different_tokens": statistics.median(different),
        "one_token_features": sum(count == 1 for count in different) / len(different),
    }


def concepts(labelled: Activations, atoms: AtomMatrix, penalty: float) -> dict[str, Any]:
    """Concepts surely selected on held-out sentences, and by how many features each."""
    codes = encode(labelled, atoms, penalty).float()
    profile = concept_profile(codes, labelled.tokens.text_id, labelled.corpus)
    sure = sure_concepts(profile.best)
    named = [match for match in profile.best if match is not None and match.names_feature]
    counts = list(sure.values())
    return {
        "concepts_tried": len(profile.concepts),
        "concepts": len(sure),
        "features_with_concept": sum(counts),
        "features_a_concept": statistics.median(counts) if counts else None,
        "named_concepts": len({match.concept for match in named}),
        "named_features": len(named),
        "most": dict(list(sure.items())[:5]),
    }


def versions(atoms: AtomMatrix, smaller: AtomMatrix) -> dict[str, Any]:
    """How many atoms are versions of each atom of the next smaller dictionary."""
    related = (atoms @ smaller.T) > RELATED
    return {
        "versions_of_a_smaller": float(related.sum(dim=0).float().mean()),
        "smaller_that_split": float((related.sum(dim=0) >= 2).float().mean()),
        "new": float((~related.any(dim=1)).float().mean()),
    }


if __name__ == "__main__":
    main()
