"""A real run of a tiny random model, served."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Server, serving
from stored_results import add_results, make_lone_results

from cofire import jobs
from cofire.config import FitConfig
from cofire.store import Run
from made_once import made_once

__all__ = ["alone", "copied", "server", "stored", "studied"]


@pytest.fixture(scope="session")
def stored(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two layers of eight features, fitted on 300 bundled sentences."""

    def make(folder: Path) -> None:
        jobs.fit(
            FitConfig(
                model=str(tiny_folder),
                layers="0,2",
                limit=300,
                output=folder / "tiny",
                n_components=8,
                sparsity=0.1,
                max_iter=20,
                tol=1e-2,
                device="cpu",
            )
        )

    return Run.open(made_once(tmp_path_factory, "stored", make) / "tiny")


@pytest.fixture
def copied(stored: Run, tmp_path: Path) -> Run:
    """A copy that a test may change."""
    return Run.open(shutil.copytree(stored.path, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def server(stored: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The run, served with its model."""
    copy = shutil.copytree(stored.path, tmp_path_factory.mktemp("served") / "tiny")
    with serving([copy], device="cpu") as found:
        yield found


@pytest.fixture(scope="session")
def studied(stored: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run with results of other commands."""

    def make(folder: Path) -> None:
        add_results(Run.open(shutil.copytree(stored.path, folder / "tiny")))

    return Run.open(made_once(tmp_path_factory, "studied", make) / "tiny")


@pytest.fixture(scope="session")
def alone(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Results with folders of their own: weights, a comparison, and both half done."""

    def make(folder: Path) -> None:
        made = make_lone_results(tiny_folder, folder)
        (folder / "made.txt").write_text("\n".join(path.name for path in made))

    folder = made_once(tmp_path_factory, "alone", make)
    return [folder / name for name in (folder / "made.txt").read_text().split()]
