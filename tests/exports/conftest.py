"""A run of a tiny model, and the folder of activations it was fitted on."""

import pytest

from cofire import jobs
from cofire.config import CaptureConfig, FitConfig
from cofire.store import ActivationStore, Run


@pytest.fixture(scope="session")
def acts(tiny_folder, tmp_path_factory) -> ActivationStore:
    """Rows of a layer's neurons; nothing is written into it."""
    path = tmp_path_factory.mktemp("acts") / "acts"
    return jobs.capture(
        CaptureConfig(model=str(tiny_folder), layers="1", output=path, device="cpu", limit=240)
    )


@pytest.fixture(scope="session")
def run(acts, tmp_path_factory) -> Run:
    """Its features; nothing is written into it."""
    config = FitConfig(
        activations=acts.path,
        n_components=8,
        sparsity=0.2,
        max_iter=30,
        tol=0.01,
        n_contexts=4,
        device="cpu",
        output=tmp_path_factory.mktemp("fitted") / "run",
    )
    return jobs.fit(config)
