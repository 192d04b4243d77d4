"""The server around the app: socket, addresses, start and end."""

import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from cofire.config import ServeConfig
from cofire.errors import CofireError, InputError
from cofire.web.app import create_app
from cofire.web.safety import LOOPBACK
from cofire.web.shelf import Shelf
from cofire.web.stored_trees import trees_of_site

_logger = logging.getLogger(__name__)

_EVERYWHERE = ("0.0.0.0", "::", "")
_BACKLOG = 512
_GRACE_SECONDS = 2
_KEEP_ALIVE_SECONDS = 15
_FEATURES_READ_AHEAD = 4000


def serve(config: ServeConfig, announce: Callable[[str], object]) -> None:
    """Serve runs until interrupted.

    Args:
        config: which runs, and where.
        announce: called with the address to open, token included, once requests are taken.

    Raises:
        InputError: when a folder does not exist, the port is in use or not allowed, or the address
            is none of this computer's.
    """
    app = create_app(
        config.runs, model=not config.no_model, device=config.device, hosts=_hosts(config.host)
    )
    shelf: Shelf = app.state.shelf
    for card in shelf.cards():
        if card.problem is not None:
            _logger.warning("%s: %s", card.run, card.problem)
    listening = _listen(config.host, config.port)
    port = int(listening.getsockname()[1])
    if not _is_loopback(config.host):
        _logger.warning(
            "Whoever can reach port %d of this computer can read these runs, unencrypted; only "
            "changing and computing need the token.",
            port,
        )
    server = uvicorn.Server(server_settings(app))
    threading.Thread(target=_read_ahead, args=(shelf,), daemon=True).start()
    announce(f"http://{_shown(config.host)}:{port}/#token={app.state.token}")
    with listening, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def server_settings(app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves the app."""
    return uvicorn.Config(
        app,
        port=0,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections already, so that the printed address works at once."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{host!r} is no address; use 127.0.0.1 or one of this computer."
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(_why_not(error, host, port)) from error
    return listening


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use; choose another with --port, or any free one with --port 0."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} may not be used by you; choose one above 1023 with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this computer; use 127.0.0.1, or one that is."
    return f"Cannot listen on {host}, port {port}: {error.strerror or error}."


def _hosts(host: str) -> tuple[str, ...]:
    """Names that requests may be addressed to, besides those of loopback."""
    if host in _EVERYWHERE:
        return ("*", socket.gethostname(), socket.getfqdn())
    return (host,)


def _is_loopback(host: str) -> bool:
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    if host in _EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _read_ahead(shelf: Shelf) -> None:
    """Read what the first pages will need."""
    listed = 0
    for key in shelf.keys[:1]:
        with suppress(CofireError):
            numbers = shelf.card(key).layers
            for number in numbers:
                shelf.glimpse(key, number)
            for number in numbers:
                layer = shelf.layer(key, number)
                layer.search_texts, layer.codes  # noqa: B018 (read when first used)
                list(trees_of_site(layer.folder, layer.site))
                listed += len(layer)
                if listed >= _FEATURES_READ_AHEAD:
                    return
