"""The path job: a folder with a page, resumable point by point."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from cofire import jobs
from cofire.config import CaptureConfig, PathConfig
from cofire.errors import InputError, StoreError
from cofire.evaluation.path_points import PathStep
from cofire.jobs.walking import path_steps, whole_texts
from cofire.report import write_path_page
from cofire.site import Site
from cofire.store import ActivationStore, PathFolder


@pytest.fixture(scope="module")
def acts(tiny_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "acts"
    return jobs.capture(
        CaptureConfig(model=str(tiny_folder), layers="0,2", output=path, device="cpu", limit=300)
    )


@pytest.fixture
def config(acts, tmp_path):
    return PathConfig(
        activations=acts.path,
        output=tmp_path / "path",
        layers="2",
        k="3,6,12,24",
        sparsity=0.1,
        max_iter=15,
        tol=1e-2,
        device="cpu",
    )


def changed(config, **update):
    return config.model_copy(update=update)


def test_a_path_leaves_a_folder(config):
    folder = jobs.path(config)
    assert folder.site == Site(2, "mlp")
    assert [point.n_components for point in folder.points] == [3, 6, 12, 24]
    listed = json.loads((folder.path / "path.json").read_text())
    assert [point["n_components"] for point in listed["points"]] == [3, 6, 12, 24]
    assert listed["suggestion"]["words"]
    with (folder.path / "path.csv").open() as file:
        assert [row["n_components"] for row in csv.DictReader(file)] == ["3", "6", "12", "24"]
    page = write_path_page(folder).read_text()
    assert page.count("<svg") >= 3
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert 'role="img" aria-label="Relative loss. k = 3: held-out texts' in page


def test_the_same_command_goes_on_after_the_points_that_are_there(config, tmp_path):
    whole = jobs.path(config)
    part = PathFolder.open(whole.path)
    part._archive.manifest["points"] = part.manifest["points"][:2]
    part._archive.save()
    again = jobs.path(config)
    assert [point.loss_train for point in again.points] == [p.loss_train for p in whole.points]
    (whole.path / "atoms-01.safetensors").unlink()
    mended = jobs.path(config)
    assert len(mended.solutions()) == 4
    fresh = jobs.path(changed(config, output=tmp_path / "fresh"))
    for ours, theirs in zip(mended.solutions(), fresh.solutions(), strict=True):
        assert torch.equal(ours.atoms[0], theirs.atoms[0])


def test_a_kill_loses_at_most_one_point(config, tmp_path):
    output = tmp_path / "killed"
    words = [
        *("path", str(config.activations), "--layer", "2", "--k", "3,6,12,24", "-o", str(output)),
        *("--sparsity", "0.1", "--max-iter", "15", "--tol", "0.01", "--device", "cpu"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "cofire", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (output / "path.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(PathFolder.open(output).points)
    assert done >= 1
    folder = jobs.path(changed(config, output=output))
    whole = jobs.path(config)
    for ours, theirs in zip(folder.solutions(), whole.solutions(), strict=True):
        assert torch.allclose(ours.atoms[0], theirs.atoms[0], atol=1e-5)


def test_a_sparsity_path_suggests_no_k(config):
    folder = jobs.path(changed(config, k="6", sparsity=None, sparsities="0.2,0.1,0.05"))
    assert folder.varies == "sparsity"
    assert folder.suggestion is None
    page = write_path_page(folder).read_text()
    assert "How sparse to make" in page
    assert "20%" in page


def test_straight_from_a_model(config, tiny_folder, tmp_path):
    fresh = jobs.path(
        changed(
            config,
            activations=None,
            model=str(tiny_folder),
            limit=300,
            k="3,6",
            output=tmp_path / "fresh",
        )
    )
    stored = jobs.path(changed(config, k="3,6"))
    for ours, theirs in zip(fresh.points, stored.points, strict=True):
        assert ours.loss_heldout == pytest.approx(theirs.loss_heldout, abs=1e-3)


def test_rows_draws_whole_texts(acts):
    store = ActivationStore.open(acts.path)
    rows = store.activations(Site(2, "mlp"))
    part = whole_texts(rows, 200, seed=0)
    assert 100 < len(part.where_split("train")) <= 200
    assert len(part.where_split("heldout")) <= 200
    kept = set(part.tokens.text_id.tolist())
    assert sum(text_id in kept for text_id in rows.tokens.text_id.tolist()) == len(part)
    with pytest.raises(InputError, match="No training text has 1 rows or fewer"):
        whole_texts(rows, 1, seed=0)


def test_rows_and_seeds_from_the_command(config):
    folder = jobs.path(changed(config, rows=300, seeds=2, cold=True, k="3,6"))
    assert all(point.seed_agreement is not None for point in folder.points)
    assert not any(point.warm for point in folder.points)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": "3,6", "sparsities": "0.1,0.2", "sparsity": None}, "not both"),
        ({"sparsities": "0.1,0.2"}, "--sparsity and --sparsities exclude one another"),
        ({"k": ""}, "--k takes numbers such as"),
        ({"k": "3,,6"}, "--k takes numbers such as"),
        ({"k": "3,6.5"}, "--k takes numbers such as"),
        ({"k": "6,3"}, "--k must increase"),
        ({"k": "3,6,6"}, "names 6 twice"),
        ({"k": "6"}, "at least two points"),
        ({"k": "0,6"}, "k must be at least 1"),
        ({"k": "6", "sparsity": None, "sparsities": "0.1,0.3,0.2"}, "increase or decrease"),
        ({"k": "6", "sparsity": None, "sparsities": "0.1,nan"}, "sparsity above 0"),
        ({"k": "3,1000000"}, "k = 1000000 is asked for"),
        ({"layers": None}, "holds layers 0, 2; choose one, such as --layer 0"),
        ({"layers": "0,2"}, "at one layer; got layers 0, 2"),
        ({"layers": "1"}, "holds no layer 1"),
    ],
)
def test_bad_settings_are_one_clear_sentence(config, change, message):
    with pytest.raises(InputError, match=message):
        jobs.path(changed(config, **change))


def test_folders_of_something_else(config, acts, tmp_path):
    with pytest.raises(StoreError, match="has no manifest"):
        jobs.path(changed(config, activations=tmp_path))
    with pytest.raises(StoreError, match="is a cofire-activations folder"):
        jobs.path(changed(config, output=acts.path))
    jobs.path(changed(config, k="3,6"))
    with pytest.raises(StoreError, match="begun for k 3,6 at sparsity 0.1, not k 3,6 at"):
        jobs.path(changed(config, k="3,6", sparsity=0.2))
    with pytest.raises(StoreError, match="begun with seed 0, not 1"):
        jobs.path(changed(config, k="3,6", seed=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no cofire-path folder"):
        jobs.path(changed(config, output=tmp_path / "mine"))


def test_a_path_that_never_got_anywhere_does_not_block_its_folder(config):
    with pytest.raises(InputError, match="asked for"):
        jobs.path(changed(config, k="3,1000000"))
    assert len(jobs.path(changed(config, k="3,6")).points) == 2


def test_a_damaged_point_is_told(config):
    folder = jobs.path(changed(config, k="3,6"))
    manifest = folder.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"loss_train"', '"lost"'))
    with pytest.raises(StoreError, match="the record of a point is none"):
        PathFolder.open(folder.path)


def test_defaults():
    assert [step.n_components for step in path_steps(PathConfig())] == [25, 50, 100, 200, 400]
    steps = path_steps(PathConfig(sparsities="0.1, 0.05"))
    assert steps == [PathStep(100, 0.1), PathStep(100, 0.05)]
