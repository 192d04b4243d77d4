"""The fit job: activations in, a run folder with dictionaries and readable features out."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cofire.activations import Activations
from cofire.config import FitConfig
from cofire.device import resolve_device
from cofire.errors import StoreError
from cofire.interpret.reading import read_features
from cofire.jobs.capturing import identity, same_settings
from cofire.jobs.environment import environment
from cofire.jobs.sources import FreshRows, RowSource, StoredRows
from cofire.progress import SILENT, Progress
from cofire.registry import Method, MethodSettings, method_named
from cofire.store import Run

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
    method = method_named(config.method)
    settings = MethodSettings(**config.model_dump(include=set(MethodSettings.__dataclass_fields__)))
    method.estimator(settings)  # a mistaken setting should not cost a model load
    source: RowSource
    if config.activations is not None:
        source = StoredRows(
            config.activations, layers=config.layers, device=config.device, progress=progress
        )
    else:
        source = FreshRows(config, progress)
    name = f"{source.name}-{method.name}-k{config.n_components}"
    run = _open_run(config.output or Path("runs") / name, config, source)
    for activations in source.rows(run.unfinished):
        _fit_site(run, method, settings, activations, source, config.n_contexts, progress)
    return run


def _open_run(path: Path, config: FitConfig, source: RowSource) -> Run:
    layers = ",".join(str(site.layer) for site in source.sites)
    resolved = config.model_copy(update={"layers": layers, "output": path}).resolved()
    if not Run.present(path):
        return Run.create(
            path,
            config=resolved,
            sites=source.sites,
            environment=environment(resolve_device(config.device)),
            **source.header,
        )
    run = Run.open(path)
    wanted = {key: value for key, value in resolved.items() if key not in _CIRCUMSTANCE}
    model = identity(source.header["model"])
    same_settings(path, run.manifest, {"model": model, "config": wanted})
    if run.manifest["corpus"]["sha256"] != source.header["corpus"]["sha256"]:
        raise StoreError(
            f"{path} was begun with other texts; choose another folder with -o, or remove it."
        )
    return run


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
    estimator = method.estimator(settings)
    started = time.perf_counter()
    with progress.task(f"Fitting {site.name}", None, "sweep") as advance:
        if hasattr(estimator, "callback"):
            estimator.callback = _report_sweep(advance)
        estimator.fit(training)
    seconds = time.perf_counter() - started
    if getattr(estimator, "stop_reason_", None) == "interrupted":
        raise KeyboardInterrupt
    dictionary = method.dictionary(estimator, site, {"method": method.name, **vars(settings)})
    codes = dictionary.encode(activations.X).cpu()
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
        objective=getattr(estimator, "history_", []),
        figures={
            "seconds": round(seconds, 3),
            "sweeps": getattr(estimator, "n_iter_", None),
            "stop_reason": getattr(estimator, "stop_reason_", None),
            "rows": len(activations),
            "training_rows": len(training),
            "channels": activations.shape[1],
        },
    )


def _report_sweep(advance: Callable[..., None]) -> Callable[[Mapping[str, Any]], None]:
    def report(record: Mapping[str, Any]) -> None:
        advance(1, loss=f"{record['relative_loss']:.4f}", phase=record["phase"])

    return report
