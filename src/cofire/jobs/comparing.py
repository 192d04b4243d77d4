"""The comparison job: methods side by side on the same rows, cell by cell, and tables of it all."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cofire.config import CAPTURE_SETTINGS, CaptureConfig, CompareConfig, SweepConfig
from cofire.corpus import Corpus
from cofire.device import resolve_device
from cofire.errors import CofireError, InputError, ModelError, StoreError
from cofire.evaluation.fluency import FluencyScale
from cofire.evaluation.judging import Judge
from cofire.evaluation.steering_records import SteeringSettings
from cofire.jobs.asking import chat_model, check_answering, judging_model, model_judge
from cofire.jobs.capturing import capture, capture_settings, identity, same_settings
from cofire.jobs.compare_cell import CellJob, LayerRows
from cofire.jobs.compare_plan import (
    check_runs,
    plan_cells,
    reference_variant,
    steering_settings,
    sweep_axes,
)
from cofire.jobs.compare_steering import CellSteering, Naming
from cofire.jobs.compare_written import Writing
from cofire.jobs.environment import environment
from cofire.jobs.judges import judge_encoder, offline_judge
from cofire.jobs.sources import StoredRows
from cofire.jobs.unsteered import unsteered_texts
from cofire.llm import JournaledModel
from cofire.models import LanguageModel, load_model
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.store import CompareFolder
from cofire.store.compare_folder import ACTIVATIONS, CellFolder
from cofire.store.compare_results import write_results
from cofire.store.locks import locked

_logger = logging.getLogger(__name__)

_Opened = TypeVar("_Opened")

# Settings that say where and how to compute or print, and the axes, along which a grid may grow.
_FREE = frozenset(
    "output device batch_tokens as_json as_csv as_table quick activations "
    "methods k sparsity seeds steer_seeds loss_seeds halves vary values steer runs written "
    "llm_base_url llm_at_once llm_timeout".split()
)

_STEERING = frozenset(
    "targets samples new_tokens prompts descriptions judge labels "
    "llm_model local_model llm_prompts".split()
)


# What varies stands in the plan; an address says where a server was, which is nobody's business.
_UNKEPT = frozenset(("vary", "values", "llm_base_url"))


def compare(config: CompareConfig, progress: Progress = SILENT) -> CompareFolder:
    """Fit and measure every cell of a grid; go on with a comparison begun earlier.

    Args:
        config: what to compare; ``output`` defaults to a telling name under ``runs/``.
        progress: shown while working.

    Returns:
        The folder, with tables of all finished cells; what failed is noted in its cells.

    Raises:
        CofireError: for input that cannot be used; finished stages are kept.
        KeyboardInterrupt: when the user stopped it; finished stages are kept.
    """
    return _compare(config.with_quick().with_absolute_paths(), None, progress)


def sweep(config: SweepConfig, progress: Progress = SILENT) -> CompareFolder:
    """Vary one thing and measure everything at each value; see ``compare``."""
    config = config.with_quick().with_absolute_paths()
    return _compare(sweep_axes(config), config.vary, progress)


def _compare(config: CompareConfig, vary: str | None, progress: Progress) -> CompareFolder:
    unread = config.model_copy(update={"runs": None})
    plan_cells(unread, [Site(0, config.site)])  # a mistaken setting should not cost a capture
    steering = steering_settings(config) if config.steer else None
    asks = _asks(config)
    folder = _open(config, vary)
    begun = "model" in folder.manifest
    with _emptied_when_refused(folder):
        asked = _language_model(config, folder, progress) if asks else None
        source = _source(folder, config, progress)
    header = {
        "model": source.header["model"],
        "capture": source.header["capture"],
        "corpus": {"texts": len(source.corpus), "sha256": source.corpus.fingerprint},
    }
    if "model" in folder.manifest:
        same_settings(
            folder.path,
            folder.manifest,
            {"model": identity(header["model"]), "capture": header["capture"]},
        )
        if folder.manifest.get("corpus") != header["corpus"]:
            raise StoreError(
                f"{folder.path} was begun with other texts; choose another folder with -o, or "
                "remove it."
            )
        header.pop("model")
    folder.plan(
        plan_cells(config, source.sites), **header, reference=reference_variant(config), vary=vary
    )
    job = _job(config, source, steering, asked, progress)
    if asked is not None and begun and _anything_left(folder, job):
        check_answering(asked, config)
    _do_cells(folder, job, source, progress)
    with progress.task("Tables", None, ""):
        write_results(folder, seed=config.seed)
    return folder


def _open(config: CompareConfig, vary: str | None) -> CompareFolder:
    name = f"compare-{Path(config.model).name}" if vary is None else f"sweep-{vary}"
    path = config.output or Path("runs") / name
    settings = {n: v for n, v in config.resolved().items() if n not in _UNKEPT}
    fixed = {name: value for name, value in settings.items() if name not in _FREE}
    if config.layers is None:
        fixed.pop("layers")
    if config.activations is not None:  # model and texts are the folder's own
        fixed = {n: v for n, v in fixed.items() if n not in ("model", *CAPTURE_SETTINGS)}
    made = environment(resolve_device(config.device))
    if not CompareFolder.present(path):
        try:
            return CompareFolder.create(path, config=settings, environment=made)
        except StoreError:
            if not CompareFolder.present(path):  # another process has just begun it
                raise
    folder = CompareFolder.open(path)
    begun, fields = folder.manifest["config"], type(config).model_fields
    # What the cofire of that time did not know, and is left at its default, is no difference.
    fixed = {n: v for n, v in fixed.items() if n in begun or v != fields[n].default}
    if not begun.get("steer") and not begun.get("written"):  # nothing was done in another way yet
        fixed = {name: value for name, value in fixed.items() if name not in _STEERING}
    same_settings(path, folder.manifest, {"config": fixed})
    folder.plan(folder.cells, config=settings)
    return folder


def _asks(config: CompareConfig) -> bool:
    """Whether a language model is asked anything.

    Raises:
        InputError: when it would be asked about nothing.
    """
    if config.judge in ("llm", "local") and not config.steer:
        raise InputError(
            f"--judge {config.judge} rates what steered features write; add --steer N."
        )
    if config.labels == "llm" and not config.steer and not config.written:
        raise InputError(
            "--labels llm names features that are steered or written about; add --steer N or "
            "--written N."
        )
    return config.judge in ("llm", "local") or config.labels == "llm" or config.written > 0


def _language_model(
    config: CompareConfig, folder: CompareFolder, progress: Progress
) -> JournaledModel:
    """The language model, with its journal in the folder; before there are rows, it is tried out.

    Raises:
        CofireError: when it cannot be asked.
    """
    judges = config.judge
    if judges == "llm" or judges == "local":
        model = judging_model(config, judges, folder.path, device=config.device, progress=progress)
    else:
        model = chat_model(config, folder.path, device=config.device, progress=progress)
    if "model" not in folder.manifest:
        check_answering(model, config)
    return model


@contextmanager
def _emptied_when_refused(folder: CompareFolder) -> Iterator[None]:
    """Let no settings stand of a start that was refused before there were rows or cells."""
    try:
        yield
    except CofireError:
        if not folder.cells and not (folder.path / ACTIVATIONS).exists():
            folder.discard()
        raise


def _source(folder: CompareFolder, config: CompareConfig, progress: Progress) -> StoredRows:
    """The rows: of a folder that was given, or captured once into the comparison's own.

    Raises:
        CofireError: for texts, sites or runs that cannot be compared; before a capture.
    """

    def check(corpus: Corpus, sites: Sequence[Site]) -> None:
        if all(text.split == "heldout" for text in corpus):
            raise InputError(
                "All texts are held out: there is none left to fit. Hold out fewer with --heldout, "
                "or mark texts as train."
            )
        plan_cells(config, sites)
        check_runs(config, corpus)

    if config.activations is not None:
        found = StoredRows(config.activations, config, progress, with_model=False)
        check(found.corpus, found.sites)
        return found
    path = folder.path / ACTIVATIONS
    fields = set(CaptureConfig.model_fields) - {"output"}
    settings = CaptureConfig(**config.model_dump(include=fields), output=path)
    with locked(folder.rows_lock, wait=True):
        capture(settings, progress, check=check)
    return StoredRows(path, config, progress, with_model=False)


def _job(
    config: CompareConfig,
    source: StoredRows,
    steering: SteeringSettings | None,
    asked: JournaledModel | None,
    progress: Progress,
) -> CellJob:
    record, corpus = source.header["model"], source.corpus
    captured = config.model_copy(update={**source.settings, "model": record["name"]})

    def model() -> LanguageModel:
        with progress.task(f"Loading {record['name']}", None, "") as advance:
            found = load_model(record["name"], device=config.device, dtype=record["dtype"])
            advance(1)
        if found.fingerprint != record["fingerprint"]:
            raise ModelError(
                f"{record['name']} is another model now than the one the activations came from; "
                "capture again into another folder."
            )
        return found

    opened = _once(model)

    settings, somewhere = steering or SteeringSettings(), Site(0, "resid_post")
    unsteered = _once(lambda: unsteered_texts(opened(), somewhere, settings))
    encoder = _once(lambda: judge_encoder(config.judge, corpus))
    if steering is not None and config.judge == "sentences":
        encoder()  # a missing extra should not cost a fit

    def judge() -> Judge:
        if asked is not None and config.judge in ("llm", "local"):
            return model_judge(asked, config)
        scale = FluencyScale.of(unsteered().log_likelihoods)
        return offline_judge(
            opened(), somewhere, settings, corpus, encoder=encoder(), fluency=scale
        )

    reading = capture_settings(captured)
    heldout = [text for text in corpus if text.split == "heldout"]
    drawn = np.random.default_rng(config.seed).permutation(len(heldout))[: config.loss_texts]
    return CellJob(
        config=config,
        model=opened,
        texts=Corpus([heldout[place] for place in sorted(drawn.tolist())]) if len(drawn) else None,
        reading=reading,
        naming=Naming(asked if config.labels == "llm" else None, config.llm_prompts),
        steering=None
        if steering is None
        else CellSteering(steering, None if config.judge == "none" else _once(judge), unsteered),
        writing=None
        if asked is None or not config.written
        else Writing(asked, config.llm_prompts, reading),
        progress=progress,
    )


def _once(make: Callable[[], _Opened]) -> Callable[[], _Opened]:
    """Make something when it is first asked for, and the same one afterwards."""
    return cache(make)


def _anything_left(folder: CompareFolder, job: CellJob) -> bool:
    return any(job.unfinished(folder.cell(cell)) for cell in folder.cells)


def _do_cells(folder: CompareFolder, job: CellJob, source: StoredRows, progress: Progress) -> None:
    """Do every cell that is not finished; what fails is noted and shown, and others go on.

    Cells that another process is at work on are left to it, and looked at again in the end.
    """
    left = folder.cells
    with progress.task("Comparing", len(left), "cell") as advance:
        rows: tuple[Site, LayerRows] | None = None
        for wait in (False, True):
            busy = []
            for cell in left:
                with locked(folder.lock(cell), wait=wait) as mine:
                    if not mine:
                        busy.append(cell)
                        continue
                    own = folder.cell(cell)
                    if own.failure is not None or job.unfinished(own):
                        if rows is None or rows[0] != cell.site:
                            rows = cell.site, LayerRows(next(source.rows([cell.site])))
                        _do(own, job, rows[1])
                advance(1)
            left = busy


def _do(folder: CellFolder, job: CellJob, rows: LayerRows) -> None:
    """Do what is left of a cell; what fails is noted, with the stage it failed in after the fit."""
    sentences = []
    for stage, error in job.do(folder, rows).items():
        sentence = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, CofireError):
            sentence = f"{type(error).__name__}: {sentence}"
            _logger.debug("%s", folder.cell.name, exc_info=error)
        sentences.append(sentence if stage == "fit" else f"{stage}: {sentence}")
        _logger.warning("%s: %s", folder.cell.name, sentences[-1])
    if sentences or folder.failure is not None:
        folder.note_failure(" ".join(sentences) or None)


def failures(folder: CompareFolder) -> Mapping[str, str]:
    """Why cells could not be finished, by the name of the cell."""
    found: dict[str, Any] = {cell.name: folder.cell(cell).failure for cell in folder.cells}
    return {name: sentence for name, sentence in found.items() if sentence is not None}
