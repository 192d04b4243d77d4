"""``torchrun -m cofire fit``: one run from several processes; what needs one process says so."""

import os
import subprocess
import sys

import pytest
import torch

from cofire import jobs
from cofire.config import CaptureConfig, FitConfig
from cofire.store import Run


@pytest.fixture(scope="module")
def acts(tiny_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "acts"
    config = CaptureConfig(
        model=str(tiny_folder), layers="0,2", output=path, device="cpu", limit=200
    )
    return jobs.capture(config)


def torchrun(*words):
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "cofire", "fit", "--device", "cpu"),
            *words,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_several_processes_write_one_run(acts, tmp_path):
    words = ["-k", "6", "--sparsity", "0.1"]
    done = torchrun(str(acts.path), *words, "-o", str(tmp_path / "many"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Next: cofire features") == 1
    assert done.stderr.count("Fitting blocks.0.mlp.hook_post") == 1
    many = Run.open(tmp_path / "many")
    alone = jobs.fit(
        FitConfig(
            activations=acts.path,
            output=tmp_path / "alone",
            n_components=6,
            sparsity=0.1,
            device="cpu",
        )
    )
    assert many.sites == alone.sites
    for site in many.sites:
        assert many.figures(site)["processes"] == 2
        assert many.codes(site).shape == alone.codes(site).shape
        last, reference = many.objective(site)[-1], alone.objective(site)[-1]
        assert last["objective"] == pytest.approx(reference["objective"], rel=1e-3)
        atoms = many.dictionary(site).atoms
        assert torch.equal((atoms != 0).sum(dim=1) > 0, torch.ones(6, dtype=torch.bool))
        assert not (many.path / site.name / "unfinished").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "no-such-model"], "Several processes need rows on disk"),
        (["ACTS", "--method", "pca"], "Method 'pca' runs in one process"),
    ],
)
def test_what_needs_one_process_says_so(acts, tmp_path, words, message):
    words = [str(acts.path) if word == "ACTS" else word for word in words]
    done = torchrun(*words, "-k", "6", "-o", str(tmp_path / "run"))
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback (most recent call last):\n  File" not in done.stderr.split("torch/")[0]
