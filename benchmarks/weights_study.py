"""Take every head of Gemma 3 270M apart and write docs/results/weights.md.

Fits SNMF features of the MLP at every layer to the bundled sentences, takes W_OV of the heads apart
by SVD, ICA, NMF and semi-NMF beside nulls, removes components of some heads while the model runs,
and answers the three questions of the framework page. Everything below --folder is resumable, so an
interrupted study goes on.

    python benchmarks/weights_study.py                       # all 72 heads
    python benchmarks/weights_study.py --layers 5,9 --output /tmp/weights.md    # a quick look
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cofire import jobs, load_model
from cofire.cli.progress import TerminalProgress
from cofire.config import CaptureConfig, FitConfig, WeightsConfig
from cofire.data import bundled_concepts
from cofire.models import LanguageModel
from cofire.models.tokens import tokenize
from cofire.report import write_weights_pages
from cofire.site import parse_layers
from cofire.store import Run
from cofire.store.archive import write_atomically
from cofire.store.weights_folder import WeightsFolder
from cofire.weights.attention import HeadBehaviour, behaviour_on_repeats, behaviour_on_texts
from cofire.weights.decompositions import Decomposition
from cofire.weights.head_record import HeadRecord
from cofire.weights.heads import Vocabulary, ablated
from weights_induction import induction_study
from weights_page import page
from weights_page_study import Study, outstanding

MODEL = "gemma-3-270m"
N_LAYERS = 18
ABLATED_COMPONENTS = 4  # of each method
ABLATION_TEXTS = 12
BEHAVIOUR_TEXTS = 100
RANDOM_DIRECTIONS = 200
SCORES = ("previous", "first", "itself", "copying", "induction", "duplicate")


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/weights-study"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/weights.md"))
    parser.add_argument("--layers", default="all")
    parser.add_argument("-k", type=int, default=16)
    options = parser.parse_args()
    options.folder = options.folder.resolve()  # what is stored names its inputs so
    progress = TerminalProgress()
    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = call()
        seconds[name] = time.perf_counter() - began
        return found

    layers = parse_layers(options.layers, N_LAYERS)
    needed = sorted({at for layer in layers for at in (max(layer - 1, 0), layer)})

    def fitted() -> Run:
        store = jobs.capture(
            CaptureConfig(
                model=MODEL,
                layers=",".join(map(str, needed)),
                store_dtype="bfloat16",  # half the disk; 2 700 MB in float32 for all layers
                output=options.folder / "activations",
            ),
            progress,
        )
        return jobs.fit(
            FitConfig(activations=store.path, output=options.folder / "features"), progress
        )

    run = timed("features", fitted)
    config = WeightsConfig(
        model=MODEL,
        layers=options.layers,
        n_components=options.k,
        features=run.path,
        output=options.folder / "ov",
    )
    folder = timed("heads", lambda: jobs.weights(config, progress))
    write_weights_pages(folder)
    heads = folder.heads()
    tried = timed("components removed", lambda: removed(folder, heads, options.folder))
    behaviour = timed("behaviour of heads", lambda: behaviour_of(options.folder))
    induction = timed("passages that come twice", lambda: induction_of(options.folder))
    asked = "" if options.layers == "all" else f" --layers {options.layers}"
    study = Study(
        heads=heads,
        tried=tried,
        manifest=dict(folder.manifest),
        behaviour=behaviour,
        induction=induction,
        seconds=seconds,
        command=f"python benchmarks/weights_study.py{asked}",
        most_removed=ABLATED_COMPONENTS,
        texts=ABLATION_TEXTS,
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page(study), encoding="utf-8")
    print(f"{options.output}: {', '.join(f'{n} {s:.0f} s' for n, s in seconds.items())}")


def removed(folder: WeightsFolder, heads: list[HeadRecord], work: Path) -> list[HeadRecord]:
    """Remove components of the heads that copy, suppress and look for repeats the most.

    Kept after every head, so that an interrupted study goes on with the next one.
    """
    done = work / "removed.json"
    kept = json.loads(done.read_text("utf-8")) if done.exists() else []
    found = {one.name: one for one in map(HeadRecord.from_record, kept)}
    chosen = outstanding(heads)
    left = [one for one in chosen if one.name not in found]
    if not left:
        return [found[one.name] for one in chosen]
    model = load_model(MODEL)
    vocabulary = Vocabulary.of(model)
    ids = sentences(model, ABLATION_TEXTS)
    with TerminalProgress().task("Removing components", len(chosen), "head") as advance:
        advance(len(chosen) - len(left))
        for one in left:
            factors = folder.factors(one.layer, one.head)
            made = {
                method: Decomposition(
                    method=method,
                    samples="columns",
                    mixing=mixing,
                    components=components,
                    converged=torch.ones(len(components), dtype=torch.bool),
                )
                for method, (mixing, components) in factors.items()
            }
            found[one.name] = ablated(one, made, model, ids, vocabulary, ABLATED_COMPONENTS)
            keep(done, [each.record() for each in found.values()])
            advance(1)
    return [found[one.name] for one in chosen]


def keep(path: Path, found: Any) -> None:
    """Keep figures so that an interrupt leaves what there was."""
    text = json.dumps(found) + "\n"
    write_atomically(path, lambda file: file.write_bytes(text.encode("utf-8")))


def behaviour_of(work: Path) -> dict[str, Any]:
    """What every head does on random tokens that come twice and on sentences; random fan-out."""
    done = work / "behaviour.json"
    if done.exists():
        return dict(json.loads(done.read_text("utf-8")))
    model = load_model(MODEL)
    vocabulary = Vocabulary.of(model)
    parts = model, vocabulary.reader, vocabulary.statistics
    texts = sentences(model, BEHAVIOUR_TEXTS)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(RANDOM_DIRECTIONS, model.d_model, generator=generator)
    found = {
        "repeats": grids(behaviour_on_repeats(*parts, n_texts=8)),
        "texts": {**grids(behaviour_on_texts(*parts, texts)), "n_texts": len(texts)},
        "fan_out": float(vocabulary.fan_out(directions).mean()),
    }
    keep(done, found)
    return found


def induction_of(work: Path) -> dict[str, Any]:
    """What heads do where a passage comes twice, kept after every step."""
    done = work / "induction.json"
    found = dict(json.loads(done.read_text("utf-8"))) if done.exists() else {}
    return induction_study(lambda: load_model(MODEL), found, lambda record: keep(done, record))


def sentences(model: LanguageModel, n: int) -> list[tuple[int, ...]]:
    """Token ids of some of the bundled sentences, spread over their concepts."""
    corpus = bundled_concepts()
    every = max(1, len(corpus) // n)
    return list(tokenize(model.tokenizer, corpus, list(range(0, len(corpus), every))[:n]).ids)


def grids(behaviour: HeadBehaviour) -> dict[str, Any]:
    """Scores as plain lists [layers][heads], missing ones as None."""
    return {
        name: [
            [float(value) if math.isfinite(value) else None for value in row]
            for row in np.asarray(getattr(behaviour, name))
        ]
        for name in SCORES
    }


if __name__ == "__main__":
    main()
