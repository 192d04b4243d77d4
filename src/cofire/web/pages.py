"""The pages: one HTML file for all of them, and the scripts and styles it loads."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

PAGES = (
    "/",
    "/runs/{run}",
    "/runs/{run}/{layer:int}/features",
    "/runs/{run}/{layer:int}/features/{feature:int}",
    "/compare",
    "/steer",
    "/test",
    "/tree",
    "/core",
    "/flow",
    "/weights",
    "/comparisons",
    "/path",
)
"""Addresses of pages; each has a twin with ``.json`` at its end."""

_FOLDER = Path(str(files("cofire.web"))) / "static"
_SHARED = Path(str(files("cofire.report"))) / "assets"  # what reports are made of too


def the_page(status: int = 200) -> Response:
    """The one HTML file; its script reads the address."""
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(_FOLDER / "index.html", status, headers)


def add_pages(app: FastAPI) -> None:
    """Serve the page under every page address, and what it loads under ``/static``.

    The script in the page reads the address and asks for its twin.
    """

    async def page(_request: Request) -> Response:
        return the_page()

    for path in PAGES:
        app.add_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static/shared", _Static(directory=_SHARED))
    app.mount("/static", _Static(directory=_FOLDER))


class _Static(StaticFiles):
    """Files that browsers check for changes before they use their copy."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """See ``StaticFiles.file_response``."""
        response = super().file_response(*args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response
