"""Fidelity of dictionaries side by side: explained variance, and loss when they take over."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from cofire.activations import Activations
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.equal_activity import active_a_row, at_equal_activity
from cofire.evaluation.measurement import Measurement
from cofire.evaluation.measures import measure_named
from cofire.evaluation.reconstruction import row_errors
from cofire.evaluation.replacing import MOST_TOKENS, replace_activations
from cofire.models import CaptureSettings, LanguageModel
from cofire.progress import SILENT, Progress
from cofire.types import ActivationMatrix, Float, Tensor

ROWS = 2048
"""Training rows on which the activity is made equal."""

_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class ReplacingFigures:
    """How well one dictionary stands in for the activations, on held-out texts.

    Attributes:
        name: of the dictionary.
        figures: measurements by name: ``unexplained-variance``, ``active-features``,
            ``loss-recovered-mean``, ``loss-recovered-zero`` (cross-entropy),
            ``divergence-recovered-mean``, ``divergence-recovered-zero`` (KL).
        tokens: predictions that were scored.
    """

    name: str
    figures: Mapping[str, Measurement]
    tokens: int

    def value(self, measure: str) -> float | None:
        """One figure; None when it could not be measured."""
        return self.figures[measure].value


def measure_replacing(
    model: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    activations: Activations,
    *,
    settings: CaptureSettings | None = None,
    most_tokens: int | None = MOST_TOKENS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, ReplacingFigures]:
    """Measure FVU, L0 and loss recovered of dictionaries at one site, on held-out texts.

    Args:
        model: the model the rows came from.
        dictionaries: by name; all of the site of the activations.
        activations: rows of training and held-out texts; the former give the mean row.
        settings: how texts are read, as when they were captured.
        most_tokens: held-out texts are drawn up to so many tokens for the losses; None for all.
        seed: of the drawing and of the intervals.
        progress: shown while reading.

    Raises:
        InputError: when no text is held out, none is for training, or a dictionary is of another
            site or width.
    """
    for name, one in dictionaries.items():
        if one.site != activations.site:
            raise InputError(
                f"{name} is at {one.site}, the activations are from {activations.site}; measure a "
                "dictionary at its own site."
            )
    heldout = activations.where_split("heldout")
    training = activations.where_split("train")
    if not len(heldout) or not len(training):
        raise InputError(
            "Fidelity is measured on held-out texts against the mean of training texts; hold out "
            "some of them with --heldout."
        )
    texts = Corpus([text for text in activations.corpus if text.split == "heldout"])
    replaced = replace_activations(
        model,
        dictionaries,
        texts,
        mean_row(training),
        settings=settings,
        most_tokens=most_tokens,
        seed=seed,
        progress=progress,
    )
    found = {}
    for name, one in dictionaries.items():
        errors = row_errors(one, heldout)
        data = {
            "unexplained-variance": errors,
            "active-features": errors,
            "loss-recovered-mean": replaced[name].cross_entropy,
            "loss-recovered-zero": replaced[name].cross_entropy,
            "divergence-recovered-mean": replaced[name].divergence,
            "divergence-recovered-zero": replaced[name].divergence,
        }
        figures = {measure: measure_named(measure)(of, seed=seed) for measure, of in data.items()}
        found[name] = ReplacingFigures(name, figures, len(replaced[name].cross_entropy.text_id))
    return found


def with_equal_activity(
    dictionaries: Mapping[str, Dictionary],
    reference: str,
    activations: Activations,
    *,
    seed: int = 0,
) -> dict[str, Dictionary]:
    """The dictionaries encoding with as many active features a row as one of them.

    Args:
        dictionaries: by name.
        reference: the one that the others follow, such as a matched SAE; it stays as it is.
        activations: training rows are taken from these, at most `ROWS`.
        seed: of drawing the rows.

    Returns:
        All of them, in order; see ``at_equal_activity`` for what cannot follow.

    Raises:
        InputError: when there is no dictionary of that name.
    """
    if reference not in dictionaries:
        known = ", ".join(dictionaries) or "none"
        raise InputError(f"There is no dictionary {reference!r} to follow; there are: {known}.")
    rows = some_rows(activations.where_split("train"), ROWS, seed)
    wanted = active_a_row(dictionaries[reference], rows)
    return {
        name: one if name == reference else at_equal_activity(one, rows, wanted)
        for name, one in dictionaries.items()
    }


def mean_row(activations: Activations) -> Float[Tensor, "channels"]:
    """Mean of the rows, a block in memory at a time; float32."""
    total = torch.zeros(activations.shape[1], dtype=torch.float64)
    for block in activations.chunks(_BLOCK_ROWS):
        total += block.double().sum(dim=0).cpu()
    return (total / len(activations)).float()


def some_rows(activations: Activations, most: int, seed: int) -> ActivationMatrix:
    """At most so many rows, drawn with a seed; in memory."""
    if len(activations) > most:
        drawn = np.random.default_rng(seed).choice(len(activations), most, replace=False)
        activations = activations.take(np.sort(drawn))
    return activations.X.float()
