"""A dictionary as a folder of SAELens: with an encoder that opens anywhere, or with exact codes.

A dictionary of nonnegative least squares has no encoder that SAELens knows. It is given an
amortised one (``amortised.py``), whose error against exact codes is kept in the folder's metadata,
or written for the architecture that cofire adds to SAELens (``nnls_sae.py``).
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cofire.activations import Activations
from cofire.baselines import save_sae
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.exports.amortised import EncoderError, amortise, encoder_error
from cofire.exports.source import RunSite
from cofire.progress import SILENT, Progress
from cofire.structure.tree_labels import training_rows
from cofire.types import CodeMatrix


def write_sae_lens(source: RunSite, dictionary: Dictionary, folder: Path) -> None:
    """Write a dictionary as it is: any encoder of an SAE, or exact nonnegative least squares.

    Args:
        source: what is exported.
        dictionary: the run's, or its image in the residual stream.
        folder: where, already there.

    Raises:
        InputError: for a dictionary that encodes linearly; its codes have signs.
    """
    save_sae(dictionary, folder, model=source.model_name, metadata=_metadata(source, dictionary))


def write_amortised(
    source: RunSite,
    dictionary: Dictionary,
    activations: Activations,
    codes: CodeMatrix,
    folder: Path,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, EncoderError | None]:
    """Write a dictionary with an amortised encoder and what that loses.

    Args:
        source: what is exported.
        dictionary: with encoder ``nnls``: the run's, or its image in the residual stream.
        activations: the rows at the dictionary's site.
        codes: its exact codes of all rows.
        folder: where, already there.
        seed: of the rows that are drawn where there are very many.
        progress: shown while working.

    Returns:
        The error on rows of ``training`` and of ``heldout`` texts, None where there is none.

    Raises:
        InputError: as ``amortise``.
    """
    encoder = amortise(dictionary, activations, codes, seed=seed, progress=progress)
    training = training_rows(activations.tokens, activations.corpus)
    errors = {
        name: encoder_error(dictionary, encoder, activations, codes, rows)
        for name, rows in (("training", training), ("heldout", ~training))
    }
    told = {name: None if error is None else asdict(error) for name, error in errors.items()}
    provenance = {**dictionary.provenance, "encoder": "amortised", "encoder_error": told}
    write_sae_lens(source, replace(encoder, provenance=provenance), folder)
    return errors


def error_in_words(errors: dict[str, EncoderError | None]) -> str:
    """The error on held-out rows, or on training rows where none is held out, in one sentence.

    Raises:
        InputError: when nothing was measured.
    """
    name = "held-out" if errors.get("heldout") else "training"
    error = errors.get("heldout") or errors.get("training")
    if error is None:
        raise InputError("The encoder was measured on no row.")
    exact, found, agreeing = (
        "–" if value is None else f"{value:.4f}"
        for value in (
            error.relative_loss_exact,
            error.relative_loss_amortised,
            error.active_agreeing,
        )
    )
    return (
        f"Amortised encoder on {error.rows:,} {name} rows: relative loss {found} (exact codes "
        f"{exact}), {error.active_amortised:.1f} features a row (exact {error.active_exact:.1f}), "
        f"share of active codes agreeing {agreeing}."
    )


def _metadata(source: RunSite, dictionary: Dictionary) -> dict[str, Any]:
    return {
        "prepend_bos": source.bos,
        "dataset_path": source.data_name or None,
        "cofire_run": dict(source.facts()) | {"space": _space(dictionary)},
    }


def _space(dictionary: Dictionary) -> str:
    carried = dictionary.provenance.get("carried")
    if carried is not None:
        return f"image of {carried['from']} in the residual stream through {carried['through']}"
    return {"mlp": "MLP neurons", "attn": "outputs of attention heads"}.get(
        dictionary.site.kind, "residual stream"
    )
