"""The path job: activations in, a folder with the points of a k path or sparsity path out."""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cofire.activations import Activations
from cofire.config import DEFAULT_PATH, PathConfig
from cofire.device import resolve_device
from cofire.errors import ConvergenceWarning, InputError, StoreError
from cofire.evaluation.path import PathSettings, check_steps, walk_path
from cofire.evaluation.path_points import PathStep
from cofire.factorization import SweepRecord
from cofire.jobs.capturing import identity, same_settings
from cofire.jobs.environment import environment
from cofire.jobs.sources import FreshRows, RowSource, StoredRows
from cofire.progress import SILENT, Advance, Progress
from cofire.site import Site
from cofire.store import PathFolder

_logger = logging.getLogger(__name__)

_DEFAULT_K, _DEFAULT_SPARSITY = 100, 0.01

# Settings that say where and how to compute or print, not what.
_CIRCUMSTANCE = frozenset({"output", "device", "batch_tokens", "as_json", "as_csv", "as_table"})
_VARIED = frozenset({"k", "sparsity", "sparsities"})  # compared as steps


def path(config: PathConfig, progress: Progress = SILENT) -> PathFolder:
    """Walk a k path or sparsity path at one layer; go on with one begun earlier.

    Args:
        config: what to do; ``output`` defaults to a telling name under ``runs/``.
        progress: shown while working.

    Raises:
        CofireError: for input that cannot be used; finished points are kept.
        KeyboardInterrupt: when the user stopped it; finished points are kept.
    """
    config = config.with_absolute_paths()
    steps = path_steps(config)
    if config.rows is not None and config.rows < 1:
        raise InputError(f"--rows must be at least 1; got {config.rows}.")
    source: RowSource
    if config.activations is not None:
        source = StoredRows(config.activations, config, progress, with_model=False)
    else:
        source = FreshRows(config, progress)
    site = _one_site(source, config)
    if all(text.split == "heldout" for text in source.corpus):
        raise InputError(
            "All texts are held out: there is none left to fit. Hold out fewer with --heldout, or "
            "mark texts as train."
        )
    config = config.model_copy(update=source.settings)
    name = f"path-{source.name}-{'k' if len({s.sparsity for s in steps}) == 1 else 'sparsity'}"
    folder = _open(config.output or Path("runs") / name, config, steps, site, source)
    finished = folder.solutions()
    if len(finished) == len(steps):
        return folder
    (activations,) = source.rows([site])
    if config.rows is not None:
        activations = whole_texts(activations, config.rows, seed=config.seed)
    check_steps(steps, len(activations.where_split("train")))
    settings = PathSettings(
        cold=config.cold,
        seeds=config.seeds,
        seed=config.seed,
        max_iter=config.max_iter,
        tol=config.tol,
        code_penalty=config.code_penalty,
        device=config.device,
    )
    with (
        progress.task(f"Path at {site.name}", len(steps), "point") as advance,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", ConvergenceWarning)
        advance(len(finished))
        walk = walk_path(
            activations, steps, settings, finished=finished, callback=_report_sweep(advance)
        )
        for number, solution in enumerate(walk, len(finished)):
            folder.write_point(number, solution)
            advance(1)
    for warning in caught:
        _logger.warning("%s: %s", site.name, warning.message)
    return folder


def path_steps(config: PathConfig) -> list[PathStep]:
    """The points a config asks for.

    Raises:
        InputError: for numbers that cannot be read, are out of order or twice there, or when both
            settings vary.
    """
    if config.sparsities is None:
        numbers = _numbers("--k", DEFAULT_PATH if config.k is None else config.k, int)
        if numbers != sorted(numbers):
            raise InputError(
                f"--k must increase, so that each grows from the last; got {config.k}."
            )
        sparsity = _DEFAULT_SPARSITY if config.sparsity is None else config.sparsity
        steps = [PathStep(int(number), float(sparsity)) for number in numbers]
    else:
        if config.sparsity is not None:
            raise InputError("--sparsity and --sparsities exclude one another; give one of them.")
        shares = _numbers("--sparsities", config.sparsities, float)
        if shares not in (sorted(shares), sorted(shares, reverse=True)):
            raise InputError(
                f"--sparsities must increase or decrease all along; got {config.sparsities}."
            )
        numbers = [_DEFAULT_K] if config.k is None else _numbers("--k", config.k, int)
        if len(numbers) != 1:
            raise InputError(
                "A path varies k or sparsity, not both: with --sparsities give one --k, or with "
                "several --k one --sparsity."
            )
        steps = [PathStep(int(numbers[0]), float(share)) for share in shares]
    for step in steps:
        if step.n_components < 1 or not 0 < step.sparsity <= 1:
            raise InputError(
                f"k must be at least 1 and sparsity above 0 and at most 1; got k "
                f"{step.n_components} and sparsity {step.sparsity:g}."
            )
    if len(steps) < 2:
        raise InputError("A path needs at least two points, such as --k 25,50,100,200.")
    return steps


def _numbers(flag: str, text: str, kind: Callable[[str], int | float]) -> list[int | float]:
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [kind(part) for part in parts]
    except ValueError:
        example = "25,50,100" if kind is int else "0.01,0.02,0.05"
        raise InputError(f"{flag} takes numbers such as {example}; got {text!r}.") from None
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise InputError(f"{flag} names {twice:g} twice; name every point once.")
    return numbers


def whole_texts(activations: Activations, rows: int, *, seed: int) -> Activations:
    """At most so many training rows and as many held-out ones, in memory, of whole texts.

    Texts are drawn at random until the next would be one too many; it is left out, and smaller ones
    may follow.

    Raises:
        InputError: when not even one training text is that small.
    """
    sizes = np.bincount(activations.tokens.text_id, minlength=len(activations.corpus))
    order = np.random.default_rng(seed).permutation(len(sizes))
    left = {"train": rows, "heldout": rows}
    chosen = np.zeros(len(sizes), dtype=bool)
    for text_id in order:
        split = activations.corpus[int(text_id)].split
        if 0 < sizes[text_id] <= left[split]:
            left[split] -= int(sizes[text_id])
            chosen[text_id] = True
    if left["train"] == rows:
        raise InputError(f"No training text has {rows} rows or fewer; raise --rows.")
    part = activations.take(chosen[activations.tokens.text_id])
    return replace(part, shards=(part.X,))


def _one_site(source: RowSource, config: PathConfig) -> Site:
    if len(source.sites) == 1:
        return source.sites[0]
    layers = ", ".join(str(site.layer) for site in source.sites)
    if config.layers is None:
        raise InputError(
            f"{config.activations} holds layers {layers}; choose one, such as --layer "
            f"{source.sites[0].layer}."
        )
    raise InputError(f"A path is walked at one layer; got layers {layers}.")


def _open(
    path: Path, config: PathConfig, steps: Sequence[PathStep], site: Site, source: RowSource
) -> PathFolder:
    resolved = config.model_copy(update={"layers": str(site.layer)}).resolved()
    settings = {
        name: value for name, value in resolved.items() if name not in _CIRCUMSTANCE | _VARIED
    }
    model: Any = source.header["model"]
    if PathFolder.present(path):
        folder = PathFolder.open(path)
        try:
            header = {
                "model": identity(model),
                "capture": source.header["capture"],
                "config": settings,
            }
            same_settings(path, folder.manifest, header)
            _same_points(folder, steps, source)
        except StoreError:
            if folder.points:
                raise
            folder.discard()  # nothing was ever finished under the other settings
        else:
            return folder
    return PathFolder.create(
        path,
        steps=steps,
        site=site,
        config=settings,
        model=model,
        capture=source.header["capture"],
        corpus=_texts(source),
        environment=environment(resolve_device(config.device)),
    )


def _same_points(folder: PathFolder, steps: Sequence[PathStep], source: RowSource) -> None:
    if folder.manifest.get("corpus") != _texts(source):
        raise StoreError(
            f"{folder.path} was begun with other texts; choose another folder with -o, or remove "
            "it."
        )
    if folder.steps != list(steps):
        raise StoreError(
            f"{folder.path} was begun for {_shown(folder.steps)}, not {_shown(steps)}; choose "
            "another folder with -o, or remove it."
        )


def _shown(steps: Sequence[PathStep]) -> str:
    numbers = ",".join(str(n) for n in dict.fromkeys(step.n_components for step in steps))
    shares = ",".join(f"{s:g}" for s in dict.fromkeys(step.sparsity for step in steps))
    return f"k {numbers} at sparsity {shares}"


def _texts(source: RowSource) -> dict[str, Any]:
    return {"texts": len(source.corpus), "sha256": source.corpus.fingerprint}


def _report_sweep(advance: Advance) -> Callable[[SweepRecord], None]:
    def report(record: SweepRecord) -> None:
        advance(0, sweep=record.iteration, loss=f"{record.relative_loss:.4f}")

    return report
