"""One site of a stored run, written for other tools: what ``cofire export`` does."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from cofire.activations import Activations
from cofire.config import ExportConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports.delphi import WINDOW, write_delphi
from cofire.exports.folder import check_free, new_folder
from cofire.exports.neuronpedia import write_neuronpedia
from cofire.exports.sae_lens import error_in_words, write_amortised, write_sae_lens
from cofire.exports.source import RunSite, chosen_site
from cofire.exports.tables import TableForm, write_tables
from cofire.exports.vectors import Directions, residual_directions, write_vector_set
from cofire.interpret.carrying import carry_to_residual
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.store import Run

if TYPE_CHECKING:  # importing transformers takes seconds
    from cofire.models import LanguageModel

_TAKEN_BY = {  # settings that only some formats know
    "image": ("saelens", "saelens-exact"),
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

    @cached_property
    def model(self) -> "LanguageModel":
        """The run's model."""
        from cofire.jobs.run_model import model_of  # slow to import

        return model_of(self.source.run, self.config.device, self.progress)

    def rows(self, site: Site) -> Activations:
        """The run's rows at a site, stored or captured again."""
        from cofire.jobs.run_rows import captured_rows, stored_rows  # slow to import

        if self.config.activations is not None:
            return stored_rows(self.config.activations, self.source.run, site)
        return captured_rows(self.source.run, self.model, site, self.progress)

    def carried(self, kind: Literal["mlp_out", "resid_post"]) -> Dictionary:
        """The dictionary's image in the residual stream."""
        own = self.source.dictionary
        return carry_to_residual(own, self.model, kind=kind).to(own.atoms.device)

    def directions(self) -> Directions:
        """The features' directions in the residual stream."""
        own = self.source.dictionary
        image = self.carried("resid_post") if own.site.kind == "mlp" else None
        return residual_directions(own, image)

    def dictionary(self) -> Dictionary:
        """The run's dictionary, or its image where that is asked for."""
        image = self.config.image
        return self.source.dictionary if image is None else self.carried(image)


def _exact(task: _Task) -> tuple[str, ...]:
    dictionary = task.dictionary()
    write_sae_lens(task.source, dictionary, task.folder)
    if dictionary.encoder != "nnls":
        return ()
    return ("Exact codes: SAE.load_from_disk opens it after `import cofire.exports.nnls_sae`.",)


def _amortised(task: _Task) -> tuple[str, ...]:
    source, dictionary = task.source, task.dictionary()
    if dictionary.encoder != "nnls":
        write_sae_lens(source, dictionary, task.folder)
        return ("The run's own encoder is one of SAELens'; nothing was fitted.",)
    if dictionary.rectify:
        raise InputError(
            "This method sets negative activations to 0 before it encodes, which no encoder of "
            "SAELens does; use --to saelens-exact."
        )
    rows = task.rows(dictionary.site)
    codes = source.codes if task.config.image is None else dictionary.encode(rows)
    errors = write_amortised(
        source, dictionary, rows, codes, task.folder, seed=task.config.seed, progress=task.progress
    )
    return (error_in_words(errors),)


def _vector_set(task: _Task) -> tuple[str, ...]:
    directions = task.directions()
    write_vector_set(task.source, directions, task.folder)
    shown = "SAEDashboard shows inner products with them, not codes."
    return (_in_words("Vectors", directions), shown)


def _neuronpedia(task: _Task) -> tuple[str, ...]:
    steering = None if task.config.without_model else task.directions()
    write_neuronpedia(
        task.source, task.folder, source_set=task.config.source_set, steering=steering
    )
    if steering is None:
        return ("Steering vectors were left out.",)
    return (_in_words("Steering vectors", steering),)


def _in_words(what: str, directions: Directions) -> str:
    origin = " are images of MLP features through W_out," if directions.image else ""
    return f"{what}{origin} of unit length, for {directions.site.name}."


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
