"""Runs that somebody writes, deletes or damages while they are served."""

import json
import os
import shutil
from pathlib import Path

import pytest
from asking import command, serving

from chat_serving import free_port
from cofire.store import Run


def card(server, key="tiny"):
    return next(c for c in server.ask("/index.json").json["runs"] if c["run"] == key)


def test_a_run_that_is_still_being_written_shows_what_is_done_and_grows(copied: Run):
    missing = copied.path / "blocks.2.mlp.hook_post"
    parked = copied.path.parent / "parked"
    manifest = json.loads((copied.path / "manifest.json").read_text())
    shutil.move(missing, parked)
    begun = {**manifest, "sites": {**manifest["sites"], missing.name: None}}
    (copied.path / "manifest.json").write_text(json.dumps(begun))
    with serving([copied.path]) as server:
        found = card(server)
        assert (found["state"], found["layers"], found["unfinished"]) == ("unfinished", [0], [2])
        assert "still being written" in found["problem"]
        assert server.ask("/runs/tiny/0/features.json").status == 200
        assert [x["layer"] for x in server.ask("/runs/tiny.json").json["layers"]] == [0]
        answer = server.ask("/runs/tiny/2/features.json")
        assert answer.status == 409
        assert "no finished layer 2" in answer.json["error"]
        shutil.move(parked, missing)
        (copied.path / "manifest.json").write_text(json.dumps(manifest))
        assert card(server)["state"] == "complete"
        assert server.ask("/runs/tiny/2/features.json").status == 200


def test_a_run_that_loses_files_says_so_and_others_are_served(copied: Run, stored: Run, tmp_path):
    other = Path(shutil.copytree(stored.path, tmp_path / "other"))
    with serving([copied.path, other]) as server:
        (copied.path / "blocks.0.mlp.hook_post" / "contexts.parquet").unlink()
        found = card(server)
        assert (found["state"], found["layers"]) == ("unfinished", [2])
        assert server.ask("/runs/tiny/0/features/1.json").status == 409
        (copied.path / "manifest.json").unlink()
        assert card(server)["state"] == "unreadable"
        assert "manifest.json" in card(server)["problem"]
        for path in ("/runs/tiny.json", "/runs/tiny/2/features.json"):
            answer = server.ask(path)
            assert answer.status == 409
            assert "\n" not in answer.json["error"]
        shutil.rmtree(copied.path)
        assert card(server)["state"] == "unreadable"
        assert card(server, "other")["state"] == "complete"
        assert server.ask("/runs/other/0/features/1.json").status == 200


NO_MANIFESTS = (
    b"",
    b"{",
    b"[]",
    b"{}",
    b"\xff",
    b'{"format": "cofire-run"}',
    b'{"format": "cofire-run", "format_version": 99}',
    b'{"format": "cofire-run", "format_version": "1"}',
)


@pytest.mark.parametrize("content", NO_MANIFESTS)
def test_a_manifest_that_is_none_is_one_sentence(copied: Run, content):
    (copied.path / "manifest.json").write_bytes(content)
    with serving([copied.path]) as server:
        found = card(server)
        assert found["state"] == "unreadable"
        assert found["problem"].strip()
        assert "\n" not in found["problem"]
        assert server.ask("/runs/tiny.json").status == 409


@pytest.mark.parametrize("part", ["features", "contexts", "codes", "dictionary", "rows"])
def test_a_damaged_part_is_a_sentence_about_its_layer_only(copied: Run, part):
    (file,) = (copied.path / "blocks.0.mlp.hook_post").glob(f"{part}.*")
    file.write_bytes(file.read_bytes()[:-7] + b"garbage")
    with serving([copied.path]) as server:
        answer = server.ask("/runs/tiny/0/features/1.json")
        assert answer.status == 409
        assert f"{part}." in answer.json["error"]
        assert "corrupted" in answer.json["error"]
        assert server.ask("/runs/tiny/2/features/1.json").status == 200
        page = server.ask("/runs/tiny.json").json
        assert 2 in [layer["layer"] for layer in page["layers"]]
        if part == "features":  # the others are read when they are needed
            assert [layer["layer"] for layer in page["layers"]] == [2]
            assert "corrupted" in page["problems"][0]


def test_a_damaged_file_of_labels_is_a_sentence(copied: Run):
    (copied.path / "labels.json").write_text("{")
    with serving([copied.path]) as server:
        answer = server.ask("/runs/tiny/0/features.json")
        assert answer.status == 409
        assert "labels.json" in answer.json["error"]
        (copied.path / "labels.json").unlink()
        assert server.ask("/runs/tiny/0/features.json").status == 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_refuses_labels(copied: Run):
    copied.path.chmod(0o500)
    try:
        with serving([copied.path]) as server:
            answer = server.ask("/runs/tiny/0/features/1/label.json", {"label": "x"}, method="PUT")
            assert answer.status == 409
            assert "Cannot write" in answer.json["error"]
    finally:
        copied.path.chmod(0o700)


def test_runs_of_the_same_name_have_keys_of_their_own(stored: Run, tmp_path: Path):
    for name in ("a", "b"):
        shutil.copytree(stored.path, tmp_path / name / "run.json")
    with serving([tmp_path]) as server:
        keys = [c["run"] for c in server.ask("/index.json").json["runs"]]
        assert keys == ["run-json", "run-json-2"]
        for key in keys:
            assert server.ask(f"/runs/{key}/0/features.json").status == 200


def said(*words: str, capsys) -> tuple[int, str]:
    from cofire.cli import main

    code = main(["serve", *words])
    return code, capsys.readouterr().err


def test_bad_commands_are_one_sentence_and_exit_2(stored: Run, tmp_path: Path, capsys):
    code, message = said(str(tmp_path / "nothing"), capsys=capsys)
    assert (code, "There is no folder" in message) == (2, True)
    code, message = said(str(stored.path), "--host", "192.0.2.1", "--port", "0", capsys=capsys)
    assert (code, "no address of this computer" in message) == (2, True)
    code, message = said(str(stored.path), "--host", "nowhere.invalid", capsys=capsys)
    assert (code, "is no address" in message) == (2, True)


def test_a_port_in_use_is_one_sentence_and_exit_2(stored: Run, capsys):
    with command(str(stored.path)) as (server, _):
        code, message = said(str(stored.path), "--port", str(server.port), capsys=capsys)
    assert code == 2
    assert f"Port {server.port} is in use; choose another with --port" in message
    assert message.count("\n") == 1
    assert free_port() > 0


def test_the_command_ends_on_ctrl_c_with_code_0(stored: Run):
    import signal

    with command(str(stored.path), "--no-model") as (server, process):
        assert server.ask("/index.json").status == 200
        assert server.token != "test-token"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
