"""The judging study end to end on a tiny model: its page says what the stored figures say."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(BENCHMARKS))
    import judging_page
    import judging_study
    import judging_trends

    yield judging_study, judging_page, judging_trends
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def page(study, tiny_folder, tmp_path_factory):
    judging_study, judging_page, _ = study
    folder = tmp_path_factory.mktemp("study")
    size = replace(
        judging_study.QUICK,
        layers="1,2",
        methods=("snmf", "random"),
        k="5",
        sparsities="0.1,0.3",
        swept_layers="1,2",
        freer_layers="2",
        freer_methods=("snmf", "snmf:code_penalty=0:max_active=2:center=true"),
        freer_sparsities="0.1",
        common={**judging_study.QUICK.common, "sparsity": "0.1", "new_tokens": 4, "limit": 250},
    )
    options = argparse.Namespace(folder=folder, judge="words", model=str(tiny_folder))
    folders = judging_study.run(size, options)
    judging_page.write_page(folders, folder / "docs" / "judging.md")
    return folders, folder / "docs" / "judging.md"


def test_the_page_has_its_parts(page):
    _, path = page
    text = path.read_text()
    for heading in (
        "# Measured: judging features",
        "## Published trends on this model",
        "## Where SNMF wins and where it does not",
        "## What the matched SAE has that SNMF lacks",
        "### KL recovered",
        "### Best AUROC, codes",
        "### Steering",
        "## Sparsity",
        "## Time",
    ):
        assert heading in text
    for line in text.splitlines():
        if line.startswith("!["):
            drawn = path.parent / line.partition("(")[2].rstrip(")")
            assert drawn.read_text().startswith("<svg")


def test_figures_on_the_page_are_the_stored_ones(page, study):
    from cofire.report.compare_tables import CompareTables, shown

    folders, path = page
    text = path.read_text()
    for folder in folders:
        line = CompareTables.read(folder).lines[0]
        assert shown(line.figures["concept-detection", "cosine"]) in text


def test_methods_are_named_by_what_they_are_given(page):
    _, path = page
    text = path.read_text()
    assert "| snmf | 10% |" in text
    assert "| snmf, limit, centred | 10% |" in text


def test_verdicts_follow_their_rules(study):
    *_, judging_trends = study
    high, low, wide = ({"low": a, "high": b} for a, b in ((0.8, 0.9), (0.1, 0.2), (0.1, 0.9)))
    assert judging_trends.compare_intervals(high, [low]) == "holds"
    assert judging_trends.compare_intervals(low, [wide, high]) == "fails"
    assert judging_trends.compare_intervals(wide, [high]) == "open"
    assert judging_trends.side(high, 0.75) is True
    assert judging_trends.side(low, 0.75) is False
    assert judging_trends.side(wide, 0.75) is None
    test = {
        "measure": "unexplained-variance",
        "corrected_p_value": 0.01,
        "cliffs_delta": -0.5,
        "difference": -0.1,
    }
    assert judging_trends.found(test) is True  # lower is better
    assert judging_trends.found({**test, "measure": "concept-auroc"}) is False
    assert judging_trends.found({**test, "corrected_p_value": 0.2}) is None
    assert judging_trends.by_layer([(0, True), (5, None), (11, True)]) == (
        "**holds** at L0, L11; **open** at L5"
    )
