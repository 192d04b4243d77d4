"""The wheel holds everything the demo needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("cofire-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_file_of_the_package_is_in_the_wheel(names):
    source = ROOT / "src"
    tracked = subprocess.run(
        ["git", "ls-files", "src/cofire"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert {str((ROOT / path).relative_to(source)) for path in tracked} <= names


def test_the_corpus_the_report_and_the_licence_travel(names):
    assert "cofire/data/concepts.jsonl" in names
    assert "cofire/py.typed" in names
    assert any(name.startswith("cofire/report/assets/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
