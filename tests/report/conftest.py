"""Stored runs and pages of a real browser for the tests of reports."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from visiting import Visit

from browsing import SIZES
from cofire.report import write_report
from cofire.store import Run
from sample_run import make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two layers of 24 features; the last three are a duplicate, a one-token and a dead one."""
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


@pytest.fixture(scope="session")
def report(run: Run) -> Path:
    """Its report."""
    return write_report(run)


@pytest.fixture(params=SIZES)
def visit(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Visit]:
    """A fresh page of every size; fails when the page complains or asks for anything."""
    width, height = SIZES[request.param]
    phone = request.param == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height}, is_mobile=phone, has_touch=phone
    )
    visit = Visit(context.new_page())
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("dialog", lambda dialog: visit.complaints.append(f"dialog {dialog.message}"))
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    yield visit
    context.close()
    assert visit.complaints == []
    asked = [url for url in visit.requests if not url.startswith(("file:", "data:"))]
    assert asked == []
    assert len({url.split("#")[0] for url in visit.requests if url.startswith("file:")}) == 1
