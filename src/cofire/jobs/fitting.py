"""The fit job: activations in, a run folder with dictionaries and readable features out."""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from cofire.activations import Activations
from cofire.config import FitConfig
from cofire.device import resolve_device
from cofire.errors import CofireError, ConvergenceWarning, InputError, StoreError
from cofire.factorization import SemiNMF, SweepRecord
from cofire.interpret.reading import read_features
from cofire.jobs.capturing import identity, same_settings
from cofire.jobs.environment import environment
from cofire.jobs.sources import FreshRows, RowSource, StoredRows
from cofire.progress import SILENT, Advance, Progress
from cofire.registry import Method, MethodSettings, method_named
from cofire.store import Run

_logger = logging.getLogger(__name__)

# Settings that say where and how to compute, not what: a run may go on under other ones.
_CIRCUMSTANCE = frozenset({"output", "device", "batch_tokens"})


def fit(config: FitConfig, progress: Progress = SILENT) -> Run:
    """Factorise every site asked for and read the features; go on with a run begun earlier.

    Args:
        config: what to do; ``output`` defaults to a telling name under ``runs/``.
        progress: shown while working.

    Raises:
        CofireError: for input that cannot be used; finished sites are kept.
        KeyboardInterrupt: when the user stopped a fit; finished sites are kept.
    """
    config = config.with_absolute_paths()
    method = method_named(config.method)
    settings = MethodSettings(**config.model_dump(include=set(MethodSettings.__dataclass_fields__)))
    method.estimator(settings)  # a mistaken setting should not cost a model load
    source: RowSource
    if config.activations is not None:
        source = StoredRows(config.activations, config, progress)
    else:
        source = FreshRows(config, progress)
    if all(text.split == "heldout" for text in source.corpus):
        raise InputError(
            "All texts are held out: there is none left to fit. Hold out fewer with --heldout, or "
            "mark texts as train."
        )
    config = config.model_copy(update=source.settings)
    run = _open_run(config.output or Path("runs") / _run_name(config, source), config, source)
    for activations in source.rows(run.unfinished):
        _fit_site(run, method, settings, activations, source, config.n_contexts, progress)
    return run


def _run_name(config: FitConfig, source: RowSource) -> str:
    """Settings that people vary, so that a sweep does not run into itself."""
    parts = [source.name, config.method, f"k{config.n_components}"]
    if config.method == "snmf":
        parts.append(f"s{config.sparsity:g}")
        parts += [] if config.solver == "bcd" else [config.solver]
        parts += [] if config.code_penalty is None else [f"penalty{config.code_penalty:g}"]
    parts += [f"seed{config.seed}"] if config.seed else []
    return "-".join(parts)


def _open_run(path: Path, config: FitConfig, source: RowSource) -> Run:
    layers = ",".join(str(site.layer) for site in source.sites)
    resolved = config.model_copy(update={"layers": layers, "output": path}).resolved()
    if Run.present(path):
        run = Run.open(path)
        wanted = {key: value for key, value in resolved.items() if key not in _CIRCUMSTANCE}
        model = identity(source.header["model"])
        header = {"model": model, "capture": source.header["capture"], "config": wanted}
        try:
            same_settings(path, run.manifest, header)
            run.restore_texts(source.corpus)
        except StoreError:
            if not run.blank:
                raise
            run.discard()  # nothing was ever finished under the other settings
        else:
            return run
    return Run.create(
        path,
        config=resolved,
        sites=source.sites,
        corpus=source.corpus,
        environment=environment(resolve_device(config.device)),
        model=source.header["model"],
        capture=source.header["capture"],
    )


def _fit_site(
    run: Run,
    method: Method,
    settings: MethodSettings,
    activations: Activations,
    source: RowSource,
    n_contexts: int,
    progress: Progress,
) -> None:
    site = activations.site
    training = activations.where_split("train")
    n_training = len(training)
    method.check_size(settings.n_components, *training.shape)
    estimator = method.estimator(settings)
    started = time.perf_counter()
    with (
        progress.task(f"Fitting {site.name}", None, "sweep") as advance,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", ConvergenceWarning)
        warnings.simplefilter("always", SklearnConvergenceWarning)
        if isinstance(estimator, SemiNMF):
            estimator.callback = _report_sweep(advance)
        _fit_estimator(estimator, training, method)
    del training  # a copy of most of the rows
    for warning in caught:
        _logger.warning("%s: %s", site.name, warning.message)
    seconds = time.perf_counter() - started
    if getattr(estimator, "stop_reason_", None) == "interrupted":
        raise KeyboardInterrupt
    dictionary = method.dictionary(estimator, site, {"method": method.name, **vars(settings)})
    codes = dictionary.to(resolve_device(settings.device)).encode(activations).cpu()
    features = read_features(
        dictionary,
        activations,
        source.model,
        codes=codes,
        n_contexts=n_contexts,
        progress=progress,
    )
    run.write_site(
        dictionary,
        codes,
        activations.tokens,
        features,
        objective=[asdict(record) for record in getattr(estimator, "history_", [])],
        figures={
            "seconds": round(seconds, 3),
            "sweeps": getattr(estimator, "n_iter_", None),
            "stop_reason": getattr(estimator, "stop_reason_", None),
            "rows": len(activations),
            "training_rows": n_training,
            "channels": activations.shape[1],
        },
    )


def _fit_estimator(estimator: Any, training: Activations, method: Method) -> None:
    """Fit, with one clear sentence for what a method of another library refuses."""
    try:
        estimator.fit(training)
    except CofireError:
        raise
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"Method {method.name!r} cannot fit {training}: {reason}") from error
    except torch.OutOfMemoryError as error:
        raise CofireError(
            f"The device has too little memory to fit {training}; use --device cpu, a narrower "
            "--store-dtype, or fewer texts."
        ) from error


def _report_sweep(advance: Advance) -> Callable[[SweepRecord], None]:
    def report(record: SweepRecord) -> None:
        advance(1, loss=f"{record.relative_loss:.4f}", phase=record.phase)

    return report
