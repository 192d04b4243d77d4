"""The model that a stored run was made of, and activations of its texts."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cofire.config import FitConfig
from cofire.corpus import Corpus
from cofire.errors import StoreError
from cofire.jobs.capturing import capture_settings
from cofire.models import LanguageModel, capture_activations, load_model
from cofire.progress import Progress
from cofire.site import Site
from cofire.store import Run
from cofire.types import Float, Tensor

SAMPLE_TEXTS = 200
"""Training texts from which a neuron's mean activation is taken."""


def model_of(run: Run, device: str, progress: Progress) -> LanguageModel:
    """Load the run's model, and make sure that it is the same one.

    Raises:
        StoreError: when the run does not say which it is, or it is another one now.
        ModelError: when it cannot be loaded.
    """
    record: Any = run.manifest.get("model")
    if not isinstance(record, dict) or not {"name", "fingerprint", "dtype"} <= set(record):
        raise StoreError(f"{run.path} does not say which model it was made of; fit again.")
    with progress.task(f"Loading {record['name']}", None, "") as advance:
        model = load_model(record["name"], device=device, dtype=record["dtype"])
        advance(1)
    if model.fingerprint != record["fingerprint"]:
        raise StoreError(
            f"{record['name']} is another model now than the one {run.path} was made of; give that "
            "one back its place, or fit again."
        )
    return model


def run_config(run: Run) -> FitConfig:
    """The settings that a run was made with; those that this version does not know are left out."""
    known = {name: run.config[name] for name in FitConfig.model_fields if name in run.config}
    return FitConfig(**known)


def neuron_means(
    run: Run, model: LanguageModel, site: Site, *, seed: int = 0
) -> tuple[Float[Tensor, "channels"], Float[Tensor, "channels"]]:
    """Mean activation and mean magnitude of every neuron over a sample of training texts.

    Args:
        run: whose texts and capture settings count.
        model: the run's model.
        site: where the neurons are.
        seed: of the sample.
    """
    train = np.array([i for i, text in enumerate(run.corpus) if text.split == "train"])
    chosen = np.random.default_rng(seed).permutation(train)[:SAMPLE_TEXTS]
    texts = Corpus(run.corpus[int(i)] for i in np.sort(chosen))
    settings = replace(capture_settings(run_config(run)), dtype="float32")
    X = capture_activations(model, texts, [site], settings)[site].X.float().cpu()
    return X.mean(dim=0), torch.as_tensor(X.abs().mean(dim=0))
