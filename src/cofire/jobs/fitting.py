"""The fit job: activations in, a run folder with dictionaries and readable features out."""

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from cofire.activations import Activations
from cofire.baselines import MatchedSAE
from cofire.config import FitConfig
from cofire.device import resolve_device
from cofire.errors import CofireError, ConvergenceWarning, InputError, StoreError
from cofire.factorization import Checkpoint, SemiNMF, SweepRecord
from cofire.factorization.checkpoint import OtherFitError
from cofire.factorization.parameters import named_solver
from cofire.interpret.reading import read_features
from cofire.jobs.capturing import identity, same_settings
from cofire.jobs.environment import environment
from cofire.jobs.ready_sae import ReadySae, check_sites, method_of, with_own_site
from cofire.jobs.sources import FreshRows, RowSource, StoredRows
from cofire.method import Method, MethodSettings
from cofire.progress import SILENT, Advance, Progress
from cofire.ranks import ONE, Ranks
from cofire.site import Site
from cofire.store import Run

_logger = logging.getLogger(__name__)

# Settings that say where and how to compute, not what: a run may go on under other ones.
_CIRCUMSTANCE = frozenset({"output", "device", "batch_tokens"})


def fit(config: FitConfig, progress: Progress = SILENT, ranks: Ranks = ONE) -> Run:
    """Factorise every site asked for and read the features; go on with a run begun earlier.

    Of several processes each fits its share of the rows; process 0 reads the features and writes
    the run.

    Args:
        config: what to do; ``output`` defaults to a telling name under ``runs/``.
        progress: shown while working.
        ranks: all processes, each of which makes the same call (jobs/processes.py).

    Raises:
        CofireError: for input that cannot be used; finished sites are kept.
        KeyboardInterrupt: when the user stopped a fit; finished sites are kept.
    """
    config = config.with_absolute_paths()
    method = method_of(config)
    settings = MethodSettings(**config.model_dump(include=set(MethodSettings.__dataclass_fields__)))
    method.estimator(settings)  # a mistaken setting should not cost a model load
    config = with_own_site(config, method)
    source: RowSource
    first = ranks.rank == 0
    if config.activations is not None:
        source = StoredRows(config.activations, config, progress, with_model=first)
    elif ranks.size > 1:
        raise InputError(
            "Several processes need rows on disk: run `cofire capture` once, then `torchrun ... -m "
            "cofire fit FOLDER`."
        )
    else:
        source = FreshRows(config, progress)
    if all(text.split == "heldout" for text in source.corpus):
        raise InputError(
            "All texts are held out: there is none left to fit. Hold out fewer with --heldout, or "
            "mark texts as train."
        )
    method.check_texts(source.corpus)
    check_sites(method, source.sites, source.model)
    config = config.model_copy(update=source.settings)
    path = config.output or Path("runs") / _run_name(config, method, source)
    run = _open_run(path, config, source) if first else None
    ranks.gather(0.0)  # the run is there
    run = run or Run.open(path)
    if first:
        for site in run.sites:
            _state(run, site).discard()  # of a job that ended right after storing the site
    job = _Job(config, method, settings, source, run, progress, ranks)
    for activations in source.rows(run.unfinished):
        job.do(activations)
    return run if first else Run.open(path)


def _run_name(config: FitConfig, method: Method, source: RowSource) -> str:
    """Settings that people vary, so that a sweep does not run into itself."""
    parts = [source.name, config.method]
    parts += [] if method.needs_labels else [f"k{config.n_components}"]
    if "sparsity" in method.honours:
        parts.append(f"s{config.sparsity:g}")
    if "solver" in method.honours:
        parts += [] if config.solver == "bcd" else [config.solver]
        parts += [] if config.code_penalty is None else [f"penalty{config.code_penalty:g}"]
        parts += ["centred"] if config.center else []
        parts += ["shared"] if config.sparsity_budget == "dictionary" else []
    parts += [] if config.max_active is None else [f"active{config.max_active}"]
    parts += [f"seed{config.seed}"] if config.seed else []
    return "-".join(parts)


def _open_run(path: Path, config: FitConfig, source: RowSource) -> Run:
    layers = ",".join(str(site.layer) for site in source.sites)
    resolved = config.model_copy(update={"layers": layers, "output": path}).resolved()
    if Run.present(path):
        run = Run.open(path)
        wanted = _settled(resolved, run.manifest["config"])
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


def _settled(resolved: Mapping[str, Any], begun: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that must be those a run was begun with.

    One that its cofire did not know yet, and that is left at its default, is none of them.
    """
    fields = FitConfig.model_fields
    return {
        name: value
        for name, value in resolved.items()
        if name not in _CIRCUMSTANCE
        and (name in begun or name not in fields or value != fields[name].default)
    }


@dataclass(frozen=True)
class _Job:
    """What is done at every site."""

    config: FitConfig
    method: Method
    settings: MethodSettings
    source: RowSource
    run: Run
    progress: Progress
    ranks: Ranks

    def do(self, activations: Activations) -> None:
        """Fit in all processes, read and write in the first."""
        training = activations.where_split("train")
        figures = {
            "rows": len(activations),
            "training_rows": len(training),
            "channels": activations.shape[1],
            "processes": self.ranks.size,
        }
        method = self.method
        if isinstance(method, ReadySae):
            method = method.placed(activations.site, self.source.model)
        method.check_size(self.settings.n_components, *training.shape)
        if self.ranks.size > 1:
            training = training.take(_share(len(training), self.ranks))
        estimator = method.estimator(self.settings)
        figures |= self._fit(estimator, training)
        del training  # where it is in memory, a copy of most of the rows
        if self.ranks.rank == 0:
            self._read(method, estimator, activations, figures)
            _state(self.run, activations.site).discard()
        self.ranks.gather(0.0)  # the site is written

    def _fit(self, estimator: Any, training: Activations) -> dict[str, Any]:
        """Fit the estimator; returns what there is to say of it."""
        site = training.site
        started = time.perf_counter()
        steps, unit = None, "sweep"
        if isinstance(estimator, MatchedSAE):
            steps, unit = estimator.training_steps(len(training)), "step"
        with (
            self.progress.task(f"Fitting {site.name}", steps, unit) as advance,
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always", ConvergenceWarning)
            warnings.simplefilter("always", SklearnConvergenceWarning)
            if isinstance(estimator, SemiNMF):
                estimator.callback = _report_sweep(advance)
                estimator.distributed = self.ranks.size > 1
                if "checkpoint" in named_solver(estimator.solver).options:
                    estimator.checkpoint = _state(self.run, site)
            elif isinstance(estimator, MatchedSAE):
                estimator.callback = advance
            if self.ranks.size > 1 and not isinstance(estimator, SemiNMF):
                raise InputError(
                    f"Method {self.method.name!r} runs in one process; start without torchrun."
                )
            fit_estimator(estimator, training, self.method)
        for warning in caught:
            _logger.warning("%s: %s", site.name, warning.message)
        if getattr(estimator, "stop_reason_", None) == "interrupted":
            raise KeyboardInterrupt
        return {
            "seconds": round(time.perf_counter() - started, 3),
            "sweeps": getattr(estimator, "n_iter_", None),
            "stop_reason": getattr(estimator, "stop_reason_", None),
        }

    def _read(
        self,
        method: Method,
        estimator: Any,
        activations: Activations,
        figures: Mapping[str, Any],
    ) -> None:
        """Encode all rows, read the features and write the site."""
        provenance = {"method": method.name, **vars(self.settings)}
        dictionary = method.dictionary(estimator, activations.site, provenance)
        codes = dictionary.to(resolve_device(self.settings.device)).encode(activations).cpu()
        features = read_features(
            dictionary,
            activations,
            self.source.model,
            codes=codes,
            n_contexts=self.config.n_contexts,
            progress=self.progress,
        )
        self.run.write_site(
            dictionary,
            codes,
            activations.tokens,
            features,
            objective=[asdict(record) for record in getattr(estimator, "history_", [])],
            figures=figures,
        )


def _state(run: Run, site: Site) -> Checkpoint:
    """Where the fit of a site stands, until the site is stored."""
    return Checkpoint(run.path / site.name / "unfinished", keep=True)


def _share(n_rows: int, ranks: Ranks) -> np.ndarray:
    """Consecutive rows for each process, in order of rank."""
    return np.array_split(np.arange(n_rows), ranks.size)[ranks.rank]


def fit_estimator(estimator: Any, training: Activations, method: Method) -> None:
    """Fit, with one clear sentence for what a method of another library refuses."""
    try:
        estimator.fit(training)
    except OtherFitError as error:
        # The run holds nothing of that fit yet, so that nothing is lost.
        _logger.warning("Starting this layer anew: %s", error)
        estimator.checkpoint.discard()
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
        # How sparse the atoms are is a setting; how sparse the codes are is found out.
        density = {"non-zero codes": f"{record.code_density:.1%}"}
        sweeps = int(record.phase != "final")  # which solves for the codes alone
        advance(sweeps, loss=f"{record.relative_loss:.4f}", **density, phase=record.phase)

    return report
