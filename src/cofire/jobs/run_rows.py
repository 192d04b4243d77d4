"""The rows that a stored run was fitted on: from a folder of activations, or captured again."""

from pathlib import Path

from cofire.activations import Activations, TokenTable
from cofire.errors import InputError, StoreError
from cofire.jobs.capturing import capture_settings, counting_texts
from cofire.jobs.run_model import run_config
from cofire.models import LanguageModel, capture_activations
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.store import ActivationStore, Run


def stored_rows(folder: Path, run: Run, site: Site) -> Activations:
    """The rows at a site, from a folder made by ``cofire capture``.

    Args:
        folder: with the activations.
        run: whose rows they must be.
        site: a site of the run, or another one of the same tokens.

    Raises:
        InputError: when the folder does not hold the rows that the run was fitted on.
        StoreError: when it cannot be read.
    """
    store = ActivationStore.open(folder)
    if site not in store.sites:
        held = ", ".join(map(str, store.sites))
        raise InputError(f"{folder} holds {held}, but the run's features are at {site}.")
    rows, tokens = store.activations(site), _tokens(run, site)
    if not rows.tokens.same_tokens(tokens):
        raise InputError(
            f"{folder} holds other tokens ({len(rows)} rows) than the run ({len(tokens)} rows); "
            "give the folder that the run was fitted on, or capture its texts again."
        )
    return rows


def captured_rows(
    run: Run, model: LanguageModel, site: Site, progress: Progress = SILENT
) -> Activations:
    """The rows at a site, captured again from the run's texts.

    Args:
        run: whose texts and capture settings count.
        model: the run's model.
        site: a site of the run, or another one of the same model.
        progress: shown while working.

    Raises:
        StoreError: when the model now gives other tokens.
    """
    settings = capture_settings(run_config(run))
    texts = len(run.corpus)
    with progress.task("Capturing", texts, "text") as advance:
        rows = capture_activations(
            model, run.corpus, [site], settings, progress=counting_texts(advance, texts)
        )[site]
    if not rows.tokens.same_tokens(_tokens(run, site)):
        raise StoreError(
            f"{model.name} splits the texts of {run.path} otherwise than when the run was made; "
            "fit again."
        )
    return rows


def _tokens(run: Run, site: Site) -> TokenTable:
    return run.tokens(site if site in run.sites else run.site_at(site.layer))
