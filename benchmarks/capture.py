"""Capture against a bare forward pass of the same layers, on Gemma 3 270M and real sentences.

The bare pass runs the trunk cut off after the same layer on batches that are tokenized and padded
beforehand, without hooks, and throws its result away: what no capture can beat. Capture is timed
as a user calls it, from strings to matrices. Both sides take turns; times are medians.

    python benchmarks/capture.py --texts 800 --repeats 7
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cofire.corpus import Corpus
from cofire.data import bundled_concepts
from cofire.models import CaptureSettings, LanguageModel, capture_activations, load_model
from cofire.models.batching import pad
from cofire.models.capture import planned
from cofire.models.tokens import tokenize
from cofire.site import Site

RESULTS = Path(__file__).parent / "results" / "capture.json"
SITES = {
    "resid_post of layer 9": [Site(9, "resid_post")],
    "mlp of layer 9": [Site(9, "mlp")],
    "mlp of layers 0, 3, 6, 9": [Site(layer, "mlp") for layer in (0, 3, 6, 9)],
    "all kinds of layer 9": [
        Site(9, "resid_pre"),
        Site(9, "attn"),
        Site(9, "mlp"),
        Site(9, "mlp_out"),
        Site(9, "resid_post"),
    ],
}


LAYER = 9
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=800)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    model = load_model("gemma-3-270m", device=options.device, dtype=options.dtype)
    everything = bundled_concepts()
    corpus = everything[:: max(1, len(everything) // options.texts)][: options.texts]
    settings = CaptureSettings(batch_tokens=options.batch_tokens)
    batches, n_tokens = prepared(model, corpus, settings)
    results = []
    for name, sites in SITES.items():

        def capture(sites: list[Site] = sites) -> None:
            capture_activations(model, corpus, sites, settings)

        bare, captured = take_turns(
            lambda: run_bare(model, batches), capture, options.repeats, model.device
        )
        results.append(
            {
                "sites": name,
                "bare_s": statistics.median(turn.wall for turn in bare),
                "capture_s": statistics.median(turn.wall for turn in captured),
                "ratio": median_ratio(captured, bare, "wall"),
                "processor_ratio": median_ratio(captured, bare, "processor"),
                "tokens_per_s": n_tokens / statistics.median(turn.wall for turn in captured),
            }
        )
    record = {
        "model": model.describe(),
        "texts": len(corpus),
        "tokens": n_tokens,
        "padded_tokens": sum(tokens.numel() for tokens, _, _ in batches),
        "batches": len(batches),
        "repeats": options.repeats,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if model.device.type == "cuda" else None,
        },
        "results": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(table(record))


def prepared(
    model: LanguageModel, corpus: Corpus, settings: CaptureSettings
) -> tuple[list[Batch], int]:
    """The batches that capture makes of the corpus, and how many tokens are in them."""
    texts = tokenize(model.tokenizer, corpus, range(len(corpus)))
    batches = [
        pad([texts.ids[place] for place in places], 0, "right", model.device)
        for places in planned(model, texts, settings)
    ]
    return batches, sum(map(len, texts.ids))


def run_bare(model: LanguageModel, batches: list[Batch]) -> None:
    """Run the cut trunk over prepared batches."""
    with truncated(model):
        for tokens, mask, positions in batches:
            model.run(tokens, mask, positions)


@contextmanager
def truncated(model: LanguageModel) -> Iterator[None]:
    """While open, the trunk ends after the layer, without the final norm."""
    trunk = model.trunk
    layers, norm, depth = trunk.layers, trunk.norm, trunk.config.num_hidden_layers
    trunk.layers, trunk.norm = layers[: LAYER + 1], torch.nn.Identity()
    trunk.config.num_hidden_layers = LAYER + 1
    try:
        yield
    finally:
        trunk.layers, trunk.norm, trunk.config.num_hidden_layers = layers, norm, depth


@dataclass(frozen=True)
class Turn:
    """Seconds of one run, by the clock and of the processor; the latter is steadier."""

    wall: float
    processor: float


def take_turns(
    first: Callable[[], None], second: Callable[[], None], repeats: int, device: torch.device
) -> tuple[list[Turn], list[Turn]]:
    """Time two functions in turns after one run of each to warm up."""
    times: tuple[list[Turn], list[Turn]] = ([], [])
    for turn in range(repeats + 1):
        order = (0, 1) if turn % 2 else (1, 0)
        for which in order:
            wall, processor = time.perf_counter(), time.process_time()
            (first, second)[which]()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                seconds = Turn(time.perf_counter() - wall, time.process_time() - processor)
                times[which].append(seconds)
    return times


def median_ratio(ours: list[Turn], theirs: list[Turn], clock: str) -> float:
    """Median over the turns of our seconds by theirs."""
    return statistics.median(
        getattr(one, clock) / getattr(other, clock) for one, other in zip(ours, theirs, strict=True)
    )


def table(record: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"{record['texts']} texts, {record['tokens']} tokens ({record['padded_tokens']} with "
        f"padding), {record['batches']} batches, {record['model']['dtype']}, "
        f"{record['machine']['gpu'] or str(record['machine']['threads']) + ' threads'}, "
        f"medians of {record['repeats']}",
        "",
        "| sites | bare pass | capture | ratio | ratio of processor time | tokens/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {result['sites']} | {result['bare_s']:.2f} s | {result['capture_s']:.2f} s "
        f"| {result['ratio']:.3f} | {result['processor_ratio']:.3f} "
        f"| {result['tokens_per_s']:,.0f} |"
        for result in record["results"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
