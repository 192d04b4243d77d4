"""axe-core, which finds faults of pages for people who use keyboards and screen readers.

It comes from npm and is kept beside pytest's own cache; nothing of it is in the repository.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Page

PACKAGE = "axe-core@4.14.1"
SERIOUS = ("serious", "critical")

_INSTALLED = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


def axe_source(cache: Path) -> str:
    """The script; skips the test when it can be had neither from a file nor from npm."""
    named = os.environ.get("COFIRE_AXE")
    for file in filter(None, (named and Path(named), _INSTALLED, cache / "axe.min.js")):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core is neither installed nor to be had: there is no npm (COFIRE_AXE)")
    cache.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        [npm, "pack", PACKAGE, "--silent"],
        cwd=cache,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if packed.returncode != 0:
        pytest.skip(f"axe-core cannot be had from npm: {packed.stderr.strip()[-200:]}")
    with tarfile.open(cache / packed.stdout.split()[-1]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        (cache / "axe.min.js").write_bytes(member.read())
    return (cache / "axe.min.js").read_text(encoding="utf-8")


def serious_faults(page: Page, source: str) -> list[str]:
    """What axe finds serious or worse: rule, and the elements it is about."""
    page.evaluate(source)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{fault['id']}: {node['target']} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]
