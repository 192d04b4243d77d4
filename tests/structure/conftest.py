"""A stored run whose structure is planted."""

from collections.abc import Iterator

import pytest
import torch

from cofire.store import Run
from planted_days import make_day_run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices lose far more by sharing work between threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def day_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two layers of planted features; nothing is written into its folder by tests that read it."""
    return make_day_run(tmp_path_factory.mktemp("runs") / "days")
