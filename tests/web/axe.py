"""axe-core, which finds faults of pages for people who use keyboards and screen readers."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")

NAMED = "COFIRE_AXE"
"""The variable that names another copy of the script than the one that the extra dev brings."""


def axe_source() -> str:
    """The script; skips the test where there is none."""
    named = os.environ.get(NAMED)
    if named is not None:
        return Path(named).read_text(encoding="utf-8")
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("needs axe-playwright-python of the extra dev")
    return Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")


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
