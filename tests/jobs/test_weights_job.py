"""The weights job: what is in its folder, going on after an interrupt, bad input, pages."""

import json
import re
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from cofire import jobs
from cofire.cli import main
from cofire.config import WeightsConfig
from cofire.errors import DataError, InputError, StoreError
from cofire.jobs import weighing
from cofire.models import load_model
from cofire.models.weights import ov
from cofire.report import write_weights_pages
from cofire.store.catalogue import catalogue
from cofire.store.weights_folder import WeightsFolder
from cofire.weights import picard_ica
from cofire.weights.decompositions import Decomposition
from cofire.weights.head_record import HeadRecord
from cofire.weights.nulls import AgainstNull
from cofire.weights.verdict import PATTERNS
from hostile_text import HOSTILE


@pytest.fixture
def settings(tiny_folder: Path, tmp_path: Path) -> dict[str, object]:
    return {
        "model": str(tiny_folder),
        "layers": "0",
        "n_components": 3,
        "seeds": 4,
        "draws": 3,
        "output": tmp_path / "ov",
    }


@pytest.fixture(scope="module")
def done(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> WeightsFolder:
    config = WeightsConfig(
        model=str(tiny_folder),
        n_components=3,
        seeds=4,
        draws=3,
        ablate=1,
        output=tmp_path_factory.mktemp("weights") / "ov",
    )
    return jobs.weights(config)


def test_every_head_is_written_down(done, tiny_folder):
    assert done.finished == done.wanted
    model = load_model(str(tiny_folder))
    for record in done.heads():
        assert {one.name for one in record.verdict.patterns} == set(PATTERNS)
        assert len(record.of_method("ica")) == 3
        assert record.copying is not None
        assert 0 <= record.self_alignment.value <= 1
        assert record.induction is not None
        assert record.on_texts is not None
        assert record.on_texts.texts == 87  # of 259 held-out sentences every third, 100 at most
        assert record.on_texts.examples
        for line in record.of_method("svd"):
            assert line.operation in ("copy", "suppress", "transform")
            assert line.reads
            assert line.writes
        mixing, components = done.factors(record.layer, record.head)["svd"]
        matrix = ov(model, record.layer, record.head)
        error = (matrix.dense() - mixing @ components).norm() / matrix.dense().norm()
        assert float(error) == pytest.approx(record.evidence.errors["svd"], abs=1e-4)
    assert any(line.kl_own is not None for line in done.heads()[0].of_method("svd"))


def test_tables_are_readable_without_cofire(done):
    heads = pq.read_table(done.path / "heads.parquet").to_pylist()
    assert [(one["layer"], one["head"]) for one in heads] == done.wanted
    components = pq.read_table(done.path / "components.parquet").to_pylist()
    assert len(components) == len(heads) * 4 * 3
    assert {one["method"] for one in components} == {"svd", "ica", "nmf", "snmf"}


# The fields of EvalResult, InstrumentInfo and the file around them, as Mechanistic Validity's
# metrics/common.py declares them.
_NUMBERS = {
    "value", "baseline_random", "baseline_untrained", "baseline_literature", "ci_low", "ci_high",
    "cpr", "cmd",
}  # fmt: skip
_FIELDS = _NUMBERS | {
    "metric_id", "n_samples", "faithfulness_curve", "instrument_info", "metadata",
}  # fmt: skip
_INSTRUMENT = {"name", "paper_ref", "paper_cite", "description", "category"}
_PROVENANCE = {"timestamp", "python", "platform", "package_version", "git"}


def test_verdicts_are_records_of_the_framework(done):
    file = json.loads((done.path / "verdicts.json").read_text(encoding="utf-8"))
    assert set(file) == {"provenance", "config", "results"}
    assert set(file["provenance"]) == _PROVENANCE
    for one in file["results"]:
        assert set(one) == _FIELDS
        assert all(one[name] is None or isinstance(one[name], float) for name in _NUMBERS)
        assert isinstance(one["n_samples"], int)
        assert isinstance(one["metadata"], dict)
        assert {"name", "category"} <= set(one["instrument_info"]) <= _INSTRUMENT
    metrics = {one["metric_id"] for one in file["results"]}
    assert {"B01.effective_rank", "B07.participation_ratio", "B08.pattern.aligned"} <= metrics
    assert {"B09.frobenius_norm", "B09.top_two_ratio", "B09.alignment"} <= metrics
    undecided = [one for one in file["results"] if one["metric_id"] == "B08.pattern.aligned"]
    assert all(one["value"] is None for one in undecided)  # no features were given


def test_the_verdict_is_decided_when_a_head_is_read(done):
    record = done.heads()[0]
    stale = {**record.record(), "verdict": {"structure": "of an older rule"}}
    assert HeadRecord.from_record(stale).verdict == record.verdict
    assert record.record()["verdict"]["structure"] == record.verdict.structure


def test_the_command_writes_tables_of_finished_heads_again(settings):
    folder = jobs.weights(WeightsConfig(**settings))
    (folder.path / "verdicts.json").unlink()
    jobs.weights(WeightsConfig(**settings))
    assert (folder.path / "verdicts.json").is_file()


def test_pages_stand_alone(done):
    overview = write_weights_pages(done)
    text = overview.read_text(encoding="utf-8")
    (deck,) = re.findall(r'<p class="deck">(.*?)</p>', text)
    used = {part.method for record in done.heads() for part in record.components}
    assert ("semi-NMF" in deck, "NMF of |W|" in deck) == ("snmf" in used, "nmf" in used)
    assert "http" not in text.replace("http-equiv", "")
    for record in done.heads():
        assert f'href="heads/{record.layer}-{record.head}.html"' in text
        page = (done.path / f"heads/{record.layer}-{record.head}.html").read_text(encoding="utf-8")
        assert "http" not in page.replace("http-equiv", "")
        assert "does not show that the model uses it" in page


def test_heads_that_stand_out_are_easy_to_find(done, tmp_path):
    folder = WeightsFolder.open(shutil.copytree(done.path, tmp_path / "ov"))
    first, second = done.wanted[:2]
    plain = AgainstNull(0.1, "rotated", "above", 0.0, 0.1, 1.0, 0.5, 20)
    for place, changes in (
        (
            first,
            {"induction": 0.6, "previous_token": 0.0, "copying": replace(plain, value=1.0, z=4.0)},
        ),
        (
            second,
            {
                "induction": 0.0,
                "previous_token": 0.3,
                "copying": replace(plain, value=-1.0, z=-4.0),
            },
        ),
    ):
        made = {
            method: Decomposition(method, "columns", *both, torch.ones(3, dtype=torch.bool))
            for method, both in folder.factors(*place).items()
        }
        folder.write_head(replace(folder.head(*place), **changes), made)
    assert folder.head(*first).roles == ("copies", "induction-like")
    assert folder.head(*second).roles == ("suppresses", "previous-token")
    text = write_weights_pages(folder).read_text(encoding="utf-8")
    standing = text[text.index('id="standing-out"') :]
    for role in ("Copies", "Suppresses", "Induction-like", "Previous-token"):
        own = standing[standing.index(f"<dt>{role}") :].split("</dd>")[0]
        place = first if role in ("Copies", "Induction-like") else second
        assert f'href="heads/{place[0]}-{place[1]}.html"' in own
    page = (folder.path / f"heads/{first[0]}-{first[1]}.html").read_text(encoding="utf-8")
    assert "stands out: copies, induction-like" in page


def unwatched(done: WeightsFolder, place: Path) -> WeightsFolder:
    """A copy of a folder from before heads were watched."""
    folder = WeightsFolder.open(shutil.copytree(done.path, place))
    for record in folder.heads():
        folder.add_to_head(replace(record, on_texts=None))
    folder.write_tables()
    return folder


def page_of(folder: WeightsFolder, record: HeadRecord) -> str:
    """The page of a head."""
    write_weights_pages(folder)
    return (folder.path / f"heads/{record.layer}-{record.head}.html").read_text(encoding="utf-8")


def test_what_a_head_does_on_text_stands_on_its_page(done):
    record = done.heads()[0]
    page = page_of(done, record)
    section = page[page.index("On real text") : page.index("SVD</h2>")]
    on_texts = record.on_texts
    assert f"{on_texts.tokens} tokens of {on_texts.texts} texts" in section
    for example in on_texts.examples:
        assert escape(example.text) in section
        for _, _, attention in example.pairs:
            assert f"{attention:.2f}" in section
    lines = pq.read_table(done.path / "heads.parquet").to_pylist()
    assert lines[0]["text_previous"] == on_texts.previous
    assert lines[0]["text_copying"] == on_texts.copying
    overview = (done.path / "weights.html").read_text(encoding="utf-8")
    assert "Attention to the token before, on text" in overview
    assert "Raises what it looks at, on text" in overview.replace("raises", "Raises")


def test_a_folder_without_it_opens_and_the_same_command_adds_it(done, tiny_folder, tmp_path):
    folder = unwatched(done, tmp_path / "ov")
    record = folder.heads()[0]
    assert "Not measured: run the command that made this folder again" in page_of(folder, record)
    assert pq.read_table(folder.path / "heads.parquet")["text_first"].null_count == len(done.wanted)
    config = WeightsConfig(
        model=str(tiny_folder), n_components=3, seeds=4, draws=3, ablate=1, output=folder.path
    )
    again = jobs.weights(config)
    assert again.heads() == done.heads()  # the time it took and all other figures are kept


def test_other_texts_only_watch_the_heads_again(done, tiny_folder, tmp_path):
    folder = WeightsFolder.open(shutil.copytree(done.path, tmp_path / "ov"))
    own = tmp_path / "own.jsonl"
    texts = ["The goat ate its rope.", *(one for one in HOSTILE if one.strip())]
    own.write_text("\n".join(json.dumps({"text": one}) for one in texts), encoding="utf-8")
    config = WeightsConfig(
        model=str(tiny_folder), n_components=3, seeds=4, draws=3, ablate=1, output=folder.path,
        data=str(own),
    )  # fmt: skip
    again = jobs.weights(config)
    for before, after in zip(done.heads(), again.heads(), strict=True):
        assert after.on_texts.data == str(own)
        assert after.on_texts.fingerprint != before.on_texts.fingerprint
        assert replace(after, on_texts=before.on_texts) == before
        page = page_of(again, after)
        for attack in ("<script>alert", "<img src", "\u202e"):
            assert attack not in page


def test_texts_that_are_not_there_are_told_before_a_model_is_loaded(settings):
    with pytest.raises(DataError, match=r"absent\.txt"):
        jobs.weights(WeightsConfig(**{**settings, "model": "no-model", "data": "absent.txt"}))


def test_runs_lists_it(done):
    (record,) = catalogue(done.path.parent)
    assert record["kind"] == "weights"
    assert record["state"] == "complete"
    assert record["what"] == "weights ov k=3"


def test_an_interrupted_run_goes_on(settings, monkeypatch):
    whole = jobs.weights(WeightsConfig(**{**settings, "output": settings["output"] / "whole"}))
    calls = []
    real = weighing.read_head

    def stopped(*given, **named):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(given[1:3])
        return real(*given, **named)

    monkeypatch.setattr(weighing, "read_head", stopped)
    config = WeightsConfig(**{**settings, "output": settings["output"] / "parts"})
    with pytest.raises(KeyboardInterrupt):
        jobs.weights(config)
    folder = WeightsFolder.open(config.output)
    assert folder.finished == folder.wanted[:1]
    assert (config.output / "heads.parquet").is_file()
    monkeypatch.setattr(weighing, "read_head", real)
    again = jobs.weights(config)
    for one, other in zip(whole.heads(), again.heads(), strict=True):
        assert one.evidence == other.evidence
        assert one.components == other.components


def test_other_settings_are_refused(settings):
    jobs.weights(WeightsConfig(**settings))
    with pytest.raises(StoreError, match="n_components"):
        jobs.weights(WeightsConfig(**{**settings, "n_components": 2}))
    with pytest.raises(StoreError, match="other layers or heads"):
        jobs.weights(WeightsConfig(**{**settings, "heads": "0"}))


def test_features_of_a_run_are_matched(tiny_folder, tmp_path):
    from cofire.config import FitConfig

    run = jobs.fit(
        FitConfig(
            model=str(tiny_folder), layers="all", n_components=8, limit=60,
            sparsity=0.2, output=tmp_path / "run",
        )
    )  # fmt: skip
    config = WeightsConfig(
        model=str(tiny_folder), layers="all", heads="0", n_components=3, seeds=4, draws=3,
        features=run.path, output=tmp_path / "ov",
    )  # fmt: skip
    first, record, *_ = jobs.weights(config).heads()
    assert (first.layer, record.layer) == (0, 1)
    # No MLP writes to the stream before the first layer reads it.
    assert {one.side for one in first.alignments} == {"writing"}
    assert first.of_method("svd")[0].feature_read is None
    assert first.of_method("svd")[0].feature_write.layer == 0
    assert {one.side for one in record.alignments} == {"reading", "writing"}
    line = record.of_method("svd")[0]
    assert line.feature_read.layer == 0
    assert line.feature_write.layer == 1
    assert -1 <= line.feature_write.cosine <= 1
    assert "No features" not in record.verdict["aligned"].because


@pytest.mark.parametrize(
    ("matrix", "sides"),
    [("qk", {"reading", "writing"}), ("mlp-in", {"reading"}), ("mlp-out", {"writing"})],
)
def test_features_are_matched_where_a_side_lies_in_the_stream(tiny_folder, tmp_path, matrix, sides):
    from cofire.config import FitConfig

    run = jobs.fit(
        FitConfig(
            model=str(tiny_folder), layers="all", n_components=4, limit=40, sparsity=0.2,
            output=tmp_path / "run",
        )
    )  # fmt: skip
    config = WeightsConfig(
        model=str(tiny_folder), layers="1", n_components=3, seeds=4, draws=3, methods="svd",
        features=run.path, output=tmp_path / "w", matrix=matrix,
    )  # fmt: skip
    record = jobs.weights(config).heads()[0]
    assert {one.side for one in record.alignments} == sides


@pytest.mark.parametrize(
    ("site", "read", "written"), [("resid_pre", 1, None), ("resid_post", 0, 1), ("mlp_out", 0, 1)]
)
def test_features_of_the_stream_lie_before_or_after_a_layer(
    tiny_folder, tmp_path, site, read, written
):
    from cofire.config import FitConfig
    from cofire.jobs.run_features import RunFeatures

    config = FitConfig(
        model=str(tiny_folder), layers="0,1", site=site, n_components=4, limit=40,
        output=tmp_path / "run",
    )  # fmt: skip
    features = RunFeatures(jobs.fit(config).path)
    model = load_model(str(tiny_folder))
    for found, layer in ((features.of_rows, read), (features.of_columns, written)):
        given = found("ov", 1, model)
        assert (None if given is None else given.dictionary.site.layer) == layer


def test_features_outside_the_stream_are_refused(tiny_folder, tmp_path):
    from cofire.config import FitConfig

    run = jobs.fit(
        FitConfig(
            model=str(tiny_folder), layers="0", site="attn", n_components=4, limit=40,
            output=tmp_path / "run",
        )
    )  # fmt: skip
    config = WeightsConfig(model=str(tiny_folder), features=run.path, output=tmp_path / "w")
    with pytest.raises(InputError, match="cannot be carried into the residual stream"):
        jobs.weights(config)


def test_picard_is_asked_for_before_the_model_is_loaded(settings, monkeypatch):
    monkeypatch.setattr(picard_ica, "find_spec", lambda name: None)
    monkeypatch.setattr(weighing, "load_model", None)
    with pytest.raises(InputError, match="needs the package python-picard"):
        jobs.weights(WeightsConfig(**settings, algorithm="picard"))


def test_picards_components_stand_beside_picards_nulls(settings):
    pytest.importorskip("picard")
    (record, *_) = jobs.weights(WeightsConfig(**settings, algorithm="picard")).heads()
    assert record.evidence.independence.rotated.draws == 3
    assert record.evidence.independence.converged > 0


@pytest.mark.parametrize("matrix", ["qk", "mlp-in", "mlp-gate", "mlp-out"])
def test_other_matrices(settings, matrix):
    config = WeightsConfig(**{**settings, "matrix": matrix, "heads": "all", "methods": "svd,ica"})
    folder = jobs.weights(config)
    record = folder.heads()[0]
    assert (record.head is None) == matrix.startswith("mlp")
    assert record.copying is None
    assert record.evidence.samples == ("rows" if matrix == "mlp-out" else "columns")
    assert (record.on_texts is None) == matrix.startswith("mlp")
    write_weights_pages(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": "9"}, "9"),
        ({"heads": "77"}, "no head 77"),
        ({"heads": "two"}, "--heads takes numbers"),
        ({"methods": "svd,pca"}, "Methods are some of"),
        ({"n_components": 5000}, "--n-components is 5000"),
        ({"matrix": "mlp-in", "ablate": "1"}, "--ablate takes components out of W_OV"),
        ({"matrix": "mlp-out", "heads": "1"}, "belongs to layers and not to heads"),
        ({"seed": str(2**32)}, "A seed lies between 0 and"),
        ({"matrix": "mlp-out", "data": "own.txt"}, "leave --data and --text-column out"),
    ],
)
def test_bad_input_is_one_sentence(settings, change, message, capsys):
    given = {**settings, **change}
    with pytest.raises(InputError, match=message):
        jobs.weights(WeightsConfig(**given))
    words = [
        "weights",
        given["model"],
        "--layers",
        given["layers"],
        "-k",
        str(given["n_components"]),
    ]
    for name in ("heads", "methods", "matrix", "ablate", "data", "seed"):
        if name in change:
            words += [f"--{name}", change[name]]
    assert main([*words, "-o", str(given["output"])]) == 2
    assert message.removeprefix("no ") in capsys.readouterr().err


def test_a_negative_seed_is_refused(settings):
    with pytest.raises(InputError, match="'seed' is -1"):
        WeightsConfig(**settings, seed=-1)


@pytest.fixture
def changed(tiny_folder, tmp_path):
    """A function that keeps the tiny model with one head's values changed, and says where."""

    def make(change):
        model = load_model(str(tiny_folder))
        with torch.no_grad():  # heads 0 and 1 share these values
            change(model.model.model.layers[1].self_attn.v_proj.weight[:8])
        folder = tmp_path / "changed"
        model.model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        return folder

    return make


def test_heads_that_cannot_be_taken_apart_are_named_and_cost_no_others(changed, settings, caplog):
    def narrow(values):
        values[2:] = 0

    given = {**settings, "model": str(changed(narrow)), "layers": "1", "methods": "svd,ica"}
    for _ in range(2):  # done and done again
        folder = jobs.weights(WeightsConfig(**given))
        assert folder.finished == [(1, 2), (1, 3)]
        why = "A matrix of rank 2 has 1 to 2 components; n_components is 3."
        assert folder.left_out == {(1, 0): why, (1, 1): why}
    assert f"head 1.0 is left out: {why}" in caplog.text
    page = write_weights_pages(folder).read_text(encoding="utf-8")
    assert f"Layer 1, head 0 is left out. {why}" in page
    assert "not finished" not in page
    (record,) = catalogue(folder.path.parent)
    assert record["state"] == "complete"


def test_a_head_of_zeros_alone_is_refused(changed, settings):
    given = {**settings, "model": str(changed(torch.Tensor.zero_)), "layers": "1", "heads": "1"}
    for _ in range(2):
        with pytest.raises(InputError, match=r"head 1\.1: A matrix of zeros has no components"):
            jobs.weights(WeightsConfig(**given))


def test_features_of_another_model_are_refused(changed, settings, tmp_path):
    from cofire.config import FitConfig

    run = jobs.fit(
        FitConfig(
            model=str(changed(torch.Tensor.neg_)), layers="0", n_components=4, limit=40,
            sparsity=0.2, output=tmp_path / "run",
        )
    )  # fmt: skip
    with pytest.raises(InputError, match="which is another model"):
        jobs.weights(WeightsConfig(**settings, features=run.path))


def test_the_command_prints_the_heads(settings, capsys):
    words = ["weights", settings["model"], "--layers", "0", "--heads", "0", "-k", "3"]
    words += ["--seeds", "4", "--draws", "3", "-o", str(settings["output"])]
    assert main([*words, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["layer"] == 0
    assert set(PATTERNS) <= set(record)
    assert main(words) == 0
    assert "weights.html" in capsys.readouterr().out + capsys.readouterr().err
