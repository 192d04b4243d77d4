"""The tree job: kept in the run's folder, drawn, exported, and shown in the report."""

import json
from dataclasses import asdict, replace

import networkx
import pytest
import torch

import builders
from cofire import jobs
from cofire.config import TreeConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError, StoreError
from cofire.interpret.reading import read_features
from cofire.report import write_report, write_tree_file, write_tree_page
from cofire.store import ActivationStore, Run
from cofire.store.tree_parts import load_tree, stored_trees, tree_codes
from cofire.structure.tree import ParentRule
from cofire.structure.tree_files import tree_from_json

SITE = builders.SITE
HEADER = {"model": {"name": "tiny"}, "capture": {}}


def write_run(path, atoms=None, encoder="nnls"):
    data = builders.activations()
    atoms = builders.atoms() if atoms is None else atoms
    dictionary = Dictionary(atoms, SITE, penalty=0.1)
    codes = dictionary.encode(data.X)
    run = Run.create(
        path,
        config={"method": "snmf", "n_components": 5, "layers": "2", "output": "x", "data": "x"},
        sites=[SITE],
        model={"name": "tiny", "fingerprint": "0"},
        corpus=data.corpus,
    )
    run.write_site(
        dictionary,
        codes if encoder == "nnls" else codes - 0.1,
        data.tokens,
        read_features(dictionary, data, codes=codes),
        objective=[],
        figures={"seconds": 1.0},
    )
    return run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


@pytest.fixture
def acts(tmp_path):
    data = builders.activations()
    store = ActivationStore.create(tmp_path / "acts", data.corpus, [SITE], HEADER, row_bytes=48)
    for number, (start, stop) in store.unfinished():
        rows = (data.tokens.text_id >= start) & (data.tokens.text_id < stop)
        part = data.take(rows)
        store.write_shard(number, part.tokens, {SITE: part.X})
    return store


def config(run, **settings):
    given = {"run": run.path, "levels": "3,2", "device": "cpu", **settings}
    return TreeConfig(**given)


def test_a_tree_is_kept_with_its_checksum(run):
    stored = jobs.tree(config(run))
    assert stored.name == "merge-3-2"
    parts = [part for part in Run.open(run.path).manifest["parts"] if part.startswith("trees/")]
    assert sorted(parts) == [
        f"trees/{SITE.name}/merge-3-2.{end}" for end in ("json", "safetensors")
    ]
    tree = stored.tree()
    assert tree.sizes == (5, 3, 2)
    assert tree.levels[0][1].label == run.features(SITE)[1].label
    assert tree.levels[0][0].parent == tree.levels[0][3].parent  # the copy
    assert stored.figures[0].kept == pytest.approx(1.0)
    assert Run.open(run.path).sites == [SITE]  # the run is as complete as before


def test_the_same_command_shows_what_is_there(run):
    first = jobs.tree(config(run))
    file = run.path / "trees" / SITE.name / "merge-3-2.json"
    before = file.stat().st_mtime_ns
    again = jobs.tree(config(run, secondary=0.01))
    assert file.stat().st_mtime_ns == before
    assert again.tree().levels == first.tree().levels
    assert again.tree(ParentRule(secondary=0.01)).rule.secondary == 0.01
    jobs.tree(config(run, seed=1))
    assert file.stat().st_mtime_ns > before


def test_a_new_dictionary_leaves_the_old_tree_behind(run, tmp_path):
    jobs.tree(config(run))
    data = builders.activations()
    other = Dictionary(builders.atoms().flip(0), SITE, penalty=0.1)
    codes = other.encode(data.X)
    again = Run.open(run.path)
    again.write_site(
        other,
        codes,
        data.tokens,
        read_features(other, data, codes=codes),
        objective=[],
        figures={"seconds": 1.0},
    )
    assert load_tree(again, SITE, "merge-3-2") is None
    assert stored_trees(again) == []


def test_damage_is_found(run):
    jobs.tree(config(run))
    file = run.path / "trees" / SITE.name / "merge-3-2.json"
    file.write_text(file.read_text().replace("merge", "marge"))
    with pytest.raises(StoreError, match="corrupted"):
        stored_trees(Run.open(run.path))


def test_activations_measure_and_let_the_first_level_move(run, acts):
    above = jobs.tree(config(run, activations=acts.path))
    assert above.figures[2].variance is not None
    assert above.figures[2].variance_heldout is not None
    assert not above.first_changed
    moved = jobs.tree(config(run, activations=acts.path, tune="all"))
    assert moved.name == "merge-3-2-tune-all"
    assert moved.first_changed
    opened = Run.open(run.path)
    assert tree_codes(opened, moved).shape == run.codes(SITE).shape
    assert torch.equal(tree_codes(opened, above), run.codes(SITE))
    names = [one.name for one in stored_trees(opened)]
    assert names == ["merge-3-2", "merge-3-2-tune-all"]


def test_all_directions_side_by_side(run, acts):
    without = jobs.growing.directions(config(run))
    assert [one.settings["direction"] for one in without] == ["merge", "cluster"]
    found = jobs.growing.directions(config(run, activations=acts.path))
    assert [one.settings["direction"] for one in found] == ["merge", "split", "cluster"]


def test_the_page_and_the_report_show_the_tree(run, tmp_path):
    stored = jobs.tree(config(run))
    page = write_tree_page(run, stored)
    text = page.read_text()
    assert page.parent == run.path / "trees" / SITE.name
    assert text.count('data-node="') == 10
    assert "From the bottom up" in text
    unnamed = replace(stored, scores=tuple(replace(one, leaves=0) for one in stored.scores))
    assert run.corpus.concepts  # the texts have labels, whatever features are named after
    assert "carry no labels" not in write_tree_page(run, unnamed).read_text()
    report = write_report(Run.open(run.path)).read_text()
    assert "Trees of features</h2>" in report
    assert report.count('data-node="') == 10
    bare = write_report(write_run(tmp_path / "bare")).read_text()
    assert "Trees of features</h2>" not in bare


def test_every_kind_of_file_is_written(run, tmp_path):
    stored = jobs.tree(config(run))
    for name in ("t.html", "t.svg", "t.json", "t.graphml", "t.nwk"):
        assert write_tree_file(run, stored, None, tmp_path / name).stat().st_size > 200
    assert networkx.read_graphml(tmp_path / "t.graphml").number_of_nodes() == 11
    again = tree_from_json(json.loads((tmp_path / "t.json").read_text()))
    assert again.levels == stored.tree().levels
    assert (tmp_path / "t.nwk").read_text().endswith(";\n")
    with pytest.raises(InputError, match="tree.pdf"):
        write_tree_file(run, stored, None, tmp_path / "tree.pdf")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": "2,3"}, "must decrease"),
        ({"levels": "3,3"}, "must decrease"),
        ({"levels": "5"}, "has 5 features, but a level of 5"),
        ({"levels": "many"}, "whole numbers"),
        ({"levels": "3,0"}, "at least one atom"),
        ({"tune": "all"}, "give the activations"),
        ({"direction": "split"}, "give the activations"),
        ({"layer": 7}, "no finished layer 7"),
        ({"secondary": 2.0}, "between 0 and 1"),
        ({"sparsity": 3.0}, "at most 1"),
    ],
)
def test_bad_input_is_one_sentence(run, settings, message):
    with pytest.raises(InputError, match=message):
        jobs.tree(config(run, **settings))
    assert stored_trees(Run.open(run.path)) == []


def test_other_activations_are_refused(run, tmp_path):
    data = builders.activations()
    part = data.take(data.tokens.text_id < 20)
    store = ActivationStore.create(tmp_path / "less", data.corpus, [SITE], HEADER, row_bytes=48)
    for number, (start, stop) in store.unfinished():
        rows = (part.tokens.text_id >= start) & (part.tokens.text_id < stop)
        store.write_shard(number, part.take(rows).tokens, {SITE: part.take(rows).X})
    with pytest.raises(InputError, match="other tokens"):
        jobs.tree(config(run, activations=store.path))


def test_signed_codes_are_refused(tmp_path):
    signed = write_run(tmp_path / "signed", encoder="linear")
    with pytest.raises(InputError, match="signed"):
        jobs.tree(config(signed))


def test_figures_and_scores_come_back_as_they_were(run):
    stored = jobs.tree(config(run))
    record = json.loads((run.path / "trees" / SITE.name / "merge-3-2.json").read_text())
    assert [asdict(level) for level in stored.figures] == record["figures"]
    assert [asdict(score) for score in stored.scores] == record["scores"]
    assert stored.readings[0][1].match.concept == "colour"
