"""Labels that people give: kept beside the run, never in the way of it."""

import json
from pathlib import Path

import pytest

from cofire.errors import InputError, StoreError
from cofire.store import Run
from sample_run import make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run", layers=(2,), n_features=4)


def test_a_label_replaces_the_offline_one_and_is_taken_back(run: Run):
    (site,) = run.sites
    offline = [feature.label for feature in run.features(site)]
    run.label_feature(site, 1, " days ")
    assert [f.label for f in run.features(site)] == [offline[0], "days", *offline[2:]]
    again = Run.open(run.path)
    assert again.features(site)[1].label == "days"
    assert again.given_labels(site) == {1: "days"}
    assert [f.index for f in again.features(site).search("days")] == [1]
    again.label_feature(site, 1, None)
    assert [f.label for f in again.features(site)] == offline
    assert again.given_labels(site) == {}


def test_the_file_says_what_it_is(run: Run):
    run.label_feature(run.sites[0], 3, "größer <b>")
    found = json.loads((run.path / "labels.json").read_text(encoding="utf-8"))
    assert (found["format"], found["format_version"]) == ("cofire-labels", 1)
    assert found["labels"]["blocks.2.mlp.hook_post"]["3"]["label"] == "größer <b>"
    assert "labels.json" not in run.manifest["parts"]


@pytest.mark.parametrize("label", ["", "  "])
def test_an_empty_label_is_refused(run: Run, label):
    with pytest.raises(InputError, match="needs some text"):
        run.label_feature(run.sites[0], 1, label)


@pytest.mark.parametrize("feature", [-1, 4])
def test_a_feature_that_does_not_exist_is_refused(run: Run, feature):
    with pytest.raises(InputError, match=f"Feature {feature} does not exist"):
        run.label_feature(run.sites[0], feature, "x")
    assert not (run.path / "labels.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"format": "cofire-labels"}',
        '{"format": "cofire-labels", "format_version": 2, "labels": {}}',
        '{"format": "cofire-labels", "format_version": 1, "labels": {"blocks.2.mlp.hook_post": 1}}',
        '{"format": "cofire-labels", "format_version": 1, "labels": {"a": {"x": {"label": "b"}}}}',
    ],
)
def test_a_damaged_file_is_one_sentence_and_stays_as_it_is(run: Run, content):
    (run.path / "labels.json").write_text(content)
    for ask in (run.features, lambda site: run.label_feature(site, 1, "x")):
        with pytest.raises(StoreError, match="labels.json"):
            ask(run.sites[0])
    assert (run.path / "labels.json").read_text() == content
