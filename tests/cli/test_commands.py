"""Commands as a user types them; a process of their own where that matters."""

import csv
import io
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from cofire import config
from cofire.cli import _COMMANDS, main
from cofire.cli.help import parse
from cofire.errors import StoreError


@dataclass
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def cofire(*words, cwd=".") -> Done:
    """Run a command in this process, which saves importing torch every time."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # the parser's way of leaving
            code = stop.code or 0
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    """A folder with an activation store and a run, made by the commands themselves."""
    path = tmp_path_factory.mktemp("cli")
    capture = "capture --layers 0,2 --limit 300 --device cpu -o runs/acts --model".split()
    done = cofire(*capture, tiny_folder, cwd=path)
    assert done.returncode == 0, done.stderr
    fit = "fit runs/acts -k 6 --sparsity 0.1 --max-iter 15 --tol 0.01 --device cpu -o runs/run"
    done = cofire(*fit.split(), cwd=path)
    assert done.returncode == 0, done.stderr
    assert "layer" in done.stdout
    assert "covered: of these" in done.stdout
    return path


def test_help_and_version_need_no_heavy_import():
    code = (
        "import sys, cofire.cli\n"
        "for words in (['--help'], ['--version']): cofire.cli.main(words)\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_importing_cofire_is_light():
    code = "import sys, cofire; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("command", list(_COMMANDS))
def test_every_command_teaches(command):
    done = cofire(command, "--help")
    assert done.returncode == 0
    assert f"usage: cofire {command}" in done.stdout
    assert "--help" in done.stdout
    assert "None" not in done.stdout.replace("None for", "")
    kind = getattr(config, _COMMANDS[command][1])
    prose, _, examples = (kind.__doc__ or "").partition("Example")
    plain = " ".join(done.stdout.split())
    for words in examples.split("\n\n")[1:]:
        assert " ".join(words.split()) in plain
    for paragraph in prose.split("\n\n"):
        assert " ".join(paragraph.split()) in done.stdout
    assert ("--config FILE" in done.stdout) == kind.takes_file


@pytest.mark.parametrize("command", list(_COMMANDS))
def test_examples_of_help_are_understood(command):
    examples = (getattr(config, _COMMANDS[command][1]).__doc__ or "").partition("Example")[2]
    for line in examples.splitlines():
        if line.startswith(f"    cofire {command} ") and "--config" not in line:
            words = shlex.split(line)[2:]
            if not words[0].endswith(".yaml"):
                kind = getattr(config, _COMMANDS[command][1])
                assert isinstance(parse(kind, prog="cofire", words=words, default=None), kind)


def test_what_need_not_be_given_is_in_brackets():
    assert "[FOLDER]" in cofire("fit", "--help").stdout.splitlines()[0]
    assert cofire("show", "--help").stdout.splitlines()[0].split()[4] == "RUN"


def test_a_path_in_three_forms(folder):
    words = "path runs/acts --layer 2 -k 3,6 --sparsity 0.1 --max-iter 9 --tol 0.1 -o runs/path"
    table = cofire(*words.split(), "--device", "cpu", cwd=folder)
    assert table.returncode == 0, table.stderr
    assert "No knee: that needs at least 4 points" in table.stdout
    assert "runs/path/path.html" in table.stdout
    as_json = json.loads(cofire(*words.split(), "--json", cwd=folder).stdout)
    as_csv = cofire(*words.split(), "--csv", cwd=folder).stdout
    assert [record["k"] for record in as_json] == [3, 6]
    assert [row["k"] for row in csv.DictReader(io.StringIO(as_csv))] == ["3", "6"]
    assert "path of 2 points" in cofire("runs", cwd=folder).stdout


def test_features_in_three_forms(folder):
    as_json = json.loads(cofire("features", "runs/run", "--layer", 2, "--json", cwd=folder).stdout)
    as_csv = cofire("features", "runs/run", "--layer", 2, "--csv", cwd=folder).stdout
    table = cofire("features", "runs/run", "--layer", 2, cwd=folder).stdout
    assert [record["feature"] for record in as_json] == list(range(6))
    assert len(list(csv.DictReader(io.StringIO(as_csv)))) == 6
    assert table.splitlines()[0].split()[:2] == ["feature", "label"]


def test_features_search_sort_and_limit(folder):
    words = ["features", "runs/run", "--layer", 2, "--json"]
    density = json.loads(cofire(*words, "--sort", "density", cwd=folder).stdout)
    assert [r["density"] for r in density] == sorted((r["density"] for r in density), reverse=True)
    assert len(json.loads(cofire(*words, "--limit", 2, cwd=folder).stdout)) == 2
    none = cofire("features", "runs/run", "--layer", 2, "--search", "zzzz", cwd=folder)
    assert none.stdout.strip() == "No feature matches."


def test_show_prints_contexts_and_neurons(folder):
    done = cofire("show", "runs/run", 1, "--layer", 0, cwd=folder)
    assert "Contexts" in done.stdout
    assert "Neurons" in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 80  # a pipe has no width
    record = json.loads(cofire("show", "runs/run", 1, "--layer", 0, "--json", cwd=folder).stdout)
    assert record["index"] == 1


def test_runs_and_methods_are_listed(folder):
    records = json.loads(cofire("runs", "--json", cwd=folder).stdout)
    assert {record["kind"] for record in records} >= {"run", "activations"}
    assert all(record["state"] == "complete" for record in records)
    assert "snmf" in cofire("methods").stdout


def test_report_writes_one_file(folder):
    done = cofire("report", "runs/run", cwd=folder)
    assert Path(done.stdout.strip()).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_resolved_config_makes_the_same_run_again(folder):
    words = "fit --config runs/run/config.yaml -o runs/again".split()
    done = cofire(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    first, second = (
        cofire("features", path, "--layer", 2, "--csv", cwd=folder).stdout
        for path in ("runs/run", "runs/again")
    )
    assert first == second


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("fti", 2, "did you mean 'fit'?"),
        ("features runs/nowhere", 1, "no cofire-run folder"),
        ("features runs/run", 2, "choose one with --layer"),
        ("features runs/run --layer 1", 2, "no finished layer 1; it has 0, 2"),
        ("features runs/acts", 1, "is a cofire-activations folder"),
        ("features runs/run --layer 2 --json --csv", 2, "exclude one another"),
        ("show runs/run 99 --layer 0", 2, "has features 0 to 5"),
        ("runs nowhere", 2, "no folder nowhere"),
        ("fit runs/acts --method nope", 2, "Unknown method 'nope'"),
        ("fit runs/acts -k 0", 2, "n_components"),
        ("fit runs/acts --sparsity 0", 2, "sparsity"),
        ("fit runs/acts -k 100000", 2, "rows"),
        ("path runs/acts --k 4,8", 2, "holds layers 0, 2; choose one"),
        ("path runs/acts --layer 2 --k 8,4", 2, "--k must increase"),
        ("path runs/acts --layer 2 --k 4,8 --json --csv", 2, "exclude one another"),
        ("path runs/acts --layer 2 --k 4,8 -o runs/run", 1, "is a cofire-run folder"),
        ("path nowhere --k 4,8", 1, "is no cofire-activations folder: there is no such folder"),
        ("fit --model ./no-such-folder -k 0", 2, "'n_components' is 0"),
        ("fit --model ./no-such-folder --sparsity 2", 2, "'sparsity' is 2"),
        ("fit --model ./no-such-folder --max-iter 0", 2, "'max_iter' is 0"),
        ("fit --model ./no-such-folder --code-penalty -1", 2, "'code_penalty' is -1"),
        ("capture --model ./no-such-folder --batch-tokens 0", 2, "'batch_tokens' is 0"),
        ("fit runs/acts --layers 1", 2, "holds no layer 1"),
        ("fit --config missing.yaml", 2, "Cannot read the config missing.yaml"),
        ("features runs/run --config x.yaml", 2, "--config goes with"),
        ("capture --data missing.txt", 1, "missing.txt"),
        ("capture --model ./no-such-folder", 1, "no-such-folder"),
        ("capture --device tpu", 2, "Unknown device 'tpu'"),
    ],
)
def test_bad_input_is_one_clear_sentence(folder, words, code, message):
    done = cofire(*words.split(), cwd=folder)
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, last.startswith("cofire: ")) == (code, True), done.stderr
    assert message in last
    assert "Traceback" not in done.stderr


def test_a_misspelt_flag_is_explained(folder):
    done = cofire("fit", "runs/acts", "--sparsty", "0.1", cwd=folder)
    assert done.returncode == 2
    assert "--sparsity" in done.stderr


@pytest.mark.parametrize("words", ["--draws 5", "--seed -1", "--keep nan"])
def test_a_setting_out_of_range_is_explained(folder, words):
    done = cofire("reuse", "runs/run", *words.split(), cwd=folder)
    flag, value = words.split()
    assert done.returncode == 2
    assert f"Setting '{flag[2:]}' is {value}; input" in done.stderr
    assert "pydantic" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparsty: 0.1", "did you mean 'sparsity'?"),
        ("- 1", "must hold a mapping"),
        ("n_components: many", "setting 'n_components' is 'many'"),
        ("a: [", "no valid YAML"),
    ],
)
def test_a_bad_config_file_is_one_clear_sentence(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    done = cofire("fit", "--config", "c.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "command", ["demo", "capture", "fit", "path", "compare", "weights", "export"]
)
@pytest.mark.parametrize("place", ["notes.txt", "notes.txt/runs"])
def test_a_file_is_no_place_for_a_folder(tmp_path, command, place):
    """Told before any model is looked for: there is none of that name."""
    (tmp_path / "notes.txt").write_text("mine")
    first = {"export": ["runs/run", "--to", "saelens"], "weights": ["no-model"]}.get(
        command, ["--model", "no-model"]
    )
    done = cofire(command, *first, "-o", place, cwd=tmp_path)
    assert done.returncode == 2
    assert (
        f"'{place}'; there is a file at notes.txt, where a folder is to be; give another place."
        in done.stderr
    )
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_debug_shows_the_traceback(folder):
    with pytest.raises(StoreError):
        cofire("features", "runs/nowhere", "--debug", cwd=folder)


def test_a_note_is_shown_once_and_a_warning_as_often_as_it_comes(monkeypatch):
    def noisy(_):
        logger = logging.getLogger("cofire.somewhere")
        for row in (1, 1, 2):
            logger.info("row %d is zero", row)
            logger.warning("row %d was lost", row)

    monkeypatch.setattr("cofire.cli.browsing.runs", noisy)
    lines = cofire("runs").stderr
    assert [lines.count(f"row {row} is zero") for row in (1, 2)] == [1, 1]
    assert [lines.count(f"row {row} was lost") for row in (1, 2)] == [2, 1]


def test_ctrl_c_promises_nothing_where_nothing_is_kept(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cofire.cli.browsing.runs", interrupted)
    done = cofire("runs")
    assert (done.returncode, done.stderr) == (130, "\nInterrupted.\n")


def test_ctrl_c_says_that_the_same_command_goes_on(folder, tiny_folder):
    lines = [f"Line {i} of a text that takes its time.\n" for i in range(50_000)]
    (folder / "long.txt").write_text("".join(lines))
    words = "capture --device cpu --data long.txt --batch-tokens 16 -o runs/slow --model".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "cofire", *words, str(tiny_folder)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    manifest = folder / "runs" / "slow" / "manifest.json"
    deadline = time.monotonic() + 120
    while not manifest.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on" in stderr
    assert "Traceback" not in stderr


def test_a_closed_pipe_is_no_error(folder):
    done = subprocess.run(
        f"{sys.executable} -m cofire features runs/run --layer 2 --json | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert "Traceback" not in done.stderr


def test_main_returns_codes_without_leaving_the_process(capsys):
    assert main([]) == 0
    assert "usage: cofire COMMAND" in capsys.readouterr().out
    assert main(["nope"]) == 2
