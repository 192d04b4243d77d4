"""Asks a server as any program would, without a library that hides what goes over the wire."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from cofire.web import create_app
from cofire.web.serving import server_settings

TOKEN = "test-token"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; strict, so that NaN is an error."""

        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        return json.loads(self.body.decode("utf-8"), parse_constant=refuse)


class Server:
    """A server that listens on a port of this computer."""

    def __init__(self, port: int, token: str = TOKEN) -> None:
        self.port = port
        self.token = token

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = "",
        timeout: float = 120,
    ) -> Answer:
        """One request; the token goes along unless another one, or None, is given."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        known = self.token if token == "" else token
        if known is not None:
            sent["X-Cofire-Token"] = known
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            verb = method or ("GET" if body is None else "POST")
            connection.request(verb, path, data, {**sent, **(headers or {})})
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, found, reply.read())
        finally:
            connection.close()

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events: name and data."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            assert reply.status == 200
            assert reply.getheader("content-type", "").startswith("text/event-stream")
            name = ""
            for line in reply:
                text = line.decode().rstrip("\n")
                if text.startswith("event: "):
                    name = text.removeprefix("event: ")
                elif text.startswith("data: "):
                    yield name, json.loads(text.removeprefix("data: "))
        finally:
            connection.close()

    def wait_for_job(self, job: str, *states: str, seconds: float = 300) -> Any:
        """A steering job once it is in one of these states."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            record = self.ask(f"/steer/{job}.json").json
            if record["state"] in (*states, "failed", "cancelled", "done"):
                return record
            time.sleep(0.05)
        raise AssertionError(f"still {record['state']}")


@contextmanager
def serving(runs: Sequence[Path], **options: Any) -> Iterator[Server]:
    """The app in a thread of this process, so that type checks watch it."""
    app = create_app(runs, token=TOKEN, **options)
    server = uvicorn.Server(server_settings(app))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Server(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def command(*words: str) -> Iterator[tuple[Server, "subprocess.Popen[str]"]]:
    """``cofire serve`` in a process of its own, on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cofire", "serve", *words, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.fullmatch(r"Open http://127\.0\.0\.1:(\d+)/#token=(\S+)\n", line)
        assert match is not None, (line, process.stderr.read() if process.stderr else "")
        yield Server(int(match[1]), match[2]), process
    finally:
        process.terminate()
        process.communicate(timeout=60)
