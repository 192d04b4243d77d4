"""A report in a real browser does what its controls say, on a desktop and on a phone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from visiting import Visit

from cofire.interpret.reading import Feature
from cofire.store import Run

pytestmark = pytest.mark.browser


def is_phone(page: Page) -> bool:
    return page.viewport_size is not None and page.viewport_size["width"] < 800


def listed(page: Page) -> list[int]:
    """Numbers of the features in the list, in its order, drawn by scrolling through it."""
    found: dict[int, int] = {}
    page.evaluate("document.querySelector('#explorer').scrollIntoView()")
    for step in range(0, 4000, 300):
        page.evaluate(
            "y => { const f = document.querySelector('#frame'); f.scrollTop = y;"
            " if (f.scrollHeight <= f.clientHeight) scrollTo(0, f.offsetTop - 100 + y); }",
            step,
        )
        page.evaluate("new Promise(requestAnimationFrame)")
        rows = page.eval_on_selector_all(
            ".row", "rows => rows.map(r => [Number(r.dataset.place), Number(r.id.slice(4))])"
        )
        found.update(dict(rows))
    return [found[place] for place in sorted(found)]


def numbers(features: list[Feature]) -> list[int]:
    return [feature.index for feature in features]


def fits(page: Page) -> bool:
    """Whether nothing reaches beyond the right edge of the page or of the open feature."""
    return page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth"
        " && detail.scrollWidth <= Math.max(detail.clientWidth, 1)"
    )


def test_the_page_opens_complete(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report)
    expect(page.locator("#count")).to_have_text("24 features")
    expect(page.locator("#tabs [role=tab]")).to_have_count(len(run.sites))
    assert fits(page)
    assert listed(page) == list(range(24))
    if is_phone(page):
        expect(page.locator("#detail")).to_be_hidden()
    else:
        expect(page.locator("#detail h2")).to_have_text(run.features(run.sites[0])[0].label)


def test_only_rows_in_sight_are_drawn(report: Path, visit: Visit) -> None:
    page = visit.open(report)
    assert page.locator(".row").count() <= 24
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.querySelector('#frame').scrollTop = 0")
    if is_phone(page):  # the list is far below: hardly any row is near
        page.wait_for_function("document.querySelectorAll('.row').length <= 12")


def test_search_finds_labels_concepts_tokens_and_promoted_tokens(
    report: Path, run: Run, visit: Visit
) -> None:
    page = visit.open(report)
    features = run.features(run.sites[0])
    first = next(feature for feature in features if feature.firing_types)
    for query in (first.label[:8], "law", first.firing_types[0][0], "no such thing"):
        page.locator("#search").fill(query)
        wanted = numbers(features.search(query))
        words = f"{len(wanted)} of 24 features" if len(wanted) < 24 else "24 features"
        expect(page.locator("#count")).to_have_text(words)
        assert listed(page) == wanted
    expect(page.locator(".empty")).to_be_visible()
    page.locator("#clear").click()
    expect(page.locator("#count")).to_have_text("24 features")


def test_search_for_a_number_and_for_a_neuron(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report)
    features = run.features(run.sites[0])
    page.locator("#search").fill("#7")
    assert listed(page) == [7]
    neuron = features[7].neurons[0][0]
    page.locator("#search").fill(f"neuron:{neuron}")
    holding = [f for f in features if neuron in {number for number, _ in f.neurons}]
    assert listed(page) == numbers(holding)


def test_every_order_sorts_with_missing_values_last(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report)
    features = list(run.features(run.sites[0]))

    def auroc(feature: Feature) -> float:
        known = feature.concept is not None and feature.concept.auroc is not None
        return -feature.concept.auroc if known else 2.0

    page.locator("#sort").select_option("auroc")
    shown = listed(page)
    assert [auroc(features[i]) for i in shown] == pytest.approx(
        sorted(map(auroc, features)), abs=1e-3
    )
    page.locator("#direction").click()
    assert listed(page)[0] != shown[0]
    for order, of in (
        ("density", lambda f: -f.density),
        ("max", lambda f: -f.max_code),
        ("neurons", lambda f: -len(f.neurons)),
        ("index", lambda f: f.index),
    ):
        page.locator("#sort").select_option(order)
        assert listed(page) == numbers(sorted(features, key=lambda f: (of(f), f.index)))
    page.locator("#sort").select_option("label")
    labels = [features[i].label for i in listed(page)]
    assert [label[0].casefold() for label in labels if label[0].isalpha()] == sorted(
        label[0].casefold() for label in labels if label[0].isalpha()
    )


def test_filters_by_concept_and_health(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report)
    features = run.features(run.sites[0])
    page.locator("#concept").select_option("law")
    assert listed(page) == sorted(numbers(features.selecting("law")))
    page.locator("#concept").select_option("")
    for flag in ("dead", "duplicate", "one-token"):
        page.locator("#flag").select_option(flag)
        assert listed(page) == [f.index for f in features if flag in f.flags]
    page.locator("#flag").select_option("none")
    assert listed(page) == [f.index for f in features if not f.flags]


def test_a_concept_of_the_summary_leads_to_its_features(
    report: Path, run: Run, visit: Visit
) -> None:
    page = visit.open(report)
    chip = page.locator(".summary:not([hidden]) .chip").first
    concept = chip.get_attribute("data-concept")
    assert concept is not None
    chip.click()
    assert listed(page) == sorted(numbers(run.features(run.sites[0]).selecting(concept)))


def test_tabs_change_the_layer(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report)
    site = run.sites[1]
    page.get_by_role("tab", name=f"Layer {site.layer}").click()
    expect(page.locator(".summary:visible h2")).to_contain_text(site.name)
    expect(page.locator(".summary:visible")).to_have_count(1)
    assert f"layer={site.layer}" in page.url
    page.get_by_role("tab", name=f"Layer {site.layer}").press("ArrowLeft")
    expect(page.locator(".summary:visible h2")).to_contain_text(run.sites[0].name)


def test_a_deep_link_opens_its_feature(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report, "#layer=9&feature=5")
    expect(page.locator("#detail h2")).to_have_text(run.features(run.sites[1])[5].label)
    expect(page.locator("#detail h2")).to_be_in_viewport()
    assert page.get_by_role("tab", name="Layer 9").get_attribute("aria-selected") == "true"
    page.evaluate("location.hash = '#layer=2&feature=3'")
    expect(page.locator("#detail h2")).to_have_text(run.features(run.sites[0])[3].label)
    page.evaluate("location.hash = '#layer=99&feature=3'")  # no such layer: nothing breaks
    page.evaluate("location.hash = '#layer=2&feature=999'")
    assert fits(page)


def test_the_address_follows_the_open_feature(report: Path, visit: Visit) -> None:
    page = visit.open(report)
    page.locator(".row").nth(2).click()
    assert page.url.endswith("#layer=2&site=mlp&feature=2")
    page.reload()
    expect(page.locator("#detail")).to_have_attribute("aria-label", "Feature 2")


def test_a_feature_shows_what_was_read(report: Path, run: Run, visit: Visit) -> None:
    feature = run.features(run.sites[0])[1]
    assert feature.concept is not None
    assert feature.vocabulary is not None
    page = visit.open(report, "#layer=2&feature=1")
    detail = page.locator("#detail")
    expect(detail.locator(".evidence")).to_contain_text(f"AUROC {feature.concept.auroc:.2f}")
    expect(detail.locator(".evidence")).to_contain_text(f"{feature.concept.n_positive} held-out")
    expect(detail.locator(".context")).to_have_count(len(feature.contexts))
    first = feature.contexts[0]
    expect(detail.locator(".context").first.locator(".text")).to_have_text("".join(first.tokens))
    expect(detail.locator(".context").first.locator(".focus")).to_have_text(
        first.tokens[first.focus].strip()
    )
    expect(detail.locator(".neuron-list tr")).to_have_count(len(feature.neurons))
    against = sum(weight < 0 for _, weight in feature.neurons)
    expect(detail.locator(".neuron-list .against")).to_have_count(against)
    expect(detail.locator(".vocabulary").first.locator("tr")).to_have_count(
        len(feature.vocabulary.promoted)
    )
    expect(detail.locator(".profile-list tr")).to_have_count(min(12, len(feature.concept_scores)))
    assert fits(page)


def test_quantile_tabs_show_weaker_contexts(report: Path, run: Run, visit: Visit) -> None:
    feature = run.features(run.sites[0])[1]
    page = visit.open(report, "#layer=2&feature=1")
    for quantile, name in ((0.99, "99%"), (0.9, "90%"), (0.75, "75%"), (0.5, "50%")):
        tab = page.locator("#detail").get_by_role("tab", name=name, exact=True)
        wanted = [c for c in feature.quantile_contexts if c.quantile == quantile]
        if not wanted:  # all of them are among the top ones
            expect(tab).to_be_disabled()
            continue
        tab.click()
        expect(page.locator("#detail .context")).to_have_count(len(wanted))
        expect(page.locator("#detail .context .text").first).to_have_text("".join(wanted[0].tokens))
    tab.press("ArrowLeft")
    expect(page.locator("#detail").get_by_role("tab", name="75%")).to_be_focused()


def test_a_dead_feature_is_shown_without_inventing_anything(report: Path, visit: Visit) -> None:
    page = visit.open(report, "#layer=2&feature=23")
    detail = page.locator("#detail")
    expect(detail.locator("h2")).to_have_text("never fires")
    expect(detail).to_contain_text("It never fires on the training texts")
    expect(detail.locator(".badge").first).to_have_text("dead")
    expect(detail.locator(".context")).to_have_count(0)
    expect(detail.get_by_role("tab", name="Top")).to_be_disabled()


def test_pointing_at_a_token_tells_its_code(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report, "#layer=2&feature=1")
    token = page.locator("#detail .token.focus").first
    if is_phone(page):
        token.tap()
    else:
        token.hover()
    code = run.features(run.sites[0])[1].contexts[0].code
    expect(page.locator("#tip")).to_be_visible()
    expect(page.locator("#tip")).to_contain_text(f"code {code:.3g}")


def test_links_between_features(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report, "#layer=2&feature=0")
    other = run.features(run.sites[0])[0].nearest
    page.locator("#detail").get_by_role("link", name=f"feature {other},").click()
    expect(page.locator("#detail")).to_have_attribute("aria-label", f"Feature {other}")
    page.locator("#detail .neuron-list button").first.click()
    expect(page.locator("#search")).to_have_value(
        f"neuron:{run.features(run.sites[0])[other].neurons[0][0]}"
    )
    expect(page.locator("#search")).to_be_in_viewport()


def test_keys_move_between_features_and_layers(report: Path, visit: Visit) -> None:
    page = visit.open(report, "#layer=2&feature=4")
    detail = page.locator("#detail")
    expect(detail).to_have_attribute("aria-label", "Feature 4")
    for key, index in (("j", 5), ("ArrowRight", 6), ("k", 5), ("ArrowLeft", 4)):
        page.keyboard.press(key)
        expect(detail).to_have_attribute("aria-label", f"Feature {index}")
    if is_phone(page):
        page.keyboard.press("Escape")
        expect(detail).to_be_hidden()
    page.keyboard.press("]")
    expect(page.get_by_role("tab", name="Layer 9")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("[")
    expect(page.get_by_role("tab", name="Layer 2")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("j")  # a letter in the search is a letter
    expect(page.locator("#search")).to_have_value("j")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_the_list_is_a_listbox_for_keyboards_and_readers(report: Path, visit: Visit) -> None:
    page = visit.open(report)
    rows = page.get_by_role("listbox", name="Features of this layer")
    rows.focus()
    for key, index in (
        ("Home", 0),
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("ArrowUp", 1),
        ("End", 23),
    ):
        page.keyboard.press(key)
        expect(rows).to_have_attribute("aria-activedescendant", f"row-{index}")
        expect(page.locator(f"#row-{index}")).to_have_attribute("aria-selected", "true")
        expect(page.locator(f"#row-{index}")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    expect(page.locator("#detail h2")).to_have_text("never fires")


@pytest.mark.parametrize("visit", ["phone"], indirect=True)
def test_a_phone_opens_a_sheet_and_goes_back(report: Path, visit: Visit) -> None:
    page = visit.open(report)
    page.locator(".row").nth(3).tap()
    expect(page.locator("#detail h2")).to_be_in_viewport()
    page.get_by_role("button", name="next feature").tap()
    expect(page.locator("#detail")).to_have_attribute("aria-label", "Feature 4")
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()
    page.locator(".row").nth(5).tap()
    page.get_by_role("button", name="List").tap()
    expect(page.locator("#detail")).to_be_hidden()
    assert fits(page)


def test_the_theme_can_be_chosen_and_is_kept(report: Path, visit: Visit) -> None:
    page = visit.open(report)

    def background() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = background()
    page.emulate_media(color_scheme="dark")
    dark = background()
    assert dark != light
    page.get_by_role("button", name="Light theme").click()
    assert background() == light
    page.reload()
    assert background() == light
    page.get_by_role("button", name="Dark theme").click()
    assert background() == dark


def test_printing_lists_every_feature(report: Path, run: Run, visit: Visit) -> None:
    page = visit.open(report)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator(".print-table tbody tr")).to_have_count(24)
    expect(page.locator(".print-table")).to_contain_text(run.features(run.sites[0])[7].label)
    expect(page.locator(".browser")).to_be_hidden()


def test_the_smallest_phones_have_room(report: Path, visit: Visit) -> None:
    page = visit.open(report, "#layer=2&feature=0")
    page.set_viewport_size({"width": 360, "height": 640})
    assert fits(page)
    page.evaluate("location.hash = '#layer=2'")
    page.locator("details.method summary").click()
    assert fits(page)


def test_the_figures_need_no_script(report: Path, browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    expect(page.locator("h1")).to_have_text("tiny-model")
    expect(page.locator("table.layers")).to_contain_text("converged")
    expect(page.locator("#without-script")).to_be_visible()
    context.close()
