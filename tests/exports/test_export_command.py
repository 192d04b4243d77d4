"""The command: what it refuses, where it writes, and that nothing half written is left."""

import json

import pytest
import torch

from cofire.baselines import load_sae
from cofire.cli import main
from cofire.config import ExportConfig
from cofire.dictionary import Dictionary
from cofire.errors import InputError, StoreError
from cofire.exports import export_run, exporting
from cofire.exports.folder import new_folder
from cofire.interpret.reading import read_features
from cofire.site import Site
from cofire.store import Run
from sample_run import make_run, planted, sample_corpus


def refused(config: ExportConfig, words: str) -> None:
    with pytest.raises(InputError, match=words):
        export_run(config)


def test_the_command_writes_into_the_run_and_says_where(tmp_path, capsys):
    run = make_run(tmp_path / "run", n_features=4)
    words = ["export", str(run.path), "--layer", "9", "--to", "saelens-exact"]
    assert main(words) == 0
    said = capsys.readouterr().out.strip().splitlines()
    folder = run.path / "exports" / "blocks.9.mlp.hook_post-saelens-exact"
    assert said[-1] == str(folder.resolve())
    assert load_sae(folder).site == Site(9)
    assert main(words) == 2
    assert "exists already; choose another folder with -o" in capsys.readouterr().err
    Run.open(run.path).features(Site(9))  # the run is as it was


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"to": "csv"}, "layers 2, 9; choose one with --layer"),
        ({"to": "csv", "layer": 5}, "no finished layer 5"),
        ({"to": "csv", "site": "blocks.4.mlp.hook_post"}, "no finished results at blocks.4"),
        ({"to": "csv", "site": "blocks.2.mlp.hook_post", "layer": 2}, "give one of them"),
        ({"to": "csv", "layer": 2, "window": 8}, "--window goes with --to delphi, not with csv"),
        ({"to": "delphi", "layer": 2, "image": "mlp_out"}, "--image goes with --to saelens or"),
        ({"to": "parquet", "layer": 2, "without_model": True}, "--without-model goes with"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(settings, words, tmp_path):
    run = make_run(tmp_path / "run", n_features=4)
    refused(ExportConfig(run=run.path, output=tmp_path / "out", **settings), words)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_never_touched(tmp_path):
    run = make_run(tmp_path / "run", layers=(2,), n_features=4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    refused(ExportConfig(run=run.path, to="csv", output=tmp_path / "mine"), "exists already")
    with pytest.raises(InputError, match=r"there is a file at .*notes\.txt"):
        ExportConfig(run=run.path, to="csv", output=tmp_path / "mine" / "notes.txt")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    export_run(ExportConfig(run=run.path, to="csv", output=tmp_path / "empty"))
    assert (tmp_path / "empty" / "codes.csv").is_file()


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", layers=(2,), n_features=4)

    def fails(task) -> tuple[str, ...]:
        (task.folder / "half.csv").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(exporting._WRITERS, "csv", fails)
    with pytest.raises(KeyboardInterrupt):
        export_run(ExportConfig(run=run.path, to="csv", output=tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match=r"Cannot write .*out"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_a_damaged_run_is_refused(tmp_path):
    run = make_run(tmp_path / "run", layers=(2,), n_features=4)
    (run.path / "blocks.2.mlp.hook_post" / "codes.safetensors").write_bytes(b"no codes")
    with pytest.raises(StoreError, match="corrupted"):
        export_run(ExportConfig(run=run.path, to="parquet", output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_gone_leaves_what_needs_none(tmp_path):
    run = make_run(tmp_path / "run", layers=(2,), n_features=4)  # of no real model
    for to in ("csv", "parquet", "delphi", "saelens-exact"):
        export_run(ExportConfig(run=run.path, to=to, output=tmp_path / to))
    config = ExportConfig(run=run.path, to="neuronpedia", output=tmp_path / "n", device="cpu")
    with pytest.raises(Exception, match="tiny-model|does not say"):
        export_run(config)
    export_run(config.model_copy(update={"without_model": True}))
    about = json.loads((tmp_path / "n" / "cofire.json").read_text())
    assert about["steering"] is None


def stored(path, dictionary: Dictionary) -> Run:
    """A run of another encoder on planted rows."""
    activations, _, _ = planted(sample_corpus(), dictionary.site, 6, 0)
    run = Run.create(
        path,
        config={"method": "other", "data": "x"},
        sites=[dictionary.site],
        corpus=activations.corpus,
        model={"name": "tiny-model"},
    )
    codes = dictionary.encode(activations)
    features = read_features(dictionary, activations, codes=codes)
    run.write_site(dictionary, codes, activations.tokens, features, objective=[], figures={"k": 6})
    return run


def test_other_encoders_are_written_as_they_are_or_refused(tmp_path):
    _, planted_atoms, _ = planted(sample_corpus(), Site(2), 6, 0)
    atoms = planted_atoms.atoms
    weight = atoms.T.contiguous()
    relu = Dictionary(atoms, Site(2), encoder="relu", encoder_weight=weight)
    run = stored(tmp_path / "relu", relu)
    config = ExportConfig(run=run.path, to="saelens", output=tmp_path / "sae")
    assert export_run(config).notes == (
        "The run's own encoder is one of SAELens'; nothing was fitted.",
    )
    assert torch.equal(load_sae(tmp_path / "sae").atoms, atoms)
    linear = Dictionary(atoms, Site(2), encoder="linear", encoder_weight=weight)
    run = stored(tmp_path / "linear", linear)
    for to in ("saelens", "saelens-exact"):
        refused(ExportConfig(run=run.path, to=to, output=tmp_path / to), "encoder 'linear'")
    rectified = stored(tmp_path / "nmf", Dictionary(atoms, Site(2), rectify=True))
    refused(
        ExportConfig(run=rectified.path, to="saelens", output=tmp_path / "nmf-sae"),
        "use --to saelens-exact",
    )
    export_run(ExportConfig(run=rectified.path, to="saelens-exact", output=tmp_path / "nmf-exact"))
    assert load_sae(tmp_path / "nmf-exact").rectify
