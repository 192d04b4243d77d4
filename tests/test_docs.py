"""The documentation is true: commands parse, names are listed, the quick start runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cofire.cli import _COMMANDS
from cofire.registry import methods

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("command", list(_COMMANDS))
def test_every_command_is_in_the_readme(command):
    assert f"`cofire {command}`" in README


@pytest.mark.parametrize("method", list(methods()))
def test_every_method_is_in_the_readme(method):
    assert f"`{method}`" in README


def test_every_cofire_command_in_the_readme_is_understood():
    lines = [line for block in blocks(README, "bash") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("cofire")]
    assert len(commands) >= 5
    code = (
        "import sys, tyro\n"
        "from cofire import config\n"
        "from cofire.cli import _COMMANDS\n"
        "kind = getattr(config, _COMMANDS[sys.argv[1]][1])\n"
        "tyro.cli(kind, args=sys.argv[2:])"
    )
    for words in commands:
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)


def test_the_quick_start_is_ten_lines():
    (code,) = blocks(README, "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


@pytest.mark.model
def test_the_quick_start_runs_and_finds_weekdays(capsys):
    (code,) = blocks(README, "python")
    names: dict[str, object] = {}
    exec(code, names)  # our own README
    assert "weekday: " in capsys.readouterr().out
    assert "<table" in names["features"]._repr_html_()


@pytest.mark.parametrize("text", [README, ARCHITECTURE])
def test_links_and_paths_exist(text):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    for target in targets:
        assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target


def test_every_package_stands_in_the_architecture():
    source = ROOT / "src" / "cofire"
    packages = [path.parent.name for path in source.glob("*/__init__.py")]
    for name in packages:
        assert f"{name}/" in ARCHITECTURE, name
