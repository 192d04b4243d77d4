"""Folders survive kills, full disks, bit rot and newer versions."""

import json
import os
import subprocess
import sys
import time

import pytest

from cofire.errors import StoreError
from cofire.store.archive import Archive, write_atomically


@pytest.fixture
def archive(tmp_path):
    return Archive.create(tmp_path / "a", format="test", format_version=2, header={"x": 1})


def reopened(archive):
    return Archive.open(archive.path, format="test", format_version=2)


def test_a_part_comes_back_and_is_checked(archive):
    archive.write("sub/part", lambda path: path.write_text("hello"))
    archive.save()
    assert reopened(archive).file("sub/part").read_text() == "hello"


def test_a_corrupted_part_is_named_with_what_to_do(archive):
    archive.write("part", lambda path: path.write_bytes(b"hello"))
    (archive.path / "part").write_bytes(b"hellO")
    with pytest.raises(StoreError, match=r"part is corrupted.*Delete this file"):
        archive.file("part")


def test_a_missing_part_is_named(archive):
    with pytest.raises(StoreError, match="is missing"):
        archive.file("part")


def test_an_unnamed_part_does_not_count(archive):
    archive.write("part", lambda path: path.write_text("x"))  # killed before save()
    assert not reopened(archive).has("part")


def test_a_kill_before_a_rewritten_part_is_named_leaves_it_to_be_made_again(archive):
    archive.write("numbers", lambda path: path.write_text("1"))
    archive.save()
    archive.write("numbers", lambda path: path.write_text("2"))  # and killed here
    again = reopened(archive)
    assert not again.has("numbers")
    again.write("numbers", lambda path: path.write_text("2"))
    again.save()
    assert reopened(archive).file("numbers").exists()


def test_a_failed_rewrite_keeps_the_old_part(archive):
    archive.write("numbers", lambda path: path.write_text("1"))
    archive.save()

    def fail(path):
        path.write_text("2")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="The disk is full"):
        archive.write("numbers", fail)
    again = reopened(archive)
    assert again.file("numbers").read_text() == "1"


def test_a_newer_format_is_refused_and_says_to_upgrade(archive):
    manifest = archive.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(StoreError, match=r"format version 3.*Upgrade cofire"):
        reopened(archive)


def test_another_kind_of_folder_is_refused(archive, tmp_path):
    with pytest.raises(StoreError, match="is a test folder, but a run folder is needed"):
        Archive.open(archive.path, format="run", format_version=1)
    with pytest.raises(StoreError, match="there is no such folder"):
        Archive.open(tmp_path / "nowhere", format="run", format_version=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"has no manifest\.json"):
        Archive.open(tmp_path / "empty", format="run", format_version=1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "test"}'])
def test_a_damaged_manifest_is_one_clear_error(archive, text):
    (archive.path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="is damaged"):
        reopened(archive)


def test_nothing_is_written_into_a_folder_of_other_things(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="choose another output folder"):
        Archive.create(tmp_path, format="test", format_version=1, header={})
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk_says_so_and_keeps_what_was_there(archive):
    # /dev/full answers every write as a full disk does.
    archive.write("kept", lambda path: path.write_bytes(b"x" * 100))
    archive.save()
    code = (
        "import sys; from pathlib import Path\n"
        "from cofire.store.archive import Archive\n"
        f"a = Archive.open(Path({str(archive.path)!r}), format='test', format_version=2)\n"
        "def fill(path):\n"
        "    with open(path, 'wb') as f, open('/dev/full', 'wb', buffering=0) as full:\n"
        "        f.write(b'y' * 4096)\n"
        "        full.write(b'y' * 4096)\n"
        "try:\n    a.write('big', fill)\n"
        "except Exception as e: sys.exit(f'{type(e).__name__}: {e}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "StoreError: The disk is full" in done.stderr
    assert sorted(os.listdir(archive.path)) == ["kept", "manifest.json"]
    assert reopened(archive).file("kept").read_bytes() == b"x" * 100


def test_a_file_size_limit_is_explained_too(archive):
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from cofire.store.archive import Archive\n"
        f"a = Archive.open(Path({str(archive.path)!r}), format='test', format_version=2)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    a.write('big', lambda path: path.write_bytes(b'y' * 5000))\n"
        "except Exception as e: sys.exit(f'{type(e).__name__}: {e}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "StoreError: Cannot write" in done.stderr
    assert os.listdir(archive.path) == ["manifest.json"]


def test_the_manifest_is_plain_json(archive):
    manifest = json.loads((archive.path / "manifest.json").read_text())
    assert manifest["format"] == "test"
    assert manifest["x"] == 1
    assert manifest["cofire_version"]


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("moment", ["temporary", "first part", "second part", "manifest"])
def test_a_killed_beginning_can_be_begun_again(tmp_path, moment):
    path = tmp_path / "a"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from cofire.store import archive\n"
        "replace = os.replace\n"
        "def kill(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "def write(name): return lambda path: (path.write_text(name), sys.argv[1] == 'temporary' "
        "and kill())\n"
        "def watched(source, target):\n"
        "    names = {'one': 'first part', 'two': 'second part', 'manifest.json': 'manifest'}\n"
        "    if names.get(Path(target).name) == sys.argv[1]: kill()\n"
        "    replace(source, target)\n"
        "os.replace = watched\n"
        f"archive.Archive.create(Path({str(path)!r}), format='test', format_version=1, header={{}},"
        " parts={'one': write('1'), 'two': write('2')})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, moment], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert os.listdir(path)
    assert not Archive.present(path)
    parts = {name: lambda file: file.write_text("x") for name in ("one", "two")}
    Archive.create(path, format="test", format_version=1, header={}, parts=parts)
    assert sorted(os.listdir(path)) == ["manifest.json", "one", "two"]


def test_a_users_own_file_of_a_parts_name_is_safe(tmp_path):
    (tmp_path / "config.yaml").write_text("mine")
    parts = {"config.yaml": lambda path: path.write_text("ours")}
    with pytest.raises(StoreError, match="choose another output folder"):
        Archive.create(tmp_path, format="test", format_version=1, header={}, parts=parts)
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_only_stale_temporaries_are_removed(archive):
    (archive.path / "sub").mkdir()
    gone = archive.path / "sub" / f".part.{dead_process()}.tmp"
    old, alive, elsewhere, foreign = (
        archive.path / name
        for name in (f".a.{os.getpid()}.tmp", f".b.{os.getpid()}.tmp", ".c.1@other.tmp", ".d.tmp")
    )
    for path in (gone, old, alive, elsewhere, foreign):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    reopened(archive)
    assert not gone.exists()
    assert not old.exists()
    assert alive.exists()
    assert elsewhere.exists()
    assert foreign.exists()


@pytest.mark.parametrize("parts", [None, [], {"part": {}}])
def test_a_manifest_without_its_parts_is_damaged(archive, parts):
    archive.manifest["parts"] = parts
    archive.save()
    with pytest.raises(StoreError, match="is damaged"):
        reopened(archive)
