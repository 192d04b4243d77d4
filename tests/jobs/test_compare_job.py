"""The comparison job: cells that stand alone, tables with tests, a page; resumable after a kill."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cofire import jobs
from cofire.config import CaptureConfig, CompareConfig, FitConfig, SweepConfig
from cofire.errors import CofireError, InputError, StoreError
from cofire.evaluation.grid import GridCell
from cofire.evaluation.pairing import best_of_concepts
from cofire.evaluation.steering_records import PUBLISHED_TARGETS
from cofire.interpret.concepts import concept_profile
from cofire.jobs.compare_plan import plan_cells, read_method, steering_settings, sweep_axes
from cofire.jobs.compare_steering import drawn_features
from cofire.jobs.comparing import failures
from cofire.report import write_compare_page, write_report
from cofire.site import Site
from cofire.store.catalogue import catalogue
from cofire.store.compare_results import read_cell
from cofire.store.locks import locked

SMALL = {
    "layers": "2",
    "k": "6",
    "sparsity": "0.1",
    "seeds": 2,
    "methods": "snmf:max_iter=8,diffmeans,random",
    "loss_texts": 8,
    "limit": 300,
    "device": "cpu",
}
STEERED = {"steer": 2, "targets": "0.05,0.2", "samples": 2, "new_tokens": 5}


@pytest.fixture(scope="module")
def small(tiny_folder):
    return CompareConfig(model=str(tiny_folder), **SMALL)


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """A comparison with everything in it."""
    config = changed(small, output=tmp_path_factory.mktemp("compare") / "whole", **STEERED)
    return config, jobs.compare(config)


def changed(config, **update):
    return type(config)(**{**config.model_dump(), **update})


def rows(folder, name="results"):
    return pq.read_table(folder.path / f"{name}.parquet").to_pylist()


def figures(folder):
    """Results but times, which are never the same twice."""
    return [row for row in rows(folder) if row["measure"] != "fit-seconds"]


def test_every_cell_is_fitted_and_measured(whole):
    _, folder = whole
    assert [cell.name for cell in folder.cells] == [
        "snmf-max-iter-8-mlp-L2-k6-s0.1-seed0",
        "diffmeans-mlp-L2-seed0",
        "random-mlp-L2-k6-seed0",
        "snmf-max-iter-8-mlp-L2-k6-s0.1-seed1",
        "random-mlp-L2-k6-seed1",
    ]
    assert not failures(folder)
    found = {(r["method"], r["measure"], r["score"]) for r in rows(folder) if r["seed"] is None}
    for method in ("snmf:max_iter=8", "diffmeans", "random"):
        for measure in (
            ("unexplained-variance", None),
            ("unexplained-variance-equal", None),
            ("divergence-recovered-mean", None),
            ("loss-recovered-zero", None),
            ("concept-detection", "cosine"),
            ("detection-precision", "codes"),
            ("concept-auroc", "codes"),
            ("steering-score", None),
            ("steering-best", None),
            ("steering-gain", None),
            ("steering-efficiency", None),
        ):
            assert (method, *measure) in found
        assert (method, "stability-halves-excess", None) in found
    assert ("random", "stability-excess", None) in found
    assert ("diffmeans", "stability", None) not in found  # nothing in it is random
    with (folder.path / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows(folder))


def test_halves_agree_only_by_what_was_learned(whole):
    _, folder = whole
    cells = {cell.method: folder.cell(cell) for cell in folder.cells if cell.seed == 0}
    table = {name: cell.table("halves").to_pydict() for name, cell in cells.items()}
    assert np.mean(table["diffmeans"]["agreement"]) > np.mean(table["diffmeans"]["null"]) + 0.2
    assert max(table["random"]["p_value"]) > 0.05  # the same seed twice would agree by 1
    assert {len(columns["agreement"]) for columns in (table["random"], table["snmf"])} == {6}
    second = folder.cell(folder.cells[3])
    assert not second.has("halves")


def test_seeds_are_pooled_and_stand_apart_too(whole):
    _, folder = whole
    shares = {
        row["seed"]: row
        for row in rows(folder)
        if row["method"] == "random"
        and (row["measure"], row["score"]) == ("detection-auroc", "codes")
    }
    assert set(shares) == {None, 0, 1}
    assert shares[None]["n"] + shares[None]["missing"] == 12
    assert shares[0]["low"] is None
    known = [s["value"] * s["n"] for seed, s in shares.items() if seed is not None]
    assert shares[None]["value"] == pytest.approx(sum(known) / shares[None]["n"])


def test_tests_count_what_is_missing_on_one_denominator(whole):
    _, folder = whole
    tests = rows(folder, "comparisons")
    assert {test["reference_method"] for test in tests} == {"snmf:max_iter=8"}
    for test in tests:
        assert test["scored"] + test["missing"] == test["total"]
        if test["pairing"] == "shared":
            assert test["total"] == test["reference_total"]
        if test["p_value"] is not None:
            assert test["p_value"] <= test["corrected_p_value"] <= 1
    steered = [test for test in tests if test["measure"] == "steering-gain"]
    assert {test["total"] for test in steered} == {2}


def test_steered_features_are_drawn_without_looking_at_what_came_of_them(whole):
    config, folder = whole
    cell = folder.cell(folder.cells[0])
    noted = cell.figures("steer-2")
    table = cell.table("features").to_pylist()
    assert noted["features"] == drawn_features(table, 2, seed=config.seed)
    assert len(noted["unsteered"]) == 2
    rng = np.random.default_rng(7)
    for row in table:
        row.update({name: rng.random() for name in row if "auroc" in name or "order" in name})
    assert noted["features"] == drawn_features(table, 2, seed=config.seed)
    assert not folder.cell(folder.cells[-1]).steered  # the second seed is not steered


def test_concepts_are_judged_by_the_feature_that_training_texts_choose(whole, small):
    _, folder = whole
    own = folder.cell(folder.cells[0])
    source = jobs.comparing.StoredRows(
        folder.path / "activations", small, jobs.comparing.SILENT, with_model=False
    )
    (activations,) = source.rows([Site(2)])
    codes = own.dictionary().encode(activations)
    profile = concept_profile(codes, activations.tokens.text_id, activations.corpus)
    expected = best_of_concepts(profile.train, profile.heldout)
    table = [row for row in own.table("concepts").to_pylist() if row["score"] == "codes"]
    assert [row["concept"] for row in table] == list(profile.concepts)
    np.testing.assert_allclose([row["auroc"] for row in table], expected, atol=1e-9)


def test_the_same_command_computes_nothing_twice(whole):
    config, folder = whole
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("cells/*/*")}
    kept = figures(folder)
    again = jobs.compare(config)
    assert before == {path: path.stat().st_mtime_ns for path in again.path.glob("cells/*/*")}
    assert figures(again) == kept


def test_a_comparison_grows_and_keeps_what_it_has(small, tmp_path):
    config = changed(small, output=tmp_path / "grow", methods="random", seeds=1, loss_texts=0)
    first = jobs.compare(config)
    stamp = {path: path.stat().st_mtime_ns for path in first.path.glob("cells/random*/*")}
    more = jobs.compare(changed(config, methods="random,neurons", seeds=2))
    assert len(more.cells) == 3
    for path, time_ns in stamp.items():
        assert path.stat().st_mtime_ns == time_ns
    with pytest.raises(StoreError, match="begun with active None, not 3"):
        jobs.compare(changed(config, active=3))
    assert len(catalogue(tmp_path)) == 2  # the comparison, and its activations
    (listed,) = [r for r in catalogue(tmp_path) if r["kind"] == "compare"]
    assert listed["state"] == "complete"
    assert "random, neurons in 3 cells" in listed["what"]


def _fitted(manifest: Path) -> bool:
    """Whether the cell has said that it is fitted."""
    return "fit" in json.loads(manifest.read_text())["stages"]


def test_a_kill_loses_one_stage_of_one_cell(small, tmp_path):
    output = tmp_path / "killed"
    settings = changed(small, output=output, methods="snmf:max_iter=8,random,neurons", seeds=1)
    words = [f"--{n.replace('_', '-')}={v}" for n, v in {**SMALL, "seeds": 1}.items()]
    words = [word for word in words if not word.startswith("--methods")]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cofire", "compare", "--model", settings.model, *words),
            *("--methods", settings.methods, "-o", str(output)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not any(_fitted(path) for path in output.glob("cells/snmf*/manifest.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = next(output.glob("cells/snmf*/dictionary.safetensors")).read_bytes()
    folder = jobs.compare(settings)
    assert next(output.glob("cells/snmf*/dictionary.safetensors")).read_bytes() == kept
    fresh = jobs.compare(changed(settings, output=tmp_path / "fresh"))
    assert figures(folder) == figures(fresh)


def test_a_cell_that_fails_is_told_and_stops_no_other(small, tmp_path, caplog):
    config = changed(small, output=tmp_path / "fails", methods="pca,random", k="100", seeds=1)
    folder = jobs.compare(config)
    ((name, sentence),) = failures(folder).items()
    assert name == "pca-mlp-L2-k100-seed0"
    assert "'pca' finds at most" in sentence
    assert sentence in caplog.text
    assert {row["method"] for row in rows(folder)} == {"random"}
    page = write_compare_page(folder).read_text()
    assert "failed" in page
    assert "finds at most" in page
    (listed,) = [r for r in catalogue(tmp_path) if r["kind"] == "compare"]
    assert listed["state"] == "1 of 2 done"


def test_halves_that_are_too_small_stop_no_other_stage(small, tmp_path, caplog):
    data = tmp_path / "texts.csv"
    lines = [f"rain,it rains {word} today" for word in "softly hard again here".split()]
    lines += [f"sun,the sun shines {word} now" for word in "softly hard again here".split()]
    data.write_text("label,text\n" + "\n".join(lines) + "\n")
    texts = {"model": small.model, "data": str(data), "layers": "2", "heldout": 1.0, "limit": 300}
    store = jobs.capture(CaptureConfig(**texts, device="cpu", output=tmp_path / "rows"))
    n_rows, channels = store.activations(Site(2)).where_split("train").shape
    config = changed(
        small,
        **texts,
        activations=store.path,
        methods="pca",
        k=str(min(n_rows, channels) - 1),
        seeds=1,
        output=tmp_path / "small",
        **STEERED,
    )
    folder = jobs.compare(config)
    (sentence,) = failures(folder).values()
    assert sentence.startswith("halves: ")
    assert sentence in caplog.text
    cell = folder.cell(folder.cells[0])
    assert not cell.has("halves")
    assert all(cell.has(stage) for stage in ("fit", "measure", "loss", "steer-2"))
    assert "steering-shift" in {row["measure"] for row in rows(folder)}


def test_cells_at_work_elsewhere_are_left_to_it(small, tmp_path):
    config = changed(small, output=tmp_path / "shared", methods="random", seeds=1, loss_texts=0)
    folder = jobs.compare(config)
    lock = folder.lock(folder.cells[0])
    with locked(lock, wait=False) as mine, locked(lock, wait=False) as other:
        assert mine
        assert not other
    with locked(lock, wait=True) as mine:
        assert mine


def test_the_published_protocol(small, tmp_path):
    config = changed(
        small, output=tmp_path / "pub", protocol="published", methods="random", seeds=1, **STEERED
    )
    folder = jobs.compare(config)
    measured = {(row["measure"], row["score"]) for row in rows(folder)}
    assert ("concept-detection", "cosine") in measured
    assert ("concept-detection", "codes") not in measured
    own = folder.cell(folder.cells[0])
    assert own.figures("steer-2")["description"] == "output"
    steered = read_cell(own).steered
    strengths = {(c.cell.target_kl, one.feature): set() for one in steered for c in one.cells}
    for one in steered:
        for cell in one.cells:
            strengths[cell.cell.target_kl, one.feature].add((cell.cell.alpha, cell.cell.status))
    assert all(len(both_signs) == 1 for both_signs in strengths.values())
    settings = own.figures("steer-2")["settings"]
    assert (settings["sampling"]["top_k"], settings["sampling"]["top_p"]) == (30, None)
    (row,) = (row for row in rows(folder) if row["measure"] == "steering-published")
    scores = [one.published_score for one in steered]
    assert row["value"] == pytest.approx(np.mean([one for one in scores if one is not None]))
    assert "Published score" in write_compare_page(folder).read_text()


def test_the_published_score_is_not_that_of_the_extended_protocol(whole):
    _, folder = whole
    assert not [row for row in rows(folder) if row["measure"] == "steering-published"]
    assert not steering_settings(CompareConfig()).shared_strength
    assert steering_settings(CompareConfig()).sampling.top_p == 0.3


def test_a_sweep_is_drawn_against_what_varies(small, tmp_path):
    config = SweepConfig(
        **{
            **small.model_dump(),
            "methods": "snmf:max_iter=5",
            "output": tmp_path / "sweep",
            "vary": "sparsity",
            "values": "0.1,0.3",
            "seeds": 1,
            "loss_texts": 0,
        }
    )
    folder = jobs.sweep(config)
    assert [cell.sparsity for cell in folder.cells] == [0.1, 0.3]
    page = write_compare_page(folder).read_text()
    assert 'class="chart along"' in page
    assert "snmf:max_iter=5, 30%" in page
    tests = rows(folder, "comparisons")
    assert {(test["reference_sparsity"], test["sparsity"]) for test in tests} == {(0.1, 0.3)}
    penalty = sweep_axes(changed(config, vary="code_penalty", values="0,0.1"))
    assert penalty.methods == "snmf:max_iter=5:code_penalty=0,snmf:max_iter=5:code_penalty=0.1"
    with pytest.raises(InputError, match="takes"):
        sweep_axes(changed(config, vary="colour"))


def test_the_page_is_complete_in_itself(whole):
    _, folder = whole
    page = write_compare_page(folder).read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") >= 6
    tables = (folder.path / "tables.md").read_text()
    assert "## Steering" in tables
    assert "## Tests against snmf:max_iter=8" in tables


def test_one_setting_can_be_added_to_a_method():
    method, settings = read_method("snmf:solver=mu:max_iter=50:code_penalty=0.1:center=true")
    assert method.name == "snmf"
    assert dict(settings) == {
        "solver": "mu",
        "max_iter": 50,
        "code_penalty": 0.1,
        "center": True,
    }
    assert GridCell.from_record(GridCell("snmf", settings, Site(1), 5, 0.1, 0).record()).settings


def test_yaml_may_list_what_flags_separate_by_commas():
    config = CompareConfig(methods=["snmf", "pca"], k=[10, 20], layers=3)
    assert (config.methods, config.k, config.layers) == ("snmf,pca", "10,20", "3")


def test_defaults_are_the_published_targets():
    assert steering_settings(CompareConfig()).targets == PUBLISHED_TARGETS
    assert len(plan_cells(CompareConfig(), [Site(0)])) == 7 * 3 - 2 * 2
    assert CompareConfig(quick=True, k="7").with_quick().k == "7"
    assert CompareConfig(quick=True).with_quick().seeds == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": "snmf,snmg"}, "Unknown method 'snmg'"),
        ({"methods": "snmf,snmf"}, "names snmf twice"),
        ({"methods": ","}, "names no method"),
        ({"methods": "pca:solver=mu"}, "pca takes none"),
        ({"methods": "snmf:max_iter=many"}, "'many' is no value for max_iter"),
        ({"methods": "snmf:sparsity=0.1"}, "set for all methods, with --sparsity"),
        ({"k": "six"}, "--k takes numbers such as 50,100"),
        ({"k": "0"}, "k must be at least 1"),
        ({"sparsity": "2"}, "sparsity above 0"),
        ({"methods": "snmf:max_iter=3:max_iter=9"}, "sets max_iter twice"),
        ({"steer": 1, "targets": "0"}, "KL divergences above 0"),
        ({"steer": 1, "targets": "0.1,inf"}, "KL divergences above 0"),
        ({"layers": "77"}, "77"),
    ],
)
def test_bad_settings_are_one_clear_sentence(small, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        jobs.compare(changed(small, output=tmp_path / "bad", **change))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"heldout": 250.0}, "Cannot hold out 250 texts"),
        ({"runs": "nowhere"}, "nowhere"),
        ({"layers": "77"}, "77"),
    ],
)
def test_a_refused_start_leaves_the_folder_to_the_corrected_one(
    small, tmp_path, monkeypatch, change, problem
):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "texts.csv"
    words = "rain snow wind hail fog sun frost".split()
    data.write_text("text\n" + "".join(f"we saw the {word} again\n" for word in words))
    config = changed(
        small, data=str(data), output=tmp_path / "begun", methods="random", seeds=1, k="3"
    )
    with pytest.raises(CofireError, match=problem):
        jobs.compare(changed(config, **change))
    assert not (config.output / "activations").exists()
    folder = jobs.compare(changed(config, heldout=2.0, loss_texts=0))
    assert not failures(folder)


def test_a_run_that_was_fitted_on_heldout_texts_is_refused(small, tmp_path):
    data = tmp_path / "texts.csv"
    words = "rain snow wind hail fog sun frost".split()
    data.write_text("text\n" + "".join(f"we saw the {word} again\n" for word in words))
    fitted = jobs.fit(
        FitConfig(
            model=small.model,
            data=str(data),
            layers="2",
            method="random",
            n_components=3,
            device="cpu",
            output=tmp_path / "mine",
        )
    )
    config = changed(
        small,
        data=str(data),
        heldout=2.0,
        methods="random",
        seeds=1,
        k="3",
        runs=str(fitted.path),
        output=tmp_path / "mixed",
    )
    with pytest.raises(InputError, match=r"fitted on 2 of the 2 texts that are held out here"):
        jobs.compare(config)
    assert not (config.output / "activations").exists()


def test_dictionaries_of_runs_are_compared_as_they_are(whole, small, tmp_path):
    _, folder = whole
    fitted = jobs.fit(
        FitConfig(
            activations=folder.path / "activations",
            n_components=6,
            sparsity=0.1,
            max_iter=5,
            device="cpu",
            output=tmp_path / "mine",
        )
    )
    config = changed(
        small,
        activations=folder.path / "activations",
        limit=None,
        methods="random",
        seeds=1,
        runs=str(fitted.path),
        output=tmp_path / "with-runs",
    )
    both = jobs.compare(config)
    assert not failures(both)
    own = both.cell(next(cell for cell in both.cells if cell.method == "run"))
    assert torch.equal(own.dictionary().atoms, fitted.dictionary(Site(2)).atoms)
    assert {row["method"] for row in rows(both)} == {"random", "run:name=mine"}
    page = write_report(fitted, comparison=both).read_text()
    assert "Beside other methods" in page
    assert "run:name=mine" in page
    with pytest.raises(InputError, match="comparison is at"):
        jobs.compare(changed(config, activations=None, layers="1", output=tmp_path / "apart"))
    for name in ("a_b", "a-b"):
        shutil.copytree(fitted.path, tmp_path / name)
    twins = changed(config, runs=f"{tmp_path / 'a_b'},{tmp_path / 'a-b'}", output=tmp_path / "two")
    with pytest.raises(InputError, match="run:name=a_b and run:name=a-b would both"):
        jobs.compare(twins)
    other = jobs.compare(
        changed(small, methods="random", seeds=1, layers="1", loss_texts=0, output=tmp_path / "l1")
    )
    with pytest.raises(StoreError, match="no layer of this run"):
        write_report(fitted, comparison=other)
