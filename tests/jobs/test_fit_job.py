"""Fitting into a run: from a store or straight from a model, resumable, with readable features."""

import io
import json
import logging
import re
import shutil
from contextlib import contextmanager

import pytest
import torch
from rich.console import Console

import builders
from cofire import jobs
from cofire.cli.progress import TerminalProgress
from cofire.config import CaptureConfig, FitConfig
from cofire.errors import InputError, StoreError
from cofire.registry import method_named
from cofire.site import Site
from cofire.store import Run


@pytest.fixture(scope="module")
def acts(tiny_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "acts"
    return jobs.capture(
        CaptureConfig(model=str(tiny_folder), layers="0,2", output=path, device="cpu", limit=300)
    )


@pytest.fixture
def config(acts, tmp_path):
    return FitConfig(
        activations=acts.path,
        output=tmp_path / "run",
        n_components=6,
        sparsity=0.1,
        max_iter=20,
        tol=1e-2,
        device="cpu",
    )


def test_a_fit_makes_a_readable_run(config, acts):
    run = jobs.fit(config)
    assert run.sites == [Site(0, "mlp"), Site(2, "mlp")]
    for site in run.sites:
        features = run.features(site)
        assert len(features) == 6
        assert run.codes(site).shape == (acts.n_rows, 6)
        assert (run.codes(site) >= 0).all()
        assert all(len(feature.neurons) <= 5 for feature in features)  # 10% of 48 channels
        assert any(feature.vocabulary for feature in features)
        assert run.objective(site)[-1]["relative_loss"] < 1
        assert run.figures(site)["stop_reason"]
        assert features.heldout is not None


def test_the_same_seed_gives_the_same_run(config, tmp_path):
    first = jobs.fit(config)
    second = jobs.fit(config.model_copy(update={"output": tmp_path / "again"}))
    site = first.sites[0]
    assert torch.equal(first.dictionary(site).atoms, second.dictionary(site).atoms)
    assert torch.equal(first.codes(site), second.codes(site))


def test_a_run_goes_on_with_the_layers_that_are_missing(config):
    run = jobs.fit(config)
    kept = run.path / "blocks.0.mlp.hook_post" / "codes.safetensors"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(run.path / "blocks.2.mlp.hook_post")
    assert Run.open(run.path).unfinished == [Site(2, "mlp")]
    run = jobs.fit(config)
    assert run.unfinished == []
    assert kept.stat().st_mtime_ns == before


def test_other_settings_need_another_folder(config):
    jobs.fit(config)
    with pytest.raises(StoreError, match="begun with sparsity 0.1, not 0.2"):
        jobs.fit(config.model_copy(update={"sparsity": 0.2}))


def test_straight_from_a_model_is_the_same_as_from_a_store(config, tiny_folder, tmp_path):
    stored = jobs.fit(config)
    fresh = jobs.fit(
        config.model_copy(
            update={
                "activations": None,
                "model": str(tiny_folder),
                "layers": "0,2",
                "limit": 300,
                "output": tmp_path / "fresh",
            }
        )
    )
    for site in stored.sites:
        ours, theirs = stored.dictionary(site).atoms, fresh.dictionary(site).atoms
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_one_layer_of_a_store(config):
    run = jobs.fit(config.model_copy(update={"layers": "2"}))
    assert run.sites == [Site(2, "mlp")]
    other = config.model_copy(update={"layers": "1", "output": config.output / "x"})
    with pytest.raises(InputError, match="holds no layer 1; it holds 0, 2"):
        jobs.fit(other)


def test_a_mistaken_setting_costs_no_work(config):
    with pytest.raises(InputError, match="Unknown method 'snmff'"):
        jobs.fit(config.model_copy(update={"method": "snmff"}))
    with pytest.raises(InputError, match="'pca' has no setting 'sparsity'"):
        jobs.fit(config.model_copy(update={"method": "pca"}))
    assert not config.output.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_components": 10**6}, "rows"),
        ({"sparsity": 1.5}, "sparsity"),
        ({"sparsity": 0.0}, "sparsity"),
    ],
)
def test_settings_out_of_range(config, change, message):
    with pytest.raises(InputError, match=message):
        jobs.fit(config.model_copy(update=change))


def test_a_store_outlives_its_model(config, acts, tmp_path, caplog):
    moved = tmp_path / "moved"
    shutil.copytree(acts.path, moved)
    manifest = moved / "manifest.json"
    name = acts.manifest["model"]["name"]
    manifest.write_text(manifest.read_text().replace(name, str(tmp_path / "gone")))
    with caplog.at_level(logging.WARNING, "cofire"):
        run = jobs.fit(config.model_copy(update={"activations": moved}))
    assert "no promoted and demoted tokens" in caplog.text
    assert run.features(run.sites[0])[0].vocabulary is None


@pytest.mark.parametrize("name", builders.method_parameters())
def test_every_method_makes_a_run(config, name):
    method = method_named(name)
    update = {"method": name, "layers": "2"}
    update |= {} if "sparsity" in method.honours else {"sparsity": 0.01}
    update |= {} if "tol" in method.honours and "solver" in method.honours else {"tol": None}
    if method.needs_labels:
        update["n_components"] = 100
    if "solver" not in method.honours:
        update["max_iter"] = 30 if method.encoder in ("relu", "topk") else None
    run = jobs.fit(config.model_copy(update=update))
    features = run.features(run.sites[0])
    if not method.needs_labels:
        assert len(features) == 6
        return
    names = run.dictionary(run.sites[0]).feature_names
    assert [feature.label.split(":")[0] for feature in features] == list(names)


def test_texts_without_labels_are_refused_before_they_are_captured(config, tiny_folder, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n")
    fresh = {"activations": None, "model": str(tiny_folder), "data": str(texts), "layers": "0"}
    with pytest.raises(InputError, match="need labelled training texts"):
        jobs.fit(
            config.model_copy(
                update={
                    **fresh,
                    "method": "diffmeans",
                    "n_components": 100,
                    "sparsity": 0.01,
                    "max_iter": None,
                    "tol": None,
                }
            )
        )


def test_a_run_from_a_store_says_what_the_store_was_made_of(config, acts, tiny_folder):
    run = jobs.fit(config)
    assert run.config["model"] == str(tiny_folder)
    assert run.config["limit"] == 300
    with pytest.raises(InputError, match="captured with site 'mlp', but 'attn' is asked for"):
        jobs.fit(config.model_copy(update={"site": "attn"}))


def test_a_half_precision_store_still_gets_its_vocabulary(config, tiny_folder, tmp_path):
    path = tmp_path / "half"
    jobs.capture(
        CaptureConfig(model=str(tiny_folder), layers="2", output=path, dtype="bfloat16", limit=100)
    )
    run = jobs.fit(config.model_copy(update={"activations": path}))
    assert run.features(run.sites[0])[0].vocabulary is not None


def test_layers_of_different_captures_are_not_mixed(config, acts, tiny_folder, tmp_path):
    path = tmp_path / "acts"
    settings = CaptureConfig(
        model=str(tiny_folder), layers="0,2", output=path, device="cpu", limit=100
    )
    jobs.capture(settings)
    config = config.model_copy(update={"activations": path})
    run = jobs.fit(config)
    shutil.rmtree(run.path / "blocks.2.mlp.hook_post")
    shutil.rmtree(path)
    jobs.capture(settings.model_copy(update={"bos": False}))
    with pytest.raises(StoreError, match="begun with bos True, not False"):
        jobs.fit(config)


def test_more_features_than_a_method_can_find(config):
    config = config.model_copy(
        update={"method": "pca", "n_components": 60, "sparsity": 0.01, "tol": None}
    )
    with pytest.raises(InputError, match="at most 48 features"):
        jobs.fit(config.model_copy(update={"max_iter": None}))


def test_all_texts_held_out(config, tiny_folder, tmp_path):
    data = tmp_path / "held.jsonl"
    data.write_text('{"text": "a b c", "split": "heldout"}\n')
    config = config.model_copy(
        update={"activations": None, "model": str(tiny_folder), "data": str(data)}
    )
    with pytest.raises(InputError, match="All texts are held out"):
        jobs.fit(config)
    assert not config.output.exists()


def test_a_run_that_never_got_anywhere_does_not_block_its_folder(config):
    with pytest.raises(InputError, match="rows"):
        jobs.fit(config.model_copy(update={"n_components": 10**6}))
    assert jobs.fit(config).unfinished == []


class StopsAt:
    """A progress display under which the user presses Ctrl-C after some sweeps."""

    def __init__(self, count, unit="sweep"):
        self.left = count
        self.unit = unit

    @contextmanager
    def task(self, description, total, unit):
        def advance(n=1, **figures):
            if unit == self.unit:
                self.left -= n
                if self.left == 0:
                    raise KeyboardInterrupt

        yield advance


def test_the_progress_of_a_fit_tells_loss_and_sparsity(config):
    drawn = Console(file=io.StringIO(), width=200)
    run = jobs.fit(config, TerminalProgress(drawn))
    last = run.objective(run.sites[0])[-1]
    line = next(line for line in drawn.file.getvalue().splitlines() if "Fitting" in line)
    assert f"loss {last['relative_loss']:.4f}" in line
    share = 100 * float((run.codes(run.sites[0]) > 0).float().mean())
    told = float(re.search(r"non-zero codes ([\d.]+)%", line)[1])
    assert told == pytest.approx(100 * last["code_density"], abs=0.05)
    assert told == pytest.approx(share, abs=5)  # the run's codes include held-out rows


@pytest.mark.parametrize("sweeps", [3, 11])
def test_ctrl_c_in_a_fit_keeps_its_state_and_the_same_command_goes_on(config, tmp_path, sweeps):
    config = config.model_copy(update={"max_iter": 30, "tol": 0.0})
    with pytest.raises(KeyboardInterrupt):
        jobs.fit(config, StopsAt(sweeps))
    begun = Run.open(config.output)
    assert begun.sites == []
    site = begun.unfinished[0]
    state = config.output / site.name / "unfinished" / "latest.json"
    assert len(json.loads(state.read_text())["history"]) == sweeps
    resumed = jobs.fit(config)
    whole = jobs.fit(config.model_copy(update={"output": tmp_path / "whole"}))
    assert torch.equal(resumed.dictionary(site).atoms, whole.dictionary(site).atoms)
    assert not state.parent.exists()


def test_ctrl_c_while_features_are_read_loses_no_fit(config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        jobs.fit(config, StopsAt(2, "feature"))
    begun = Run.open(config.output)
    assert begun.sites == []
    site = begun.unfinished[0]
    state = config.output / site.name / "unfinished"
    assert (state / "latest.json").exists()
    again = StopsAt(1000)
    resumed = jobs.fit(config, again)
    other = len(resumed.objective(begun.unfinished[1]))
    assert 1000 - again.left == other - 1  # only the codes are solved again, which is no sweep
    assert not state.exists()
    whole = jobs.fit(config.model_copy(update={"output": tmp_path / "whole"}))
    assert torch.equal(resumed.dictionary(site).atoms, whole.dictionary(site).atoms)
    assert resumed.figures(site)["sweeps"] == whole.figures(site)["sweeps"]


def test_a_state_of_other_rows_is_begun_anew(config, acts, caplog):
    config = config.model_copy(update={"max_iter": 30, "tol": 0.0})
    with pytest.raises(KeyboardInterrupt):
        jobs.fit(config, StopsAt(5))
    state = next(config.output.glob("*/unfinished/latest.json"))
    record = json.loads(state.read_text())
    record["settings"]["squared norm of the data"] *= 2
    state.write_text(json.dumps(record))
    run = jobs.fit(config)
    assert len(run.sites) == 2
    assert "Starting this layer anew" in caplog.text


def test_a_state_that_outlived_its_site_is_removed(config):
    run = jobs.fit(config)
    state = run.path / run.sites[0].name / "unfinished"
    (state / "sweep-00003").mkdir(parents=True)
    (state / "latest.json").write_text("{}")
    jobs.fit(config)
    assert not state.exists()
