"""Who is let in, what an answer may do in a browser, and what a bad request cannot do."""

import json
import os
import re
import socket
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asking import Server, serving

from cofire.store import Run
from hostile_text import HOSTILE, hostile
from sample_run import make_run

ANY_PATHS = ("/", "/index.json", "/runs/tiny.json", "/nothing", "/static/index.html",
             "/openapi.json", "/runs/tiny/0/features/99.json")  # fmt: skip
CHANGING = (
    ("PUT", "/runs/tiny/0/features/1/label.json", {"label": "x"}),
    ("POST", "/runs/tiny/0/firing.json", {"text": "x"}),
    ("POST", "/test.json", {"run": "tiny", "layer": 0, "features": [1], "texts": ["x"]}),
    ("POST", "/steer.json", {"run": "tiny", "layer": 0, "prompt": "x",
                             "features": [{"feature": 1, "strength": 1}]}),
    ("DELETE", "/steer/x.json", None),
)  # fmt: skip


@pytest.mark.parametrize("path", ANY_PATHS)
def test_every_answer_keeps_a_browser_to_this_server(server: Server, path):
    headers = server.ask(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example",
             "192.168.1.1", "", "[::1", "127.0.0.1@evil.example", "\x7f"],
)  # fmt: skip
def test_another_host_name_is_refused(server: Server, host):
    answer = server.ask("/index.json", headers={"Host": host})
    assert answer.status in (400, 403)
    assert b"tiny" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:1"])
def test_names_of_this_computer_are_let_in(server: Server, host):
    assert server.ask("/index.json", headers={"Host": host}).status == 200


def test_a_named_host_is_let_in(stored: Run):
    with serving([stored.path], hosts=("box.example",)) as server:
        assert server.ask("/index.json", headers={"Host": "box.example:80"}).status == 200
        assert server.ask("/index.json", headers={"Host": "other.example"}).status == 403
    with serving([stored.path], hosts=("*",)) as server:
        assert server.ask("/index.json", headers={"Host": "192.168.1.7:80"}).status == 200
        assert server.ask("/index.json", headers={"Host": "rebound.example"}).status == 403


@pytest.mark.parametrize("path", ["/index.json", "/runs/tiny.json", "/steer.json"])
def test_other_pages_are_refused(server: Server, path):
    own = f"http://127.0.0.1:{server.port}"
    assert server.ask(path, headers={"Origin": own}).status == 200
    for origin in (
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        f"https://evil.example/{own}",
    ):
        assert server.ask(path, headers={"Origin": origin}).status == 403
    for site in ("cross-site", "same-site"):
        fetched = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
        assert server.ask(path, headers=fetched).status == 403
    clicked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert server.ask("/", headers=clicked).status == 200


@pytest.mark.parametrize(("method", "path", "body"), CHANGING)
def test_changing_and_computing_need_the_token(server: Server, method, path, body):
    for token in (None, "", "wrong", server.token + "x", server.token[:-1], "\xff"):
        answer = server.ask(path, body, method=method, token=token or None)
        assert answer.status == 403
        assert "token" in answer.json["error"]
        assert server.token not in answer.body.decode()
    cross = {"Origin": "http://evil.example"}
    assert server.ask(path, body, method=method, headers=cross).status == 403


def test_other_methods_need_the_token_too(server: Server):
    for method in ("PATCH", "TRACE", "CONNECT", "PROPFIND"):
        assert server.ask("/index.json", method=method, token=None).status in (400, 403)
        assert server.ask("/index.json", method=method).status in (400, 404, 405)


def test_two_servers_have_tokens_of_their_own(stored: Run):
    from cofire.web import create_app

    tokens = {create_app([stored.path]).state.token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) >= 32 for token in tokens)


def test_long_bodies_are_refused_and_the_server_goes_on(server: Server):
    path = "/runs/tiny/0/firing.json"
    assert server.ask(path, b"x" * 200_000).status == 413
    assert server.ask(path, b"{}", headers={"Content-Length": "99999999999"}).status == 413
    assert server.ask(path, b"{}", headers={"Content-Length": "-1"}).status in (400, 413)
    chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(20)) + b"0\r\n\r\n"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Cofire-Token: {server.token}\r\n"
        "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(head.encode() + chunks)
        assert wire.recv(4096).startswith(b"HTTP/1.1 413")
    deep = b'{"text":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert server.ask(path, deep).status in (400, 422)
    assert server.ask("/index.json").status == 200


def test_broken_requests_do_not_stop_the_server(server: Server):
    unfinished = b"Host: localhost\r\nContent-Length: 50\r\n\r\n{"
    for data in (
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G" * 100_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /test.json HTTP/1.1\r\n" + unfinished,
        f"POST /test.json HTTP/1.1\r\nX-Cofire-Token: {server.token}\r\n".encode() + unfinished,
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
            while wire.recv(4096):
                pass
    assert server.ask("/index.json").status == 200


def test_a_body_that_does_not_come_is_not_waited_for(server: Server, monkeypatch):
    from cofire.web import safety

    monkeypatch.setattr(safety, "_BODY_SECONDS", 0.2)
    head = (
        f"POST /test.json HTTP/1.1\r\nHost: localhost\r\nX-Cofire-Token: {server.token}\r\n"
        "Content-Length: 50\r\n\r\n{"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(head.encode())
        assert wire.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/%00",
        "/runs/..%2f..%2fetc.json",
        "/runs/../../etc/passwd",
        "/runs/%2e%2e.json",
        "/runs/tiny/0/features/..%2f1.json",
        "/results/steering/..%2f..%2fetc/passwd.json",
        "/results/steering/tiny/..%2f..%2fmanifest.json",
        "/results/steering/tiny/%2fetc%2fpasswd.json",
        "/runs/" + "a" * 5000 + ".json",
        "/runs/%ff%fe.json",
    ],
)
def test_no_path_leads_out_of_the_runs(server: Server, path):
    answer = server.ask(path)
    assert answer.status in (404, 422)
    assert b"root:" not in answer.body
    assert b"create_app" not in answer.body


def test_stored_results_are_served_and_links_out_of_them_are_not(copied: Run, tmp_path: Path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"secret": 1}')
    folder = copied.path / "steering" / "blocks.0.mlp.hook_post"
    folder.mkdir(parents=True)
    table = pa.table(
        {"feature": [1, 1, 2], "text": ["a\u202eb", "c", "d"], "value": [1.5, None, 2]}
    )
    pq.write_table(table, folder / "steering_cells.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1")
    (folder / "settings.json").write_text('{"kl": NaN, "name": "<b>"}')
    os.symlink(secret, folder / "link.json")
    (copied.path / "trees").mkdir()
    os.symlink(tmp_path, copied.path / "trees" / "blocks.0.mlp.hook_post")
    (copied.path / "structure").mkdir()
    os.symlink(secret, copied.path / "structure" / "core-L0.json")
    with serving([copied.path]) as server:
        (result,) = server.ask("/results/steering.json").json["results"]
        assert result["result"] == "tiny~blocks.0.mlp.hook_post"
        assert {d["document"] for d in result["documents"]} == {"settings", "steering_cells"}
        assert "broken.parquet" in result["problem"]
        place = f"/results/steering/{result['result']}"
        assert server.ask(f"{place}/settings.json").json["content"] == {"kl": None, "name": "<b>"}
        lines = server.ask(f"{place}/steering_cells.json?feature=1&limit=1").json
        assert (lines["found"], lines["rows"]) == (
            2,
            [{"feature": 1, "text": "a⟨U+202E⟩b", "value": 1.5}],
        )
        assert server.ask(f"{place}/link.json").status == 404
        assert server.ask(f"{place}/broken.json").status == 409
        assert server.ask("/tree.json").json["results"] == []
        assert server.ask("/core.json").json["results"] == []
        page = server.ask("/runs/tiny/0/features/1.json").json
        assert [line["value"] for line in page["stored"]["steering/steering_cells"]] == [1.5, None]
        assert server.ask("/runs/tiny/2/features/1.json").json["stored"] == {}
        assert server.ask("/runs/tiny.json").json["results"] == ["steering"]


def test_results_in_folders_of_their_own_are_listed(stored: Run, tmp_path: Path):
    for name, kind in (("one", "compare"), ("two", "weights"), ("three", "run"), ("four", "cell")):
        (tmp_path / name).mkdir()
        manifest = {"format": f"cofire-{kind}", "created": "2026-01-01"}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
        (tmp_path / name / "results.json").write_text("[1, 2]")
    with serving([stored.path, tmp_path]) as server:
        (found,) = server.ask("/comparisons.json").json["results"]
        assert (found["result"], found["created"], found["run"]) == ("one", "2026-01-01", None)
        (weights,) = server.ask("/weights.json").json["results"]
        assert server.ask("/results/weights/two/results.json").json["content"] == [1, 2]
        assert weights["result"] == "two"
        assert server.ask("/results/weights/four/results.json").status == 404


def test_hostile_tokens_and_labels_stay_text(tmp_path: Path):
    make_run(tmp_path / "hostile", layers=(1,), change=hostile, model='</title><script>alert("m")')
    with serving([tmp_path / "hostile"]) as server:
        paths = ["/index.json", "/runs/hostile.json", "/runs/hostile/1/features.json"]
        paths += [f"/runs/hostile/1/features/{i}.json" for i in range(24)]
        paths += ["/compare.json?a=hostile/1/0&b=hostile/1/1", "/steer.json"]
        for path in paths:
            answer = server.ask(path)
            assert answer.status == 200
            assert not re.search(rb"[<>&]", answer.body)
            assert not re.search(
                "[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e]", answer.body.decode()
            )
        labels = [row["label"] for row in server.ask(paths[2]).json["features"]]
        assert labels[0] == HOSTILE[0]  # nothing is lost but what cannot be seen
        assert labels[HOSTILE.index("nul\x00bell\x07")] == "nul␀bell␇"
        for i, text in enumerate(HOSTILE):
            plain = text == text.strip() and text.isprintable() and len(text) <= 200
            place = f"/runs/hostile/1/features/{i}/label.json"
            answer = server.ask(place, {"label": text}, method="PUT")
            assert answer.status == (200 if plain else 422), text
            if plain:
                assert answer.json["label"] == text
                assert not re.search(rb"[<>&]", answer.body)
        for text in HOSTILE:
            query = "".join(f"%{byte:02x}" for byte in text[:60].encode())
            answer = server.ask(f"/runs/hostile/1/features.json?search={query}")
            assert answer.status == 200
            assert not re.search(rb"[<>&]", answer.body)


def test_hostile_texts_are_read_by_the_model(server: Server):
    for text in HOSTILE:
        answer = server.ask("/runs/tiny/0/firing.json", {"text": text})
        assert answer.status == (422 if not text.strip() else 200), text
        assert not re.search(rb"[<>&]", answer.body)
    request = {"run": "tiny", "layer": 0, "features": [{"feature": 1, "strength": 1}],
               "samples": 1, "new_tokens": 2}  # fmt: skip
    for text in HOSTILE:
        if text.strip() and len(text) < 40:
            job = server.ask("/steer.json", {**request, "prompt": text}).json["job"]
            assert server.wait_for_job(job)["state"] == "done", text


def test_an_error_nobody_foresaw_is_one_sentence_and_the_server_goes_on(stored: Run, monkeypatch):
    from cofire.web import reading

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret details")

    with serving([stored.path]) as server:
        monkeypatch.setattr(reading, "feature_list", broken)
        answer = server.ask("/runs/tiny/0/features.json")
        assert answer.status == 500
        assert "ZeroDivisionError" in answer.json["error"]
        assert b"secret" not in answer.body
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        monkeypatch.undo()
        assert server.ask("/runs/tiny/0/features.json").status == 200


def test_the_app_imports_no_model_library_until_it_is_needed(stored: Run):
    import subprocess

    code = (
        "import sys\n"
        "from cofire.web import create_app\n"
        f"create_app([{str(stored.path)!r}])\n"
        "assert 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
