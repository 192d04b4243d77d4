"""Fixtures of the tests of pages: open ones, and a server with something on every page."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Server, serving
from open_pages import desk, visit

from cofire.store import Run
from hostile_text import hostile_run_at
from made_once import made_once
from sample_run import make_run

__all__ = ["desk", "explorer", "planted", "visit"]

_STORED_PATH = Path(__file__).parents[1] / "archives" / "path-v1"


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two layers of 240 planted features, promoted tokens among what is known of them."""

    def make(folder: Path) -> None:
        make_run(folder / "planted", n_features=240)

    return Run.open(made_once(tmp_path_factory, "planted", make) / "planted")


@pytest.fixture(scope="session")
def explorer(
    studied: Run, planted: Run, alone: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A real run with its model and results of other commands, a planted and a hostile one."""
    folder = tmp_path_factory.mktemp("explorer")
    tiny = shutil.copytree(studied.path, folder / "tiny")
    hostile = hostile_run_at(folder / "hostile")
    others = [*alone, shutil.copytree(_STORED_PATH, folder / "path")]
    with serving([tiny, planted.path, hostile.path, *others], device="cpu") as found:
        yield found
