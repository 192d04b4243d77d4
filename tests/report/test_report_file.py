"""What stands in the file of a report."""

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cofire.corpus import Corpus
from cofire.errors import StoreError
from cofire.interpret.reading import Feature
from cofire.report import write_report
from cofire.store import Run
from sample_run import make_run, sample_corpus, with_vocabulary


def layer_data(page: str) -> list[dict[str, Any]]:
    """The JSON of every layer, parsed from the page."""
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    return [json.loads(block) for block in blocks]


def text_of(page: str) -> str:
    """What a reader without JavaScript sees, roughly."""
    body = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_report_lies_in_the_run_folder_unless_told_otherwise(run: Run, tmp_path: Path) -> None:
    assert write_report(run) == run.path / "report.html"
    elsewhere = write_report(run, tmp_path / "new" / "page.html")
    assert elsewhere.read_bytes() == (run.path / "report.html").read_bytes()


def test_the_same_run_gives_the_same_bytes(run: Run, report: Path, tmp_path: Path) -> None:
    again = write_report(Run.open(run.path), tmp_path / "again.html")
    assert again.read_bytes() == report.read_bytes()


def test_the_page_loads_nothing(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    without_names = page.replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert not re.search(r"<(img|iframe|object|embed|base|form[^>]*action)\b", page)
    assert not re.search(r"<script[^>]*\bsrc=", page)
    assert re.findall(r"<link[^>]*>", page) == re.findall(
        r'<link rel="icon" href="data:[^>]*>', page
    )
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_allows_exactly_this_style_and_script(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None
    policy = dict(rule.strip().split(" ", 1) for rule in found[1].split(";"))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy["default-src"] == "'none'"
    assert [policy["script-src"]] == [f"'{digest(script)}'" for script in scripts]
    assert [policy["style-src"]] == [f"'{digest(style)}'" for style in styles]
    assert not re.search(
        r"<[^>]+\s(style|on\w+)=", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    )


def test_the_script_never_turns_data_into_markup() -> None:
    import cofire.report

    folder = Path(cofire.report.__file__).parent / "assets"
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.js"))
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert word not in source
    assert not re.search(r"setTimeout\(\s*['\"`]", source)


def test_the_header_says_what_was_done(report: Path) -> None:
    text = text_of(report.read_text(encoding="utf-8"))
    for fact in (
        "tiny-model",
        "12.3 M parameters",
        "MLP neurons",
        "SNMF",
        "Test Licence 1.0",
        "cofire fit --config config.yaml",
        "each keeps 4.69% of neurons",
        "0123abcd",
        "bundled concept sentences",
        "Shafran, Geiger & Geva 2025",
        "exact block coordinate descent",
    ):
        assert fact in text
    assert "/home/someone" not in text


def test_every_layer_shows_its_figures(run: Run, report: Path) -> None:
    text = text_of(report.read_text(encoding="utf-8"))
    for site in run.sites:
        features = run.features(site)
        assert f"Layer {site.layer}" in text
        assert f"{features.fit.explained_variance:.3g}" in text
        assert features.heldout is not None
        assert f"{features.heldout.explained_variance:.3g}" in text
    assert "1 dead, 2 duplicate" in text
    assert "converged" in text


def test_every_feature_is_there_with_what_was_read(run: Run, report: Path) -> None:
    data = layer_data(report.read_text(encoding="utf-8"))
    for site, layer in zip(run.sites, data, strict=True):
        strings = layer["strings"]
        assert len(layer["features"]) == len(run.features(site))
        for feature, record in zip(run.features(site), layer["features"], strict=True):
            assert record["label"] == feature.label
            assert record["neurons"] == [number for number, _ in feature.neurons]
            assert record["weights"] == pytest.approx([w for _, w in feature.neurons], rel=5e-3)
            assert record["flags"] == list(feature.flags)
            everything = (*feature.contexts, *feature.quantile_contexts)
            assert len(record["contexts"]) == len(everything)
            for context, (quantile, window, focus, label, code, codes) in zip(
                everything, record["contexts"], strict=True
            ):
                tokens = [strings[number] for number in layer["windows"][window]]
                assert tokens == list(context.tokens)
                assert (quantile, focus, strings[label]) == (
                    context.quantile,
                    context.focus,
                    context.label,
                )
                assert code == pytest.approx(context.code, rel=1e-3)
                shown = [step / 1000 * record["scale"] for step in codes]
                assert shown == pytest.approx(list(context.codes), abs=1e-3 * record["scale"])


def test_a_missing_value_is_marked_and_explained_and_never_zero(tmp_path: Path) -> None:
    unlabelled = Corpus(
        replace(text, label=None, split="train") for text in sample_corpus(("law",))
    )
    run = make_run(
        tmp_path / "run",
        layers=(1, 2),
        n_features=8,
        corpus=unlabelled,
        change=lambda feature: feature,
        seconds=None,
        sweeps=None,
        stop_reason=None,
    )
    page = write_report(run).read_text(encoding="utf-8")
    for why in (
        "no texts were held out",
        "no concept could be judged on held-out texts",
        "the method has no sweeps, or did not record them",
        "not recorded",
    ):
        assert f'<span class="missing" title="{why}">–</span>' in page
    for record in layer_data(page)[0]["features"]:
        assert record["concept"] is None
        assert record["profile"] == []
        assert record["promoted"] is None


def test_a_concept_without_heldout_texts_keeps_its_training_figure_only(tmp_path: Path) -> None:
    corpus = Corpus(
        text
        for text in sample_corpus(("law", "food"))
        if not (text.label == "law" and text.split == "heldout")
    )
    run = make_run(tmp_path / "run", layers=(1,), n_features=8, corpus=corpus)
    data = layer_data(write_report(run).read_text(encoding="utf-8"))[0]
    of_law = [
        r["concept"]
        for r in data["features"]
        if r["concept"] and data["strings"][r["concept"]["name"]] == "law"
    ]
    assert of_law
    for concept in of_law:
        assert concept["auroc"] is None
        assert concept["interval"] is None
        assert concept["train"] is not None
        assert concept["sure"] is False


def test_figures_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    def broken(feature: Feature) -> Feature:
        return replace(feature, max_code=float("nan"), nearest_cosine=float("inf"))

    run = make_run(tmp_path / "run", layers=(1,), n_features=6, change=broken)
    records = layer_data(write_report(run).read_text(encoding="utf-8"))[0]["features"]
    assert all(record["max"] is None and record["cosine"] is None for record in records)


def test_a_big_group_is_cut_and_says_so(tmp_path: Path) -> None:
    def wide(feature: Feature) -> Feature:
        return replace(feature, neurons=tuple((i, 1.0 / (1 + i)) for i in range(900)))

    run = make_run(tmp_path / "run", layers=(1,), n_features=6, change=wide)
    record = layer_data(write_report(run).read_text(encoding="utf-8"))[0]["features"][0]
    assert len(record["neurons"]) == len(record["weights"]) == 200
    assert record["group"] == [900, 0]


def test_unfinished_layers_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=(1,), n_features=6, unfinished=(7,))
    assert "Not finished when this was written: Layer 7." in text_of(
        write_report(run).read_text(encoding="utf-8")
    )


def test_a_run_without_results_is_refused_in_words(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=(), unfinished=(3,))
    with pytest.raises(StoreError, match="no finished layer yet"):
        write_report(run)


def test_a_manifest_that_says_little_is_enough(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=(1,), n_features=6)
    manifest = json.loads((run.path / "manifest.json").read_text(encoding="utf-8"))
    for name in ("model", "corpus", "environment", "created", "cofire_version"):
        del manifest[name]
    manifest["config"] = {}
    (run.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "unnamed model" in write_report(Run.open(run.path)).read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_leaves_the_old_one(run: Run, tmp_path: Path) -> None:
    blocked = tmp_path / "page.html"
    blocked.mkdir()
    with pytest.raises(StoreError, match="Cannot write"):
        write_report(run, blocked)
    assert list(tmp_path.iterdir()) == [blocked]


def test_a_hundred_features_a_layer_stay_small(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=(1,), n_features=100, change=with_vocabulary)
    assert write_report(run).stat().st_size < 1e6


def test_what_is_wrong_stands_in_the_page(run: Run, report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    shown = text_of(page)
    assert shown.count("What is wrong and what to change") == len(run.sites)
    assert "Never active 1 of 24 features: 23" in shown
    assert "The same as another 2 of 23 features" in shown
    assert "Lower k to about 23" in shown
    assert f"cofire steer {run.path.name} --layer 2 --sample 30" in shown
    assert str(run.path) not in page
