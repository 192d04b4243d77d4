"""How long the explorer takes with thousands of features: start, pages, lists, searches.

Builds a run folder of random features without a model (4,000 features × 20 contexts by default),
serves it in a process of its own and times its addresses over HTTP, the connection kept as a
browser keeps it. Prints a table and writes the figures as JSON with ``-o``.

    python benchmarks/explorer.py
    python benchmarks/explorer.py --features 4000 --contexts 20 --folder runs/synthetic --keep
"""

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cofire.activations import TokenTable
from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.evaluation.fidelity import Fidelity
from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.contexts import Context
from cofire.interpret.reading import Feature, FeatureSet
from cofire.interpret.vocabulary import TokenWeight, VocabularyProjection
from cofire.site import Site
from cofire.store import Run

CHANNELS, GROUP, CONCEPTS, TOKENS = 2048, 21, 46, 33
SITE = Site(11, "mlp")


def synthetic_run(
    path: Path, *, n_features: int, n_contexts: int, n_rows: int = 20_000, seed: int = 0
) -> Run:
    """A run of random features: about 1% of the codes above 0, windows of 33 tokens."""
    rng = np.random.default_rng(seed)
    words = [f" {a}{b}" for a in "bcdfghklmnprstvw" for b in ("al", "er", "ing", "on", "us", "y")]
    words += [f" {a}{b}{c}" for a in "bdgkmt" for b in "aeiou" for c in ("n", "st", "lar", "vo")]
    pieces = tuple(dict.fromkeys(words))
    per_text = 40
    n_texts = n_rows // per_text
    token = rng.integers(0, len(pieces), n_texts * per_text).astype(np.int32)
    tokens = TokenTable(
        text_id=np.repeat(np.arange(n_texts), per_text).astype(np.int32),
        position=np.tile(np.arange(1, per_text + 1), n_texts).astype(np.int32),
        token_id=token,
        piece=token,
        pieces=pieces,
    )
    texts = [
        Text(
            "".join(pieces[i] for i in token[n * per_text : (n + 1) * per_text]),
            f"concept {n % CONCEPTS}",
            split="heldout" if n % 5 == 0 else "train",
        )
        for n in range(n_texts)
    ]
    codes = np.zeros((len(token), n_features), np.float32)
    for column in codes.T:
        fires = rng.choice(len(token), max(n_contexts + 8, len(token) // 100), replace=False)
        column[fires] = rng.gamma(2.0, 1.0, len(fires))
    atoms = np.zeros((n_features, CHANNELS), np.float32)
    for atom in atoms:
        atom[rng.choice(CHANNELS, GROUP, replace=False)] = rng.normal(size=GROUP)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    features = [
        _feature(i, codes[:, i], atoms[i], token, pieces, per_text, n_contexts, rng)
        for i in range(n_features)
    ]
    corpus = Corpus(texts)
    run = Run.create(
        path,
        config={"model": "synthetic", "method": "snmf", "n_components": n_features},
        sites=[SITE],
        corpus=corpus,
        model={"name": "synthetic", "fingerprint": "0"},
    )
    figures = Fidelity(0.6, 0.4, 0.01, len(token))
    run.write_site(
        Dictionary(torch.from_numpy(atoms), SITE),
        torch.from_numpy(codes),
        tokens,
        FeatureSet(tuple(features), SITE, figures, figures),
        objective=[
            {"iteration": i + 1, "phase": "released", "relative_loss": 0.4 + 1 / (i + 2)}
            for i in range(100)
        ],
        figures={"seconds": 1.0, "sweeps": 100, "stop_reason": "converged", "channels": CHANNELS},
    )
    return run


def _feature(
    index: int,
    column: np.ndarray,
    atom: np.ndarray,
    token: np.ndarray,
    pieces: tuple[str, ...],
    per_text: int,
    n_contexts: int,
    rng: np.random.Generator,
) -> Feature:
    rows = np.argsort(-column)[: n_contexts + 8]
    contexts = []
    for place, row in enumerate(rows.tolist()):
        text = row // per_text
        start = max(text * per_text, row - TOKENS // 2)
        stop = min((text + 1) * per_text, row + TOKENS // 2 + 1)
        quantile = None if place < n_contexts else (0.99, 0.9, 0.75, 0.5)[(place - n_contexts) // 2]
        contexts.append(
            Context(
                row,
                text,
                float(column[row]),
                quantile,
                tuple(pieces[i] for i in token[start:stop]),
                tuple(column[start:stop].tolist()),
                row - start,
                f"concept {text % CONCEPTS}",
            )
        )
    kinds = [pieces[token[row]].strip() for row in rows]
    auroc = float(rng.uniform(0.4, 1.0))
    best = f"concept {index % CONCEPTS}"
    weights = [
        TokenWeight(int(i), pieces[int(i)], float(5 - n / 3))
        for n, i in enumerate(rng.choice(len(pieces), 24, replace=False))
    ]
    kept = np.flatnonzero(atom)
    kept = kept[np.argsort(-np.abs(atom[kept]))]
    return Feature(
        index=index,
        label=", ".join(kinds[:4]) + " …",
        concept=ConceptMatch(best, auroc, auroc, (auroc - 0.1, auroc), 0.01, 5, 250, 0.3),
        concept_scores=tuple(
            (f"concept {(index + i) % CONCEPTS}", 1 - i / 100, 0.9 - i / 100)
            for i in range(CONCEPTS)
        ),
        contexts=tuple(c for c in contexts if c.quantile is None),
        quantile_contexts=tuple(c for c in contexts if c.quantile is not None),
        neurons=tuple((int(n), float(atom[n])) for n in kept),
        vocabulary=VocabularyProjection(tuple(weights[:12]), tuple(weights[12:])),
        firing_types=tuple((kind, 1) for kind in dict.fromkeys(kinds)),
        density=float((column > 0).mean()),
        max_code=float(column.max()),
        dead=False,
        nearest=(index + 1) % max(2, index + 2),
        nearest_cosine=float(rng.uniform(0.1, 0.9)),
        duplicate=False,
        one_token=False,
    )


class Reader:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str) -> tuple[float, int]:
        """Seconds until the whole answer is there, and its bytes."""
        started = time.perf_counter()
        self._connection.request("GET", path)
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{path}: {reply.status} {body[:200]!r}")
        return time.perf_counter() - started, len(body)


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor: times of a machine with other work tell little."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def addresses(key: str, n_features: int) -> dict[str, list[str]]:
    """Several addresses of each kind, so that nothing is timed that was answered before."""
    place = f"/runs/{key}/{SITE.layer}/features"
    numbers = [(i * 389 + 17) % n_features for i in range(20)]
    pages = [i * 100 % n_features for i in range(20)]
    return {
        "list of runs": ["/index.json"] * 20,
        "overview": [f"/runs/{key}.json"] * 20,
        "features, one page of 100": [f"{place}.json?offset={i}" for i in pages],
        "features sorted by AUROC": [f"{place}.json?sort=auroc&offset={i}" for i in pages],
        "features searched": [
            f"{place}.json?search={word}" for word in "bal ner ing us ky".split()
        ],
        "features filtered": [f"{place}.json?where=auroc%3E=0.{i}" for i in range(50, 70)],
        "features by neuron": [f"{place}.json?neuron={i}" for i in numbers],
        "one feature": [f"{place}/{i}.json" for i in numbers],
        "similar features": [f"{place}/{i}/similar.json" for i in numbers],
        "co-firing features": [f"{place}/{i}/cofiring.json" for i in numbers],
        "more of a context": [
            f"/runs/{key}/{SITE.layer}/rows/{i}.json?feature={i}&before=40&after=40"
            for i in numbers
        ],
        "two features compared": [
            f"/compare.json?a={key}/{SITE.layer}/{i}&b={key}/{SITE.layer}/{(i + 1) % n_features}"
            for i in numbers
        ],
    }


def measure(folder: Path, n_features: int) -> dict[str, Any]:
    """Start a server on the folder and time every kind of address."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cofire", "serve", str(folder), "--port", "0", "--no-model"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise SystemExit("The server has no output.")
        line = process.stdout.readline()
        port = int(re.findall(r":(\d+)/", line)[0])
        figures: dict[str, Any] = {"seconds until it listens": time.perf_counter() - started}
        reader = Reader(port)
        first, _ = reader.get(f"/runs/{folder.name}.json")
        figures["first overview"] = first
        first, _ = reader.get(f"/runs/{folder.name}/{SITE.layer}/features.json")
        figures["first list of features (reads the run)"] = first
        for name, paths in addresses(folder.name, n_features).items():
            reader.get(paths[0])
            before = processor_seconds(process.pid)
            taken = [reader.get(path) for path in paths]
            used = (processor_seconds(process.pid) - before) / len(paths)
            seconds = sorted(s for s, _ in taken)
            figures[name] = {
                "median": statistics.median(seconds),
                "slowest": seconds[-1],
                "processor": used,
                "kilobytes": statistics.median(size for _, size in taken) / 1024,
            }
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            peak = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            figures["peak memory, MB"] = int(peak[1]) / 1024 if peak else None
        return figures
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", type=int, default=4000)
    parser.add_argument("--contexts", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where the run is made; default: a passing one")
    parser.add_argument("--keep", action="store_true", help="use the folder again, and keep it")
    parser.add_argument("--pages", action="store_true", help="time the pages in Chromium too")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    wanted = parser.parse_args()
    folder = wanted.folder or Path(tempfile.mkdtemp()) / "synthetic"
    if not (wanted.keep and Run.present(folder)):
        synthetic_run(
            folder, n_features=wanted.features, n_contexts=wanted.contexts, n_rows=wanted.rows
        )
    load = os.getloadavg()[0]  # of other work: the one before this began
    figures = measure(folder, wanted.features)
    print(
        f"{wanted.features} features × {wanted.contexts} contexts, {os.cpu_count()} cores, "
        f"load {load:.1f}"
    )
    for name, value in figures.items():
        if isinstance(value, dict):
            print(
                f"{name:42} median {1000 * value['median']:7.1f} ms   slowest "
                f"{1000 * value['slowest']:7.1f} ms   processor {1000 * value['processor']:6.1f} ms"
                f"   {value['kilobytes']:7.1f} kB"
            )
        else:
            print(f"{name:42} {value:.2f}")
    record = {
        "features": wanted.features,
        "contexts": wanted.contexts,
        "machine": {"cores": os.cpu_count(), "load": round(load, 1)},
        "addresses": figures,
    }
    if wanted.pages:
        from explorer_pages import measure_pages

        record["pages"] = measure_pages(folder)
        print(json.dumps(record["pages"], indent=2))
    if wanted.output is not None:
        wanted.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if not wanted.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
