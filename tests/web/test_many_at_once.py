"""Two hundred readers and a steering job at once, in a real process."""

import asyncio
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from asking import Server, command

from cofire.store import Run

READERS, REQUESTS = 200, 3
PATHS = (
    "/index.json",
    "/runs/tiny.json",
    "/runs/tiny/0/features.json?sort=density",
    "/runs/tiny/2/features/1.json",
    "/runs/tiny/2/features/3/cofiring.json",
    "/",
)


async def read(port: int, number: int) -> list[int]:
    """One reader: a connection that is kept, and some requests over it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    statuses = []
    try:
        for i in range(REQUESTS):
            path = PATHS[(number + i) % len(PATHS)]
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            body = await reader.readexactly(length)
            if path.endswith(".json"):
                json.loads(body)
            statuses.append(int(head.split()[1]))
    finally:
        writer.close()
    return statuses


async def crowd(port: int) -> list[list[int]]:
    return await asyncio.gather(*(read(port, number) for number in range(READERS)))


def begin(server: Server, **changes: object) -> str:
    request = {
        "run": "tiny",
        "layer": 2,
        "features": [{"feature": 1, "strength": 1.0}, {"feature": 3, "kl": 0.05}],
        "prompt": "I think that",
        "samples": 4,
        "new_tokens": 50,
        **changes,
    }
    answer = server.ask("/steer.json", request)
    assert answer.status == 202
    return str(answer.json["job"])


def test_two_hundred_readers_and_steering_at_once(stored: Run):
    with command(str(stored.path), "--device", "cpu") as (server, process):
        alone = server.wait_for_job(begin(server))
        assert alone["state"] == "done"
        job = begin(server)
        started = time.monotonic()
        with ThreadPoolExecutor(1) as thread:  # a browser of other tests keeps a loop in this one
            found = thread.submit(asyncio.run, crowd(server.port)).result()
        assert time.monotonic() - started < 120
        assert Counter(status for statuses in found for status in statuses) == {
            200: READERS * REQUESTS
        }
        record = server.wait_for_job(job)
        assert record["state"] == "done"
        assert record["steered"] == alone["steered"]  # reading changes nothing
        broken = server.ask("/steer.json", b"{", method="POST")
        assert broken.status == 422
        assert process.poll() is None
    assert process.stderr is not None
