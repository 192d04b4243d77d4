"""Real consumers of exports: packages that need an environment of their own.

Their requirements exclude cofire's, so a script of ``consumers/`` is run by another interpreter and
prints what it found as JSON. ``make consumers`` builds the environments; a variable such as
``COFIRE_PYTHON_DELPHI`` names the interpreter that has the package.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "consumers"


def python_with(package: str) -> str:
    """An interpreter that can import the package; skips the test where there is none."""
    if find_spec(package) is not None:
        return sys.executable
    variable = f"COFIRE_PYTHON_{package.upper()}"
    built = ROOT / f".venv-{package}" / "bin" / "python"
    given = os.environ.get(variable) or (str(built) if built.exists() else None)
    if given is None:
        pytest.skip(f"needs {package} in an environment of its own: make consumers, or {variable}")
    return given


def found_by(package: str, script: str, *arguments: object) -> Any:
    """What a script of ``consumers/`` prints, run where the package is."""
    without_ours = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python_with(package), str(SCRIPTS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=without_ours,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
