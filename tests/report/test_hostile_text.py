"""Whatever stands in tokens, labels and names stays text."""

import re

import pytest
from test_report_file import layer_data
from visiting import Visit

from cofire.interpret.reading import FeatureSet
from cofire.report import write_report
from cofire.store import Run
from hostile_text import HOSTILE, hostile_run_at


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return hostile_run_at(tmp_path_factory.mktemp("runs") / "hostile")


def test_nothing_breaks_out_of_the_source(hostile_run: Run) -> None:
    page = write_report(hostile_run).read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script>") == 3  # two layers and the page's own
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert not any(re.search("[<>&\x00-\x1f\u2028\u2029\u202a-\u202e]", block) for block in blocks)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)
    assert "<img" not in page
    assert "onerror=alert(3)>" not in page
    assert "<svg onload" not in page
    assert ">49<" not in page
    assert "<b>stop</b>" not in page


def test_the_texts_are_all_still_there(hostile_run: Run) -> None:
    page = write_report(hostile_run).read_text(encoding="utf-8")
    strings = layer_data(page)[0]["strings"]
    for text in ("<script>alert(1)</script>", "{{7*7}}{% raw %}", "صباح الخير", "w" * 600):
        assert text in strings
    assert "nul␀bell␇" in strings
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩" in strings


@pytest.mark.browser
def test_nothing_runs_in_a_browser(hostile_run: Run, visit: Visit) -> None:
    page = visit.open(write_report(hostile_run))
    expected = page.evaluate("document.scripts.length")
    for index in range(len(HOSTILE) + 4):
        page.evaluate(f"location.hash = '#layer=1&feature={index}'")
        page.wait_for_function(f"document.querySelector('#detail').ariaLabel === 'Feature {index}'")
        for tab in page.query_selector_all("#detail [role=tab]:not(:disabled)"):
            tab.evaluate("tab => tab.click()")
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]
        inner = page.evaluate(
            "(d => [d.scrollWidth, d.clientWidth])(document.querySelector('#detail'))"
        )
        assert inner[0] <= inner[1]
    assert page.evaluate("document.scripts.length") == expected
    assert page.evaluate("document.querySelectorAll('img, iframe, svg[onload]').length") == 0
    page.evaluate("location.hash = '#layer=1&feature=0'")
    page.wait_for_function("document.querySelector('#detail').ariaLabel === 'Feature 0'")
    assert page.locator("#detail h2").text_content() == "<script>alert(1)</script>"
    assert page.title().startswith('</title><script>alert("model")</script>')
    assert page.locator("h1").text_content() == '</title><script>alert("model")</script>'


def test_notebook_cards_escape_everything(hostile_run: Run) -> None:
    features = hostile_run.features(hostile_run.sites[0])
    assert isinstance(features, FeatureSet)
    cards = [hostile_run._repr_html_(), features._repr_html_()]
    cards += [feature._repr_html_() for feature in features]
    for card in cards:
        assert not re.search(r"<(script|img|svg|b)\b", card)
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", card)
        assert set(re.findall(r"</?([a-z]+)", card)) <= {
            "div", "span", "code", "table", "thead", "tbody", "tr", "th", "td", "p",
        }  # fmt: skip
        assert not re.search(r"<[^>]+\son\w+=", card)
