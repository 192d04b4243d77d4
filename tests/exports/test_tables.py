"""Tables hold everything of a site, and give it back as it was."""

import csv
import json
from dataclasses import replace

import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch

from cofire.config import ExportConfig
from cofire.corpus import Corpus, Text
from cofire.exports import export_run
from cofire.store import Run
from hostile_text import HOSTILE
from sample_run import make_run, sample_corpus

NAMES = ["codes", "concepts", "contexts", "features", "neurons", "rows", "texts", "vocabulary"]


def exported(run: Run, form: str, tmp_path):
    config = ExportConfig(run=run.path, to=form, output=tmp_path / form)
    return export_run(config).path


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_codes_in_long_form_are_the_stored_codes(form, run, tmp_path):
    folder = exported(run, form, tmp_path)
    file = folder / f"codes.{form}"
    table = pq.read_table(file) if form == "parquet" else pc.read_csv(file)
    site = run.sites[0]
    stored, tokens = run.codes(site), run.tokens(site)
    again = torch.zeros_like(stored)
    rows = torch.tensor(table["row"].to_pylist())
    again[rows, torch.tensor(table["feature"].to_pylist())] = torch.tensor(
        table["code"].to_pylist()
    )
    torch.testing.assert_close(again, stored)
    assert table.num_rows == int((stored != 0).sum()) > 100
    line = table.slice(37, 1).to_pylist()[0]
    assert line["token"] == tokens.surface(line["row"])
    assert line["text_id"] == tokens.text_id[line["row"]]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_every_table_is_there_with_as_many_lines_as_in_the_run(form, run, tmp_path):
    folder = exported(run, form, tmp_path)
    assert sorted(path.stem for path in folder.glob(f"*.{form}")) == NAMES
    for name, stored in run.tables(run.sites[0]).items():
        file = folder / f"{name}.{form}"
        table = pq.read_table(file) if form == "parquet" else pc.read_csv(file)
        assert table.num_rows == stored.num_rows
        assert table.column_names == stored.column_names
    about = json.loads((folder / "cofire.json").read_text())
    assert about["site"] == "blocks.1.mlp.hook_post"
    assert about["rows"] == len(run.tokens(run.sites[0]))


def test_tokens_and_lists_survive_csv(tmp_path):
    texts = [Text(f"the {word} sat down here", "odd") for word in HOSTILE]
    corpus = Corpus([*texts, Text("the plain words stay as they are", "even")])
    run = make_run(tmp_path / "run", layers=(2,), n_features=4, corpus=corpus)
    folder = exported(run, "csv", tmp_path)
    site = run.sites[0]
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tokens = run.tokens(site)
    assert [row["token"] for row in rows] == [tokens.surface(i) for i in range(len(tokens))]
    with (folder / "contexts.csv").open(encoding="utf-8", newline="") as file:
        found = [json.loads(row["tokens"]) for row in csv.DictReader(file)]
    assert found == run.table(site, "contexts")["tokens"].to_pylist()
    with (folder / "texts.csv").open(encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [text.text for text in corpus]


def test_labels_people_gave_are_exported_and_missing_figures_stay_missing(tmp_path):
    unlabelled = Corpus(replace(text, label=None) for text in sample_corpus())
    run = make_run(tmp_path / "run", layers=(2,), corpus=unlabelled)
    site = run.sites[0]
    run.label_feature(site, 3, "days, of the week")
    folder = exported(Run.open(run.path), "csv", tmp_path)
    with (folder / "features.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[3]["label"] == "days, of the week"
    assert {line["auroc"] for line in lines} == {""}  # not 0: there is no concept to measure
