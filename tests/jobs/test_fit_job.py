"""Fitting into a run: from a store or straight from a model, resumable, with readable features."""

import logging
import shutil

import pytest
import torch

from cofire import jobs
from cofire.config import CaptureConfig, FitConfig
from cofire.errors import InputError, StoreError
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
