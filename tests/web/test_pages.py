"""Every page of the explorer in a real browser: complete, two sizes, two themes, no faults."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Server, serving
from axe import axe_source, serious_faults
from open_pages import PageVisit, visiting
from playwright.sync_api import Browser, expect

from browsing import SIZES
from cofire.store import Run
from hostile_text import HOSTILE

pytestmark = pytest.mark.browser

PAGES = {
    "runs": ("/", "Runs"),
    "overview": ("/runs/tiny", "tiny-llama"),
    "features": ("/runs/planted/2/features?sort=auroc", "Features of layer 2"),
    "feature": ("/runs/tiny/0/features/1", "How it steers"),
    "test": ("/test?run=tiny&layer=0", "Test sentences"),
    "steer": ("/steer?run=tiny&layer=0&features=1", "Steer"),
    "tree": ("/tree?run=tiny", "Against the nesting"),
    "core": ("/core?run=tiny", "Amplified in the model"),
    "flow": ("/flow?run=tiny", "What becomes of them"),
    "weights": ("/weights?run=tiny", "Structure that fits"),
    "weights-half": ("/weights?result=weights-half", "matrices are done"),
    "comparisons": ("/comparisons", "Lines are 95% intervals"),
    "comparisons-half": ("/comparisons?result=compared-half", "nothing to factorise"),
    "path": ("/path", "Relative loss"),
    "compare-features": ("/compare?a=tiny/0/1&b=tiny/0/2", "In common"),
    "compare-layers": ("/compare?a=planted/2&b=planted/9", "Paired by"),
    "compare-runs": ("/compare?a=tiny&b=planted", "Settings that differ"),
}


@pytest.fixture(params=[f"{size}-{scheme}" for size in SIZES for scheme in ("light", "dark")])
def themed(
    request: pytest.FixtureRequest, browser: Browser, explorer: Server
) -> Iterator[tuple[PageVisit, str]]:
    """The explorer in every size and theme, and the name of both."""
    size, scheme = request.param.split("-")
    for visit in visiting(browser, explorer, size, scheme):
        yield visit, request.param


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    return axe_source()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_complete_and_fits(name: str, themed: tuple[PageVisit, str]) -> None:
    visit, look = themed
    path, words = PAGES[name]
    page = visit.open(path)
    expect(page.locator("body")).to_contain_text(words)
    page.wait_for_load_state("networkidle")
    assert visit.fits()
    visit.picture(f"{name}-{look}")


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_serious_fault(name: str, themed: tuple[PageVisit, str], axe: str) -> None:
    visit, _ = themed
    path, words = PAGES[name]
    page = visit.open(path)
    expect(page.locator("body")).to_contain_text(words)
    page.wait_for_load_state("networkidle")
    assert serious_faults(page, axe) == []


@pytest.mark.parametrize("kind", ["tree", "core", "flow", "weights", "comparisons", "path"])
def test_a_page_without_results_names_the_command_that_makes_them(
    kind: str, planted: Run, browser: Browser
) -> None:
    with serving([planted.path], model=False) as server:
        for visit in visiting(browser, server, "desktop"):
            page = visit.open(f"/{kind}")
            command = {"comparisons": "compare"}.get(kind, kind)
            expect(page.locator(".absent pre")).to_contain_text(f"cofire {command}")


def test_an_unknown_address_says_so(desk: PageVisit) -> None:
    for path, words in (
        ("/runs/nothing", "no run"),
        ("/runs/tiny/7/features", "no finished layer 7"),
        ("/runs/tiny/0/features/999", "Feature 999 does not exist"),
    ):
        page = desk.open(path)
        expect(page.locator("main")).to_contain_text(words)
        expect(page.get_by_role("alert").first).to_be_visible()
    page.evaluate("history.pushState(null, '', '/nowhere'); dispatchEvent(new Event('popstate'))")
    expect(page.locator("h1")).to_have_text("No such page")
    page = desk.open("/nor/here")
    expect(page.locator("h1")).to_have_text("No such page")
    page.get_by_role("link", name="All runs").click()
    expect(page.locator("h1")).to_have_text("Runs")


def test_hostile_text_stays_text_on_every_page(desk: PageVisit) -> None:
    page = desk.open("/runs/hostile")
    assert page.locator("h1").text_content() == '</title><script>alert("model")</script>'
    scripts = page.evaluate("document.scripts.length")
    for index in range(len(HOSTILE) + 4):
        page = desk.open(f"/runs/hostile/1/features/{index}")
        expect(page.locator("#detail")).to_have_attribute("aria-label", f"Feature {index}")
        for tab in page.query_selector_all("#detail [role=tab]:not(:disabled)"):
            tab.evaluate("tab => tab.click()")
        assert desk.fits()
        assert page.evaluate("document.scripts.length") == scripts
        assert page.evaluate("document.querySelectorAll('img, iframe, svg[onload]').length") == 0
    page = desk.open("/runs/hostile/1/features/0")
    assert page.locator("#detail h2").text_content() == "<script>alert(1)</script>"
    for path in ("/compare?a=hostile/1/0&b=hostile/1/2", "/test?run=hostile&features=0", "/"):
        page = desk.open(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.querySelectorAll('img, iframe, svg[onload]').length") == 0
        assert desk.fits()


def test_nothing_inline_and_nothing_from_elsewhere(explorer: Server) -> None:
    answer = explorer.ask("/")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    page = answer.body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<[^>]+\s(style|on\w+)=", page)
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(source.startswith(("/static/", "#", "/")) for source in sources)


def test_the_scripts_never_turn_data_into_markup() -> None:
    import cofire.web

    folder = Path(cofire.web.__file__).parent / "static"
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.js"))
    assert len(source) > 10_000
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "setHTML",
    ):
        assert word not in source
    assert not re.search(r"setTimeout\(\s*['\"`]", source)
