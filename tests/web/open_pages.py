"""The explorer open in a real browser, and whatever went wrong on its pages."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from asking import Server
from playwright.sync_api import Browser, Page, expect

from browsing import SIZES

PATIENCE = 60_000
"""Milliseconds that a page may take where many others compute; how fast pages are is measured in
``benchmarks/explorer.py``."""

expect.set_options(timeout=PATIENCE)

SCREENSHOTS = "COFIRE_SCREENSHOTS"
"""The variable that names a folder for pictures of every page."""


@dataclass
class PageVisit:
    """An open page.

    Attributes:
        page: the page.
        server: what it talks to.
        phone: whether it has the size of a phone.
        complaints: errors, warnings and dialogs of the page, unless they are expected.
        refused: statuses of answers that were refusals.
    """

    page: Page
    server: Server
    phone: bool
    complaints: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def open(self, path: str = "/") -> Page:
        """Open an address of the explorer and wait until its page is there."""
        self.page.goto(f"{self.base}{path}")
        return self.settled()

    def settled(self) -> Page:
        """Wait until the page that is being opened is there."""
        expect(self.page.locator(".waiting")).to_have_count(0)
        expect(self.page.locator("#progress")).to_be_hidden()
        return self.page

    def fits(self) -> bool:
        """Whether nothing reaches beyond the right edge."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth &&"
            " [...document.querySelectorAll('.detail')]"
            ".every(d => d.scrollWidth <= d.clientWidth + 1)"
        )

    def picture(self, name: str) -> None:
        """Keep a picture of the whole page where pictures are asked for."""
        folder = os.environ.get(SCREENSHOTS)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.evaluate("scrollTo(0, 0)")
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def visiting(
    browser: Browser, server: Server, size: str, scheme: str = "light"
) -> Iterator[PageVisit]:
    """A fresh browser with the server's token; fails when a page complains."""
    width, height = SIZES[size]
    phone = size == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=phone,
        has_touch=phone,
        color_scheme=scheme,
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    visit = PageVisit(page, server, phone)
    page.on("console", lambda message: visit.complaints.append(message.text))
    page.on("pageerror", lambda error: visit.complaints.append(f"{error} {error.stack}"))
    page.on("dialog", lambda dialog: visit.complaints.append(f"dialog {dialog.message}"))
    page.on(
        "response",
        lambda answer: visit.refused.append(answer.status) if answer.status >= 400 else None,
    )
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(visit.base) else visit.complaints.append(request.url)
        ),
    )
    visit.open(f"/#token={server.token}")
    yield visit
    context.close()
    expected = ["Failed to load resource"] if visit.refused else []
    assert [c for c in visit.complaints if not any(word in c for word in expected)] == []


@pytest.fixture(params=SIZES)
def visit(
    request: pytest.FixtureRequest, browser: Browser, explorer: Server
) -> Iterator[PageVisit]:
    """The explorer in a window of every size."""
    yield from visiting(browser, explorer, request.param)


@pytest.fixture
def desk(browser: Browser, explorer: Server) -> Iterator[PageVisit]:
    """The explorer in a wide window."""
    yield from visiting(browser, explorer, "desktop")
