"""A page opened in a browser, for the tests of reports."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page


@dataclass
class Visit:
    """An open page, and whatever went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path, fragment: str = "") -> Page:
        """Open a file at an address within it."""
        self.page.goto(f"{path.as_uri()}{fragment}")
        return self.page
