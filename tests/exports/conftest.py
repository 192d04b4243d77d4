"""A run of a tiny model, and the folder of activations it was fitted on."""

from collections.abc import Iterator

import pytest
import torch

from cofire import jobs
from cofire.config import CaptureConfig, FitConfig
from cofire.store import ActivationStore, Run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices lose far more by sharing work between threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
