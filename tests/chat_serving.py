"""A small real HTTP server that speaks the chat protocol, and misbehaves when it is told to."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-7731"
MODEL = "tiny"


@dataclass
class Reply:
    """What the server does with one request.

    Attributes:
        text: the model's answer, when the status is 200.
        status: HTTP status.
        body: sent as it is in place of a chat completion.
        headers: further headers.
        wait: seconds before the reply.
        cut: whether the connection is cut in the middle of the reply.
    """

    text: str = "Answer."
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: bool = False


@dataclass
class Log:
    """What the server saw.

    Attributes:
        asked: prompts in the order they came.
        finished: prompts whose answer was sent whole.
        times: when each prompt came.
        bodies: whole requests.
        at_once: the most requests under way together.
    """

    asked: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    at_once: int = 0
    under_way: int = 0


@dataclass
class Server:
    """A running server: its address and its log."""

    base_url: str
    log: Log


@contextmanager
def chat_server(
    answer: Callable[[str, int], Reply] = lambda prompt, count: Reply(), *, key: str | None = None
) -> Iterator[Server]:
    """Serve until the block ends.

    Args:
        answer: from a prompt, and how often it came before, to what is done with it.
        key: the only key let in; any when None.
    """
    log, lock = Log(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = body["messages"][-1]["content"]
            with lock:
                count = log.asked.count(prompt)
                log.asked.append(prompt)
                log.times.append(time.monotonic())
                log.bodies.append(body)
                log.under_way += 1
                log.at_once = max(log.at_once, log.under_way)
            try:
                self._reply(body, prompt, count)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    log.under_way -= 1

        def _reply(self, body: dict[str, Any], prompt: str, count: int) -> None:
            given = self.headers.get("Authorization", "")
            if key is not None and given != f"Bearer {key}":
                reply = error(401, f"Incorrect API key provided: {given[7:]}")
            elif self.path != "/v1/chat/completions":
                reply = error(404, "no such page")
            elif body["model"] != MODEL:
                reply = error(404, f"The model {body['model']} does not exist")
            else:
                reply = answer(prompt, count)
            time.sleep(reply.wait)
            payload = completion(reply.text) if reply.body is None else reply.body
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            if reply.cut:
                self.wfile.write(payload[: len(payload) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.wfile.write(payload)
            self.wfile.flush()
            if reply.status == 200:
                with lock:
                    log.finished.append(prompt)

        def log_message(self, *args: Any) -> None:
            """The log above is enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}/v1", log)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(status: int, message: str, **headers: str) -> Reply:
    """An error as OpenAI words it."""
    body = json.dumps({"error": {"message": message, "type": "error"}}).encode()
    return Reply(status=status, body=body, headers=headers)


def completion(text: str) -> bytes:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
    ).encode()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
