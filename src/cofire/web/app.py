"""The explorer as an ASGI app."""

import secrets
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from cofire.web.pages import add_pages
from cofire.web.problems import add_problems
from cofire.web.reading_routes import reading_routes
from cofire.web.safety import Guard
from cofire.web.shelf import Shelf

_DESCRIPTION = """Runs of cofire, as pages and as JSON.

Every page has a JSON twin: the same path with `.json` at its end (`/` has `/index.json`).
Whatever changes or computes something needs the header `X-Cofire-Token` with the token that
`cofire serve` printed. Errors are `{"error": "one sentence"}`."""


def create_app(
    runs: Sequence[Path | str],
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> FastAPI:
    """The app that ``cofire serve`` serves.

    Args:
        runs: run folders, or folders that hold some.
        token: what requests that change or compute must show; a random one when None, to be found
            as ``app.state.token``.
        hosts: names besides those of this machine's loopback that requests may be addressed to.

    Raises:
        InputError: when there is no such folder.
    """
    shelf = Shelf([Path(run) for run in runs])
    app = FastAPI(
        title="cofire explorer",
        version=version("cofire"),
        description=_DESCRIPTION,
        docs_url=None,  # its pages come from a content delivery network
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.token = token or secrets.token_urlsafe(24)
    app.state.shelf = shelf
    add_problems(app)
    app.include_router(reading_routes(shelf))
    add_pages(app)
    app.add_middleware(Guard, token=app.state.token, hosts=tuple(hosts))
    return app
