"""Features steered per minute: cofire against the published procedure, same model, same cells.

The published procedure is written down here as it was published (Shafran, Geiger and Geva, arXiv
2506.10920), one feature at a time: for each KL target 20 bisection steps between strength 1 and
2000, each a whole forward pass over the prompt, for the plus sign only (the minus sign takes the
same strength); then for each of the 14 cells 8 continuations of 50 tokens, together in one batch
with keys and values kept, top-k sampling from all logits. A target that bisection misses keeps its
last strength, so that both sides continue the same cells. Nothing of cofire but the hook that finds
the site is used there.

cofire matches both signs on their own and continues all cells of all features. It is timed as a
user calls it, set-up of the prompt and head included, loading of the model excluded. Both sides
take turns. Ratios of processor time are given beside those of the clock: other work on the machine
does not count in them.

    python benchmarks/steering.py --features 4 --published-features 2 --threads 2
"""

import argparse
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import SteeringSettings, plan_cells
from cofire.models import LanguageModel, SamplingSettings, load_model
from cofire.site import Site

BISECTION_STEPS, WEAKEST, STRONGEST = 20, 1.0, 2000.0
TOP_K = 30


@dataclass(frozen=True)
class Time:
    """Seconds by the clock and of the processor."""

    wall: float
    processor: float


class Stopwatch:
    """Measures from its creation on."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> Time:
        """Time since the creation."""
        return Time(time.perf_counter() - self._wall, time.process_time() - self._processor)


def main() -> None:
    """Measure, print, and optionally write the figures."""
    options = parse()
    torch.set_num_threads(options.threads)
    model = load_model(options.model, device=options.device)
    site = Site(options.layer, "mlp")
    generator = torch.Generator().manual_seed(options.seed)
    directions = torch.randn(options.features, model.site_width(site), generator=generator)
    sampling = SamplingSettings(top_k=TOP_K, top_p=options.top_p)
    settings = SteeringSettings(
        samples=options.samples, new_tokens=options.new_tokens, sampling=sampling
    )
    warm_up(model, site, directions, settings)
    half = options.published_features // 2
    published = [steer_as_published(model, site, one, settings) for one in directions[:half]]
    ours, parts = steer_all(model, site, directions, settings)
    later = directions[half : options.published_features]
    published += [steer_as_published(model, site, one, settings) for one in later]
    record = summarise(options, model, published, ours, parts)
    print(table(record))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(record, indent=2) + "\n")


def warm_up(
    model: LanguageModel, site: Site, directions: Tensor, settings: SteeringSettings
) -> None:
    """One short run of each side, so that neither pays for what happens once a process."""
    short = replace(settings, new_tokens=2, samples=2, targets=settings.targets[:1])
    steer_all(model, site, directions[:1], short)
    steer_as_published(model, site, directions[0], short, bisection_steps=1)


def steer_all(
    model: LanguageModel, site: Site, directions: Tensor, settings: SteeringSettings
) -> tuple[Time, dict[str, Any]]:
    """cofire: all features, as a user calls it."""
    watch = Stopwatch()
    steering = Steering(model, site, directions, settings)
    cells = list(steering.match(plan_cells(range(len(directions)), settings)))
    matched = watch.read()
    generations = list(steering.generate(cells))
    total = watch.read()
    return total, {
        "matching_processor_s": matched.processor,
        "cells": len(cells),
        "found": sum(cell.status == "found" for cell in cells),
        "generations": len(generations),
        "tokens": sum(len(one.token_ids) for one in generations),
        "resumed": steering.resumed,
        "cached": steering.cached,
        "screened": steering.screened,
        "packed": steering.packed,
    }


def steer_as_published(
    model: LanguageModel,
    site: Site,
    direction: Tensor,
    settings: SteeringSettings,
    *,
    bisection_steps: int = BISECTION_STEPS,
) -> Time:
    """The published procedure for one feature."""
    watch = Stopwatch()
    unit = direction / direction.norm()
    tokenizer = model.tokenizer
    ids = tokenizer(settings.prompts[0], return_tensors="pt")["input_ids"].to(model.device)
    strength = [0.0]
    handle = model.resolve(site).register(lambda x: x + strength[0] * unit.to(x))
    try:
        with torch.inference_mode():
            base = model.model(ids, use_cache=False).logits[:, -1].softmax(dim=-1)
            for target in settings.targets:
                low, high = WEAKEST, STRONGEST
                for _ in range(bisection_steps):
                    strength[0] = (low + high) / 2
                    steered = model.model(ids, use_cache=False).logits[:, -1].softmax(dim=-1)
                    kl = (base * ((base + 1e-8).log() - (steered + 1e-8).log())).sum().item()
                    low, high = (strength[0], high) if kl < target else (low, strength[0])
                alpha = strength[0]
                for sign in (1, -1):
                    strength[0] = sign * alpha
                    sample_as_published(model, ids, settings)
                strength[0] = 0.0
    finally:
        handle.remove()
    return watch.read()


def sample_as_published(model: LanguageModel, ids: Tensor, settings: SteeringSettings) -> list[str]:
    """The continuations of one cell: one batch, top-k only, never ended early."""
    tokens = ids.repeat(settings.samples, 1)
    cache = DynamicCache(config=model.model.config)
    new = tokens
    for _ in range(settings.new_tokens):
        output = model.model(new, past_key_values=cache, use_cache=True, logits_to_keep=1)
        best = output.logits[:, -1].topk(TOP_K)
        place = torch.multinomial(best.values.softmax(dim=-1), 1)
        new = best.indices.gather(1, place)
        tokens = torch.cat([tokens, new], dim=1)
    return list(model.tokenizer.batch_decode(tokens))


def summarise(
    options: argparse.Namespace,
    model: LanguageModel,
    published: list[Time],
    ours: Time,
    parts: dict[str, Any],
) -> dict[str, Any]:
    """All figures as plain JSON values."""
    result: dict[str, Any] = {}
    for clock in ("wall", "processor"):
        theirs = statistics.mean(getattr(one, clock) for one in published)
        mine = getattr(ours, clock) / options.features
        result[clock] = {
            "published_s_per_feature": theirs,
            "published_features_per_minute": 60 / theirs,
            "cofire_s_per_feature": mine,
            "cofire_features_per_minute": 60 / mine,
            "ratio": theirs / mine,
        }
    return {
        "model": model.describe(),
        "layer": options.layer,
        "features": options.features,
        "published_features": len(published),
        "published_s": [[one.wall, one.processor] for one in published],
        "samples": options.samples,
        "new_tokens": options.new_tokens,
        "top_p": options.top_p,
        "cofire": parts,
        **result,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(model.device),
            "load_average": os.getloadavg()[0],
            "torch": torch.__version__,
        },
    }


def table(record: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    cofire = record["cofire"]
    lines = [
        f"{record['model']['name']}, layer {record['layer']}, {cofire['cells']} cells of "
        f"{record['samples']} × {record['new_tokens']} tokens for {record['features']} features, "
        f"{record['machine']['threads']} threads, top-p {record['top_p']}; published procedure "
        f"on {record['published_features']} of them",
        "",
        "| time | published s/feature | cofire s/feature | published /min | cofire /min | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for clock in ("wall", "processor"):
        row = record[clock]
        lines.append(
            f"| {clock} | {row['published_s_per_feature']:.1f} "
            f"| {row['cofire_s_per_feature']:.1f} "
            f"| {row['published_features_per_minute']:.2f} "
            f"| {row['cofire_features_per_minute']:.2f} | {row['ratio']:.1f} |"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layer", type=int, default=11)
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--published-features", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=50)
    parser.add_argument(
        "--top-p", type=float, default=0.3, help="for cofire; 1 draws as the published code does"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if not 1 <= options.published_features <= options.features:
        parser.error("--published-features is from 1 to --features")
    return options


if __name__ == "__main__":
    main()
