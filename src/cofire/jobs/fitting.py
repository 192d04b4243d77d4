"""The fit job: activations in, a run folder with dictionaries and readable features out."""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from cofire.activations import Activations
from cofire.config import FitConfig
from cofire.device import resolve_device
from cofire.errors import ConvergenceWarning, StoreError
from cofire.factorization import SweepRecord
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
    with (
        progress.task(f"Fitting {site.name}", None, "sweep") as advance,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", ConvergenceWarning)
        warnings.simplefilter("always", SklearnConvergenceWarning)
        if hasattr(estimator, "callback"):
            estimator.callback = _report_sweep(advance)
        estimator.fit(training)
    for warning in caught:
        _logger.warning("%s: %s", site.name, warning.message)
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
        objective=[asdict(record) for record in getattr(estimator, "history_", [])],
        figures={
            "seconds": round(seconds, 3),
            "sweeps": getattr(estimator, "n_iter_", None),
            "stop_reason": getattr(estimator, "stop_reason_", None),
            "rows": len(activations),
            "training_rows": len(training),
            "channels": activations.shape[1],
        },
    )


def _report_sweep(advance: Advance) -> Callable[[SweepRecord], None]:
    def report(record: SweepRecord) -> None:
        advance(1, loss=f"{record.relative_loss:.4f}", phase=record.phase)

    return report
