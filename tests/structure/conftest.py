"""A stored run whose structure is planted."""

import pytest

from cofire.store import Run
from planted_days import make_day_run


@pytest.fixture(scope="session")
def day_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two layers of planted features; nothing is written into its folder by tests that read it."""
    return make_day_run(tmp_path_factory.mktemp("runs") / "days")
