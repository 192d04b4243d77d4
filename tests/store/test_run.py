"""Runs give back what was written, and know what is missing."""

from dataclasses import asdict, replace

import pyarrow.parquet as pq
import pytest
import torch
import yaml

import builders
from cofire.dictionary import Dictionary
from cofire.errors import InputError, StoreError
from cofire.interpret.concepts import sure_concepts
from cofire.interpret.reading import read_features
from cofire.site import Site
from cofire.store import Run
from cofire.store.catalogue import catalogue
from cofire.store.summary import summary
from sample_run import make_run

CONFIG = {"method": "snmf", "n_components": 5, "layers": "2,5", "output": "x"}


def write(run: Run, *, below: float = 0.0) -> tuple[Dictionary, object, torch.Tensor]:
    data = builders.activations()
    dictionary = Dictionary(builders.atoms(), builders.SITE, penalty=0.1, provenance={"seed": 0})
    codes = dictionary.encode(data.X) - below
    features = read_features(dictionary, data, codes=codes)
    run.write_site(
        dictionary,
        codes,
        data.tokens,
        features,
        objective=[{"iteration": 1, "phase": "free", "relative_loss": 0.5}],
        figures={"seconds": 1.5, "sweeps": 3, "stop_reason": "converged"},
    )
    return dictionary, features, codes


@pytest.fixture
def run(tmp_path):
    return Run.create(
        tmp_path / "run",
        config=CONFIG,
        sites=[builders.SITE, Site(5, "mlp")],
        model={"name": "tiny"},
        corpus=builders.labelled_corpus(),
    )


def test_everything_written_comes_back(run):
    dictionary, features, codes = write(run)
    found = Run.open(run.path)
    assert found.sites == [builders.SITE]
    assert torch.equal(found.codes(builders.SITE), codes)
    stored = found.dictionary(builders.SITE)
    assert torch.equal(stored.atoms, dictionary.atoms)
    assert (stored.encoder, stored.penalty) == ("nnls", 0.1)
    assert stored.provenance == {"seed": 0}
    assert torch.equal(stored.encode(builders.activations().X), codes)
    assert found.objective(builders.SITE)[0]["relative_loss"] == 0.5
    tokens = found.tokens(builders.SITE)
    assert [tokens.surface(row) for row in range(3)] == ["the", " cat", " sat"]
    for ours, theirs in zip(features, found.features(builders.SITE), strict=True):
        left, right = asdict(ours), asdict(theirs)
        for record in (left, right):  # single precision on disk
            record["neurons"] = [(n, pytest.approx(w, rel=1e-6)) for n, w in record["neurons"]]
        assert left == right
    assert found.features(builders.SITE).fit == features.fit


def test_a_missing_precision_stays_missing(run):
    write(run, below=100.0)  # codes that are never positive have no strong firing
    found = Run.open(run.path).features(builders.SITE)
    assert found[1].concept.sure
    assert found[1].concept.precision is None
    (table, *_) = run.path.glob("*/features.parquet")
    assert pq.read_table(table)["precision"].null_count == 5


def test_unfinished_sites_are_known(run):
    write(run)
    assert Run.open(run.path).unfinished == [Site(5, "mlp")]
    (run.path / builders.SITE.name / "codes.safetensors").unlink()
    assert Run.open(run.path).unfinished == [builders.SITE, Site(5, "mlp")]


def test_a_corrupted_part_is_named(run):
    write(run)
    part = run.path / builders.SITE.name / "features.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    with pytest.raises(StoreError, match=r"features\.parquet is corrupted"):
        Run.open(run.path).features(builders.SITE)


def test_choosing_a_layer(run):
    with pytest.raises(InputError, match="no finished layer yet"):
        run.site_at()
    write(run)
    assert run.site_at() == builders.SITE
    assert run.site_at(2) == builders.SITE
    with pytest.raises(InputError, match="no finished layer 5; it has 2"):
        run.site_at(5)


def test_an_unfinished_site_says_what_there_is(run):
    with pytest.raises(StoreError, match="no finished results"):
        run.features(Site(5, "mlp"))


def test_the_config_is_written_as_yaml(run):
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == CONFIG


def test_the_catalogue_lists_runs_and_damaged_folders(run, tmp_path):
    write(run)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    (tmp_path / "broken" / "config.yaml").write_text("{}")
    for name, text in {"extension": "{", "web": '{"name": "app"}', "list": "[1]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"format": "something else"}')
    records = {record["path"]: record for record in catalogue(tmp_path)}
    assert records[str(run.path)]["state"] == "1 of 2 done"
    assert records[str(tmp_path / "broken")]["state"] == "damaged"
    assert len(records) == 2
    with pytest.raises(InputError, match="no folder"):
        catalogue(tmp_path / "nowhere")


def test_the_summary_counts_and_leaves_unmeasured_figures_missing(run):
    write(run)
    (record,) = summary(run)
    assert record["layer"] == 2
    assert record["dead"] == 2 or record["dead"] == 1
    assert record["duplicate"] == 2
    assert 0 < record["concept features"] <= 1
    features = run.features(builders.SITE)
    assert record["covered"] == len(sure_concepts([one.concept for one in features]))
    assert record["covered"] <= record["concepts"]


def test_figures_that_other_methods_lack_are_missing(run):
    write(run)
    for name in ("sweeps", "stop_reason", "seconds"):
        del run.manifest["sites"][builders.SITE.name][name]
    (record,) = summary(run)
    assert record["sweeps"] is record["stop"] is record["seconds"] is None


def test_an_auroc_of_zero_is_measured(run):
    write(run)
    features = run.features(builders.SITE)
    worst = [
        replace(feature, concept=None if feature.concept is None else wrong(feature.concept))
        for feature in features
    ]
    run._features[builders.SITE] = replace(features, features=tuple(worst))
    (record,) = summary(run)
    assert (record["concept features"], record["concepts"]) == (0, 0)


def wrong(match):
    return replace(match, auroc=0.0)


def test_a_run_keeps_its_texts(run):
    write(run)
    found = Run.open(run.path)
    assert list(found.corpus) == list(builders.labelled_corpus())
    assert found.manifest["corpus"]["sha256"] == found.corpus.fingerprint
    rows = pq.read_table(run.path / builders.SITE.name / "rows.parquet")
    texts = pq.read_table(run.path / "texts.parquet")
    first = [row["token"] for row in rows.to_pylist() if row["text_id"] == 0]
    assert "".join(first) == texts["text"][0].as_py()
    (run.path / "texts.parquet").unlink()
    assert Run.open(run.path).restore_texts(builders.labelled_corpus())
    assert len(Run.open(run.path).corpus) == len(builders.labelled_corpus())


@pytest.mark.parametrize("key", ["parts", "sites", "config"])
def test_a_manifest_without_what_it_needs_is_damaged(run, key):
    del run.manifest[key]
    run._archive.save()
    with pytest.raises(StoreError, match="is damaged"):
        Run.open(run.path)


def test_a_table_of_an_older_version_says_to_fit_again(run):
    write(run)
    part = f"{builders.SITE.name}/features.parquet"
    table = pq.read_table(run.path / part).drop_columns(["precision"])
    run._archive.write(part, lambda path: pq.write_table(table, path))
    run._archive.save()
    with pytest.raises(StoreError, match=r"no column 'precision'.*[Ff]it again"):
        Run.open(run.path).features(builders.SITE)


def test_figures_of_an_older_version_say_to_fit_again(run):
    write(run)
    del run.manifest["sites"][builders.SITE.name]["fit"]["explained_variance"]
    run._archive.save()
    with pytest.raises(StoreError, match=r"[Ff]it again"):
        Run.open(run.path).features(builders.SITE)


def test_a_run_with_results_is_not_discarded(run):
    write(run)
    with pytest.raises(StoreError, match="has finished results"):
        run.discard()
    assert Run.open(run.path).sites == [builders.SITE]
    (run.path / builders.SITE.name / "codes.safetensors").unlink()
    with pytest.raises(StoreError, match="has finished results"):  # it can still be mended
        Run.open(run.path).discard()


def test_features_go_by_number_where_there_is_one_site(tmp_path):
    run = make_run(tmp_path / "one", layers=(2,), n_features=6)
    site = run.sites[0]
    assert run.features[3] == run.features(site)[3]
    assert (
        [feature.index for feature in run.features]
        == list(range(6))
        == list(range(len(run.features)))
    )
    assert run.features[1:3] == run.features(site)[1:3]
    assert run.features.search("zzz") == run.features(site).search("zzz") == []
    assert run.features._repr_html_() == run.features(site)._repr_html_()
    several = make_run(tmp_path / "two", n_features=4)
    with pytest.raises(InputError, match="layers 2, 9"):
        several.features[3]
    assert len(several.features(several.sites[1])) == 4
