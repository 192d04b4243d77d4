"""Served runs and their pages; all of these tests are skipped where a server or browser cannot be.

Without the packages not even the modules of the tests can be imported.
"""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("fastapi", "uvicorn", "playwright")
MISSING = [name for name in NEEDED if find_spec(name) is None]

if not MISSING:
    from page_fixtures import *  # noqa: F403
    from run_fixtures import *  # noqa: F403


class _Skipped(pytest.Module):
    """A module of tests that is not even imported."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip(f"needs {', '.join(MISSING)}, of the extras web and dev")


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip every module while something is missing."""
    return _Skipped.from_parent(parent, path=module_path) if MISSING else None
