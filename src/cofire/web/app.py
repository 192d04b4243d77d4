"""The explorer as an ASGI app."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from cofire.web.compute import Compute
from cofire.web.live_routes import live_routes
from cofire.web.models import ModelKeeper
from cofire.web.pages import add_pages
from cofire.web.problems import add_problems
from cofire.web.reading_routes import reading_routes
from cofire.web.result_routes import result_routes
from cofire.web.results import Results
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
    model: bool = True,
    device: str = "auto",
    hosts: Sequence[str] = (),
) -> FastAPI:
    """The app that ``cofire serve`` serves.

    Args:
        runs: run folders, or folders that hold some.
        token: what requests that change or compute must show; a random one when None, to be found
            as ``app.state.token``.
        model: whether runs' models may be loaded, which testing and steering need.
        device: where models compute.
        hosts: names besides those of this machine's loopback that requests may be addressed to.

    Raises:
        InputError: when there is no such folder.
    """
    folders = [Path(run) for run in runs]
    shelf, results = Shelf(folders), Results(folders)
    compute, models = Compute(), ModelKeeper(wanted=model, device=device)

    @asynccontextmanager
    async def living(_app: FastAPI) -> AsyncIterator[None]:
        yield
        compute.close()

    app = FastAPI(
        title="cofire explorer",
        version=version("cofire"),
        description=_DESCRIPTION,
        docs_url=None,  # its pages come from a content delivery network
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        lifespan=living,
    )
    app.state.token = token or secrets.token_urlsafe(24)
    app.state.shelf = shelf
    add_problems(app)
    app.include_router(reading_routes(shelf, results))
    app.include_router(result_routes(shelf, results))
    app.include_router(live_routes(shelf, models, compute))
    add_pages(app)
    app.add_middleware(Guard, token=app.state.token, hosts=tuple(hosts))
    return app
