"""The jobs core, reuse and flow: what they keep, go on with, and refuse."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cofire import jobs
from cofire.config import CoreConfig, FitConfig, FlowConfig, ReuseConfig
from cofire.errors import InputError, StoreError
from cofire.report import write_core_page, write_flow_page, write_report, write_reuse_page
from cofire.store import Run
from cofire.store.structure_file import StructureFile, stored
from planted_days import CORE, DAYS, OWN, make_day_run


@pytest.fixture
def folder(day_run: Run, tmp_path: Path) -> Path:
    """A copy of the planted run that may be written into."""
    return Path(shutil.copytree(day_run.path, tmp_path / "run"))


def core_of(folder: Path, **settings) -> StructureFile:
    settings = {"layer": 2, "concept": "weekday", "draws": 20, **settings}
    return jobs.core(CoreConfig(run=folder, **settings))


def test_core_of_a_concept(folder):
    parts = core_of(folder).record["parts"]
    assert [member["name"] for member in parts["members"]] == list(DAYS)
    assert len(parts["sharing"]["core"]) == CORE
    assert {len(own) for own in parts["sharing"]["exclusive"].values()} == {OWN}


def test_core_of_features(folder):
    file = core_of(folder, concept=None, features="4, 2")
    assert file.record["parts"]["sharing"]["features"] == [4, 2]
    assert file.path.name == "core-L2-4-2.json"
    assert core_of(folder, concept=None, features="0-2").record["parts"]["sharing"]["features"] == [
        0,
        1,
        2,
    ]


def test_a_kept_part_is_not_made_again(folder, monkeypatch):
    first = core_of(folder).record

    def refuse(*args, **settings):
        raise AssertionError("made again")

    monkeypatch.setattr("cofire.jobs.sharing.measure_sharing", refuse)
    assert core_of(folder).record == first
    with pytest.raises(AssertionError, match="made again"):
        core_of(folder, share=1.0)


def test_another_run_in_the_folder_is_another_result(folder):
    first = core_of(folder).record
    shutil.rmtree(folder)
    run = make_day_run(folder, layers=(2,))
    assert run.sites
    (folder / "structure").mkdir()
    (folder / "structure" / "core-L2-weekday.json").write_text(
        json.dumps({**first, "made_from": {"other": "0"}})
    )
    assert stored(run, "core") == []
    again = core_of(folder)
    assert again.record["made_from"] != {"other": "0"}
    assert len(stored(run, "core")) == 1


def test_a_damaged_result_is_begun_anew(folder):
    file = core_of(folder)
    file.path.write_text(file.path.read_text()[:100])
    assert "sharing" in core_of(folder).record["parts"]


def test_reuse_of_all_layers_goes_on(folder):
    config = ReuseConfig(run=folder, draws=20)
    file = jobs.reuse(config)
    assert [part["layer"] for part in file.record["parts"].values()] == [2, 3]
    record = json.loads(file.path.read_text())
    del record["parts"]["blocks.3.mlp.hook_post"]
    file.path.write_text(json.dumps(record))
    assert set(jobs.reuse(config).record["parts"]) == set(file.record["parts"])
    one = jobs.reuse(ReuseConfig(run=folder, draws=20, layer=3))
    assert one.path.name == "reuse-L3.json"


def test_flow_follows_planted_features(folder):
    file = jobs.flow(FlowConfig(run=folder, weights=False))
    (step,) = file.record["parts"]["flow"]["steps"]
    linked = {(link["lower"], link["higher"]) for link in step["links"]}
    assert {(i, i) for i in range(5)} <= linked
    assert step["fates"][:5] == ["persists"] * 5
    chosen = jobs.flow(FlowConfig(run=folder, weights=False, concept="weekday"))
    assert chosen.record["parts"]["flow"] == file.record["parts"]["flow"]
    assert [one["feature"] for one in chosen.record["parts"]["chosen"]["features"]["2"]] == [
        0,
        1,
        2,
    ]
    assert "chosen" not in jobs.flow(FlowConfig(run=folder, weights=False)).record["parts"]
    assert jobs.flow(FlowConfig(run=folder, weights=False, layers="all")).path == file.path


def test_flows_of_other_layers_do_not_replace_one_another(tmp_path):
    folder = make_day_run(tmp_path / "run", layers=(0, 1, 2, 3, 4, 5, 7)).path
    some = ("0-3,5,7", "0,1,3,4,5,7", "0-5")
    files = {jobs.flow(FlowConfig(run=folder, weights=False, layers=one)).path for one in some}
    assert len(files) == 3
    assert folder / "structure" / "flow-L0-to-5.json" in files


def test_pages_and_the_report(folder):
    run = Run.open(folder)
    page = write_core_page(run, core_of(folder)).read_text()
    assert "Which neurons 3 features of layer 2 about <i>weekday</i> share" in page
    assert f"{CORE} neurons are held" in page
    assert "<script" not in page
    page = write_reuse_page(run, jobs.reuse(ReuseConfig(run=folder, draws=20))).read_text()
    assert "Layers at a glance" in page
    flow = jobs.flow(FlowConfig(run=folder, weights=False, concept="weekday"))
    page = write_flow_page(run, flow).read_text()
    assert page.count('class="node chosen"') == 6
    page = write_flow_page(run, jobs.flow(FlowConfig(run=folder, weights=False))).read_text()
    assert 'class="band"' in page
    report = write_report(run).read_text()
    assert "Shared neurons: <bdi>weekday</bdi>" in report
    assert "structure/core-L2-weekday.html" in report
    assert [file.record["name"] for file in stored(run, "core")] == ["L2-weekday"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concept": None}, "--features"),
        ({"features": "1,2"}, "--features"),
        ({"concept": "zebra"}, "no concept 'zebra'"),
        ({"concept": "food"}, "Only one feature of layer 2 named after 'food'"),
        ({"concept": None, "features": "1"}, "at least two"),
        ({"concept": None, "features": "1,1"}, "different"),
        ({"concept": None, "features": "1,99"}, "has 12 features, 0 to 11"),
        ({"concept": None, "features": "1,x"}, "Cannot read features 'x'"),
        ({"concept": None, "features": "0-3,2"}, "different"),
        ({"concept": None, "features": "all"}, r"write for example 0,9-12\."),
        ({"layer": 7}, "no finished layer 7"),
        ({"kl": 0.0}, "above 0 nats"),
        ({"share": 2.0}, "share"),
    ],
)
def test_core_refuses(folder, settings, message):
    with pytest.raises(InputError, match=message):
        core_of(folder, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": "2"}, "at least two finished layers"),
        ({"layers": "2,9"}, "no finished layer 9"),
        ({"concept": "zebra"}, "no concept 'zebra'"),
        ({"concept": "neutral"}, "no concept 'neutral'"),
        ({"stack": "3"}, "at least two layers"),
        ({"correlation": 1.5}, "between 0 and 1"),
    ],
)
def test_flow_refuses(folder, settings, message):
    with pytest.raises(InputError, match=message):
        jobs.flow(FlowConfig(run=folder, weights=False, **settings))


def test_layers_of_different_tokens_are_refused(folder, monkeypatch):
    tokens = Run.tokens

    def other(run, site):
        found = tokens(run, site)
        return found.take(np.arange(len(found))[::-1]) if site.layer == 3 else found

    monkeypatch.setattr(Run, "tokens", other)
    with pytest.raises(InputError, match="Layers 2 and 3 are of different tokens"):
        jobs.flow(FlowConfig(run=folder, weights=False))


@pytest.fixture(scope="module")
def real(tiny_folder, tmp_path_factory) -> Run:
    """A run of a tiny model, two layers."""
    config = FitConfig(
        model=str(tiny_folder),
        layers="0,1",
        limit=300,
        n_components=6,
        sparsity=0.15,
        max_iter=10,
        tol=0.05,
        device="cpu",
        output=tmp_path_factory.mktemp("real") / "run",
    )
    return jobs.fit(config)


def test_a_model_is_asked(real):
    config = CoreConfig(
        run=real.path, layer=1, features="0,1,2", draws=20, causal=True, kl=0.02, device="cpu"
    )
    parts = jobs.core(config).record["parts"]
    assert {"amplified", "ablated"} <= set(parts)
    groups = {row["group"] for row in parts["amplified"]["rows"]}
    assert {"core", "exclusive: feature 1", "whole: feature 2"} <= groups
    assert "Amplified" in write_core_page(real, jobs.core(config)).read_text()
    kept = parts["amplified"]
    assert jobs.core(config).record["parts"]["amplified"] == kept
    other = jobs.core(config.model_copy(update={"kl": 0.01})).record["parts"]["amplified"]
    assert other["target_kl"] == 0.01


def test_weights_are_read_off_the_model(real):
    file = jobs.flow(FlowConfig(run=real.path, correlation=0.1, device="cpu"))
    (step,) = file.record["parts"]["flow"]["steps"]
    assert step["wired_others"] is not None
    assert all(link["cosine"] is not None for link in step["links"])


def test_stacked_layers(real):
    config = FlowConfig(run=real.path, stack="0-1", n_components=5, device="cpu")
    file = jobs.flow(config)
    stacked, shuffled = file.record["parts"]["stacked"], file.record["parts"]["shuffled"]
    assert stacked["layers"] == [0, 1]
    assert len(stacked["features"]) == len(shuffled["spans"]) == 5
    atoms = load_file(file.path.with_suffix(".safetensors"))
    assert {name: tuple(part.shape) for name, part in atoms.items()} == {
        "blocks.0.mlp.hook_post": (5, 48),
        "blocks.1.mlp.hook_post": (5, 48),
    }
    assert all(torch.isfinite(part).all() for part in atoms.values())
    assert "features are spread over" in write_flow_page(real, file).read_text()


def test_a_run_of_another_model_is_refused(real, tmp_path):
    path = Path(shutil.copytree(real.path, tmp_path / "run"))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["model"]["fingerprint"] = "another"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="is another model now"):
        jobs.flow(FlowConfig(run=path, device="cpu"))
