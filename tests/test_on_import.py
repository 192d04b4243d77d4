"""A step after another package's import."""

import importlib
import logging
import sys

import pytest

from cofire.on_import import when_imported


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """A package nobody has imported."""
    name = "package_for_cofire_tests"
    (tmp_path / f"{name}.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield name
    sys.meta_path[:] = before
    sys.modules.pop(name, None)


def test_it_comes_after_the_import_and_once(package):
    seen = []
    when_imported(package, lambda: seen.append(sys.modules[package].value))
    assert importlib.util.find_spec(package) is not None
    assert seen == []  # asking for it is not importing it
    importlib.import_module(package)
    importlib.import_module(package)
    assert seen == [3]


def test_what_is_imported_already_is_told_at_once(package):
    importlib.import_module(package)
    seen = []
    when_imported(package, lambda: seen.append(1))
    assert seen == [1]


def test_a_package_of_another_version_is_still_imported(package, caplog):
    def fails() -> None:
        raise ImportError("it has no registry")

    when_imported(package, fails)
    with caplog.at_level(logging.WARNING):
        assert importlib.import_module(package).value == 3
    assert "does not fit this version" in caplog.text
