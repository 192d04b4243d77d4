"""Several processes, each with its own rows, find what one process finds."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from cofire.factorization import SemiNMF
from cofire.factorization.planted import plant
from cofire.ranks import ONE

SCRIPT = """
import json, sys, time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from cofire.errors import CofireError
from cofire.factorization import Checkpoint, SemiNMF
from cofire.factorization.planted import plant

folder, case = Path(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
X = plant(1200, 120, 10, sparsity=0.05, code_density=0.2, overlap=0.3, noise=0.1).X
mine = X.tensor_split(size)[rank]
options = {"sparsity": 0.05, "distributed": True, "device": "cpu", "tol": 1e-7}
if case == "chunks":
    mine = list(torch.split(mine, 130))
if case == "unequal":
    mine = X[:100] if rank == 0 else X[100:].tensor_split(size - 1)[rank - 1]
if case == "widths" and rank == 1:
    mine = mine[:, :7]
if case == "settings" and rank == 1:
    options |= {"tol": 1e-3, "init": mine[:3].numpy()}
if case == "broken" and rank == 1:
    mine = mine.clone()
    mine[4, 2] = torch.nan
if case == "penalty-free":
    options["code_penalty"] = 0.0
if case == "unseeded":
    options["random_state"] = None
if case == "budget":
    options["sparsity_budget"] = "dictionary"
if case in ("kill", "resume"):
    options["checkpoint"] = Checkpoint(folder / "state", every_seconds=0.0)

def watch(record):
    (folder / f"sweep-{rank}").write_text(str(record.iteration))
    if case == "kill" and record.iteration >= 6:
        (folder / f"ready-{rank}").touch()
        time.sleep(0.2)

try:
    snmf = SemiNMF(10, **options, callback=watch).fit(mine)
except CofireError as error:
    (folder / f"error-{rank}").write_text(str(error))
    sys.exit(1)
np.save(folder / f"atoms-{rank}.npy", snmf.components_)
(folder / f"figures-{rank}.json").write_text(json.dumps({
    "objective": snmf.objective_.tolist(),
    "loss": snmf.relative_loss_,
    "penalty": snmf.code_penalty_,
    "codes": snmf.transform(X[:5]).tolist(),
}))
dist.destroy_process_group()
"""


def command(tmp_path, processes, case):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(processes), str(script), str(tmp_path), case]


def launch(tmp_path, processes, case):
    return subprocess.run(
        command(tmp_path, processes, case),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )


def figures(tmp_path, rank):
    return json.loads((tmp_path / f"figures-{rank}.json").read_text())


@pytest.fixture(scope="module")
def rows():
    return plant(1200, 120, 10, sparsity=0.05, code_density=0.2, overlap=0.3, noise=0.1).X


@pytest.mark.parametrize(
    ("processes", "case"),
    [(2, "plain"), (4, "plain"), (2, "chunks"), (3, "unequal"), (2, "penalty-free"), (2, "budget")],
)
def test_many_processes_find_what_one_finds(rows, tmp_path, processes, case):
    done = launch(tmp_path, processes, case)
    assert done.returncode == 0, done.stderr
    options = {"sparsity": 0.05, "device": "cpu", "tol": 1e-7}
    if case == "penalty-free":
        options["code_penalty"] = 0.0
    if case == "budget":
        options["sparsity_budget"] = "dictionary"
    alone = SemiNMF(10, **options).fit(rows)
    first = np.load(tmp_path / "atoms-0.npy")
    for rank in range(processes):
        found = figures(tmp_path, rank)
        # Stated tolerance: a ten-thousandth of the objective, all atoms the same in all processes.
        assert found["objective"][-1] == pytest.approx(alone.objective_[-1], rel=1e-4)
        assert found["objective"][0] == pytest.approx(alone.objective_[0], rel=1e-6)
        assert found["penalty"] == pytest.approx(alone.code_penalty_, rel=1e-9)
        assert np.array_equal(np.load(tmp_path / f"atoms-{rank}.npy"), first)
    cosines = (first * alone.components_).sum(axis=1)
    assert cosines.min() > 0.999


def test_without_a_seed_all_processes_draw_the_same(tmp_path):
    done = launch(tmp_path, 2, "unseeded")
    assert done.returncode == 0, done.stderr
    atoms = [np.load(tmp_path / f"atoms-{rank}.npy") for rank in range(2)]
    assert np.array_equal(*atoms)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("widths", ["disagree on channels (120, 7 in order of rank);"] * 2),
        (
            "settings",
            [
                "disagree on init (None in process 0), tol (1e-07, 0.001 in order of rank);",
                "in process 1), tol (1e-07, 0.001 in order of rank);",
            ],
        ),
        (
            "broken",
            [
                "Process 0 has good rows, but the rows of process 1 hold NaN",
                "Input X contains NaN in row 4 (1 of 600 rows are affected)",
            ],
        ),
    ],
)
def test_what_does_not_fit_together_is_told_in_all_processes(tmp_path, case, words):
    assert launch(tmp_path, 2, case).returncode != 0
    for rank, expected in enumerate(words):
        assert expected in (tmp_path / f"error-{rank}").read_text()


def test_a_killed_process_ends_the_job_and_the_fit_goes_on_later(rows, tmp_path):
    job = subprocess.Popen(
        command(tmp_path, 2, "kill"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready-1").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(second_process(job.pid), signal.SIGKILL)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "SIGKILL" in errors
    if (tmp_path / "error-0").exists():  # unless the launcher ended it first
        assert "lost the others" in (tmp_path / "error-0").read_text()
    stopped_at = int((tmp_path / "sweep-0").read_text())
    (tmp_path / "sweep-0").unlink()
    done = launch(tmp_path, 2, "resume")
    assert done.returncode == 0, done.stderr
    assert stopped_at >= 6
    plain = tmp_path / "plain"
    plain.mkdir()
    assert launch(plain, 2, "plain").returncode == 0
    assert figures(tmp_path, 0)["objective"] == figures(plain, 0)["objective"]
    assert not (tmp_path / "state").exists()


def second_process(launcher):
    """The process with local rank 1 of a launcher."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environ = file.read().split(b"\0")
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == launcher and b"LOCAL_RANK=1" in environ:
            return int(name)
    raise AssertionError("the launcher has no second process")


def test_one_process_needs_no_group():
    values = torch.ones(3)
    assert ONE.add(values) is values
    assert ONE.copy_first(values) is values
    assert ONE.gather(2.0) == [2.0]
