"""Errors as answers: JSON with one sentence; a browser at a wrong address gets a page."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cofire.errors import CofireError, DataError, InputError, ModelError, StoreError
from cofire.web.pages import the_page
from cofire.web.records import Problem
from cofire.web.refusals import BusyError, NoModelError, UnknownError, UnreadableError

_STATUS: tuple[tuple[type[CofireError], int], ...] = (
    (UnknownError, 404),
    (UnreadableError, 409),
    (BusyError, 429),
    (NoModelError, 503),
    (ModelError, 503),
    (StoreError, 409),
    (DataError, 422),
    (InputError, 422),
)

_TOLD = {
    404: "There is no such page or address here; /openapi.json lists all of them.",
    405: "This address does not take that method; /openapi.json says which it takes.",
}

_SAID = {
    400: "The request cannot be read.",
    403: "The token is missing or wrong, or the request comes from another page.",
    404: "There is no such run, layer, feature or job.",
    409: "It exists but cannot be read now: still being written, or files are missing.",
    408: "The request did not come whole in time.",
    413: "The request is too large.",
    422: "A parameter is not as it should be.",
    429: "Too much is waiting already.",
    503: "There is no model to compute with.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an operation's errors."""
    return {status: {"model": Problem, "description": _SAID[status]} for status in statuses}


def problem(status: int, sentence: str) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(Problem(error=sentence).model_dump(), status)


def add_problems(app: FastAPI) -> None:
    """Answer every error of the app with one sentence."""
    app.add_exception_handler(CofireError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)


async def _known(_request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return problem(status, str(error))


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    # What was sent is not repeated: it may be anything.
    place = ".".join(str(part) for part in first["loc"] if part not in ("query", "path", "body"))
    said = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return problem(422, f"{place or 'The request'}: {said}.")


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
        return the_page(404)  # whose script says that there is no such page
    answer = problem(error.status_code, _TOLD.get(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


def unforeseen(error: Exception) -> JSONResponse:
    """The answer to a request that met an error of cofire's own."""
    return problem(
        500, f"cofire failed on this request ({type(error).__name__}); its log has the details."
    )
