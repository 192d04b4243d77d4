"""One site of a stored run, written for other tools: what ``cofire export`` does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cofire.config import ExportConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports.delphi import WINDOW, write_delphi
from cofire.exports.folder import check_free, new_folder, write_about
from cofire.exports.neuronpedia import Steering, write_neuronpedia
from cofire.exports.sae_lens import error_in_words, write_amortised, write_sae_lens
from cofire.exports.source import RunSite, chosen_site
from cofire.exports.tables import TableForm, write_tables
from cofire.exports.vectors import steering_directions, write_vector_set
from cofire.interpret.carrying import carry_to_residual
from cofire.jobs.run_model import model_of
from cofire.jobs.run_rows import captured_rows, stored_rows
from cofire.models import LanguageModel
from cofire.progress import SILENT, Progress
from cofire.store import Run

_TAKEN_BY = {  # settings that only some formats know
    "image": ("saelens", "saelens-exact", "saedashboard"),
    "activations": ("saelens",),
    "source_set": ("neuronpedia",),
    "without_model": ("neuronpedia",),
    "window": ("delphi",),
    "shards": ("delphi",),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder.
        notes: what to know of it, a sentence each.
    """

    path: Path
    notes: tuple[str, ...] = ()


def export_run(config: ExportConfig, progress: Progress = SILENT) -> Exported:
    """Write one site of a run for another tool; the folder is there as a whole or not at all.

    Args:
        config: what to write, and how.
        progress: shown while working.

    Raises:
        InputError: when the folder holds something already, a setting does not go with the format,
            or the format has no place for such features.
        StoreError: when the run is damaged, or the folder cannot be written.
        ModelError: when the model is needed and cannot be loaded.
    """
    for name, formats in _TAKEN_BY.items():
        if getattr(config, name) not in (None, False) and config.to not in formats:
            raise InputError(
                f"--{name.replace('_', '-')} goes with --to {' or '.join(formats)}, not with "
                f"{config.to}."
            )
    run = Run.open(config.run)
    site = chosen_site(run, config.layer, config.site)
    path = config.output or config.run / "exports" / f"{site.name}-{config.to}"
    check_free(path)
    source = RunSite(run, site, model_name=config.model_name)
    with new_folder(path) as folder:
        notes = _WRITERS[config.to](_Task(config, source, folder, progress))
    return Exported(path, notes)


@dataclass(frozen=True)
class _Task:
    """One export."""

    config: ExportConfig
    source: RunSite
    folder: Path
    progress: Progress

    def model(self) -> LanguageModel:
        """The run's model."""
        return model_of(self.source.run, self.config.device, self.progress)

    def dictionary(self) -> Dictionary:
        """The run's dictionary, or its image where that is asked for."""
        if self.config.image is None:
            return self.source.dictionary
        return _carried(self.source.dictionary, self.model(), self.config.image)


def _carried(dictionary: Dictionary, model: LanguageModel, kind: Any) -> Dictionary:
    carried = carry_to_residual(dictionary, model, kind=kind)
    return carried.to(dictionary.atoms.device)


def _exact(task: _Task) -> tuple[str, ...]:
    dictionary = task.dictionary()
    write_sae_lens(task.source, dictionary, task.folder)
    if dictionary.encoder != "nnls":
        return ()
    return ("Exact codes: SAE.load_from_disk opens it where cofire is imported too.",)


def _amortised(task: _Task) -> tuple[str, ...]:
    source, config = task.source, task.config
    if source.dictionary.encoder != "nnls" and config.image is None:
        write_sae_lens(source, source.dictionary, task.folder)
        return ("The run's own encoder is one of SAELens'; nothing was fitted.",)
    if source.dictionary.rectify and config.image is None:
        raise InputError(
            "This method sets negative activations to 0 before it encodes, which no encoder of "
            "SAELens does; use --to saelens-exact."
        )
    if config.image is None:
        dictionary, codes = source.dictionary, source.codes
        rows = (
            captured_rows(source.run, task.model(), source.site, task.progress)
            if config.activations is None
            else stored_rows(config.activations, source.run, source.site)
        )
    else:
        model = task.model()
        dictionary = _carried(source.dictionary, model, config.image)
        rows = (
            captured_rows(source.run, model, dictionary.site, task.progress)
            if config.activations is None
            else stored_rows(config.activations, source.run, dictionary.site)
        )
        codes = dictionary.encode(rows)
    errors = write_amortised(
        source, dictionary, rows, codes, task.folder, seed=config.seed, progress=task.progress
    )
    return (error_in_words(errors),)


def _vector_set(task: _Task) -> tuple[str, ...]:
    dictionary = task.dictionary()
    write_vector_set(task.source, dictionary, task.folder)
    write_about(task.folder, {**task.source.facts(), "hook_name": dictionary.site.name})
    return ("SAEDashboard shows inner products with the atoms, not codes.",)


def _neuronpedia(task: _Task) -> tuple[str, ...]:
    source, config = task.source, task.config
    steering = None
    if not config.without_model:
        needed = source.site.kind == "mlp"
        image = _carried(source.dictionary, task.model(), "resid_post") if needed else None
        steering = Steering(*steering_directions(source.dictionary, image))
    write_neuronpedia(source, task.folder, source_set=config.source_set, steering=steering)
    if steering is None:
        return ("Steering vectors were left out.",)
    through = " are images through W_out," if source.site.kind == "mlp" else ""
    return (f"Steering vectors{through} of unit length, for {steering.site.name}.",)


def _delphi(task: _Task) -> tuple[str, ...]:
    window, shards = task.config.window or WINDOW, task.config.shards or 1
    write_delphi(task.source, task.folder, window=window, shards=shards, progress=task.progress)
    return ()


def _tables(task: _Task) -> tuple[str, ...]:
    form = cast(TableForm, task.config.to)
    write_tables(task.source, task.folder, form, progress=task.progress)
    return ()


_WRITERS: dict[str, Callable[[_Task], tuple[str, ...]]] = {
    "saelens": _amortised,
    "saelens-exact": _exact,
    "saedashboard": _vector_set,
    "neuronpedia": _neuronpedia,
    "delphi": _delphi,
    "csv": _tables,
    "parquet": _tables,
}
