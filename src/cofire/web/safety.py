"""What every request and answer must keep to, whatever the routes do."""

import asyncio
import ipaddress
import logging
import secrets
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cofire.web.problems import problem, unforeseen

_logger = logging.getLogger(__name__)

TOKEN_HEADER = "X-Cofire-Token"
MAX_BODY = 131_072
"""Bytes of a request's body."""

_TOO_LARGE = f"A request may have {MAX_BODY:,} bytes at most."
_BODY_SECONDS = 10.0

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_READING = ("GET", "HEAD", "OPTIONS")
# Characters that mean something in HTML stand in JSON as escapes, so that it is text anywhere.
_ESCAPES = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))


class Guard:
    """Middleware: who may ask, how large a request may be, and the headers of every answer.

    Args:
        app: what it guards.
        token: what requests other than reading ones must show.
        hosts: names besides loopback ones that a request may be addressed to; ``*`` for any
            number address, as a server on all interfaces needs.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: tuple[str, ...] = ()) -> None:
        self._app = app
        self._token = token
        self._hosts = {host.strip("[]").casefold() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await problem(*refusal)(scope, receive, answer)
            return
        if scope["method"] not in _READING:
            try:
                body = await asyncio.wait_for(_body(receive), _BODY_SECONDS)
            except TimeoutError:
                late = problem(408, "The request did not come whole in time.")
                await late(scope, receive, answer)
                return
            if body is None:
                await problem(413, _TOO_LARGE)(scope, receive, answer)
                return
            receive = _Received(body, receive)
        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            _logger.exception("A request failed")
            if not answer.begun:
                await unforeseen(error)(scope, receive, answer)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in."""
        host = headers.get("host", "")
        if not self._known_host(host):
            return 403, (
                "This server answers only to its own address; open the one that cofire serve "
                "printed, or start it with --host."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.casefold() != host.casefold():
            return 403, "Requests from other pages are refused."
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
            method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        ):
            return 403, "Requests from other pages are refused."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413, _TOO_LARGE
        if method not in _READING and not secrets.compare_digest(
            headers.get(TOKEN_HEADER, "").encode(), self._token.encode()
        ):
            return 403, (
                f"This needs the token that cofire serve printed, in the header {TOKEN_HEADER}; "
                "open the printed address once."
            )
        return None

    def _known_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in LOOPBACK or name in self._hosts:
            return True
        return "*" in self._hosts and _is_number_address(name)


def _is_number_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def escaped(document: bytes) -> bytes:
    """JSON in which no character means anything in HTML."""
    for plain, escape in _ESCAPES:
        document = document.replace(plain, escape)
    return document


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request; None when it is longer than the limit."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return body


class _Received:
    """Gives a body that was received already, then whatever comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """Sends an answer with the safety headers, JSON with escapes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: MutableMapping[str, Any] | None = None
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
            if headers.get("content-type", "").startswith("application/json"):
                self._held = message
                return
        elif self._held is not None and message["type"] == "http.response.body":
            body = escaped(message.get("body", b""))
            if not message.get("more_body"):
                MutableHeaders(scope=self._held)["Content-Length"] = str(len(body))
            await self._send(self._held)
            self._held = None
            message = {**message, "body": body}
        await self._send(message)
