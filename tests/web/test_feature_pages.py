"""The list of features and the page of one, control by control, in a real browser."""

import re

import numpy as np
import pytest
from open_pages import PageVisit
from playwright.sync_api import Locator, Page, expect

from cofire.interpret.reading import Feature
from cofire.store import Run

pytestmark = pytest.mark.browser


def listed(page: Page) -> list[int]:
    """Numbers of the features in the list, in its order, drawn by scrolling through it."""
    expect(page.locator("#rows")).to_have_attribute("aria-busy", "false")
    found: dict[int, int] = {}
    total = int(re.search(r"[\d,]+", page.locator("#count").inner_text())[0].replace(",", ""))
    height = 68
    for step in range(0, total * height, 400):
        page.evaluate(
            "y => { const f = document.querySelector('#frame'); f.scrollTop = y;"
            " if (f.scrollHeight <= f.clientHeight) scrollTo(0, f.offsetTop - 100 + y); }",
            step,
        )
        page.evaluate("new Promise(requestAnimationFrame)")
        expect(page.locator(".row.coming")).to_have_count(0)
        rows = page.eval_on_selector_all(
            ".row[id]", "rows => rows.map(r => [Number(r.dataset.place), Number(r.id.slice(4))])"
        )
        found.update(dict(rows))
        if len(found) == total:
            break
    return [found[place] for place in sorted(found)]


def numbers(features: list[Feature]) -> list[int]:
    return [feature.index for feature in features]


def opened(visit: PageVisit, index: int) -> Locator:
    """The detail once it shows a feature."""
    expect(visit.page.locator("#detail")).to_have_attribute("aria-label", f"Feature {index}")
    return visit.page.locator("#detail")


def test_the_list_holds_every_feature_but_draws_few(visit: PageVisit, planted: Run) -> None:
    page = visit.open("/runs/planted/2/features")
    expect(page.locator("#count")).to_have_text("240 features")
    assert page.locator(".row").count() <= 40
    assert listed(page) == list(range(240))
    if visit.phone:
        expect(page.locator("#detail")).to_be_hidden()
    else:
        first = planted.features(planted.sites[0])[0]
        expect(page.locator("#detail h2")).to_have_text(first.label)


def test_search_finds_labels_and_tokens_as_one_types(visit: PageVisit, planted: Run) -> None:
    features = planted.features(planted.sites[0])
    page = visit.open("/runs/planted/2/features")
    for query in ("law", features[1].firing_types[0][0], "no such thing"):
        page.locator("#search").fill(query)
        wanted = numbers(features.search(query))
        expect(page.locator("#count")).to_have_text(f"{len(wanted)} of 240 features")
        if wanted:
            assert listed(page) == wanted
    expect(page.locator(".empty")).to_be_visible()
    page.locator("#search").fill("#7")
    expect(page.locator("#count")).to_have_text("1 of 240 features")
    expect(page.locator("#row-7")).to_be_visible()
    neuron = features[7].neurons[0][0]
    page.locator("#search").fill(f"neuron:{neuron}")
    holding = [f for f in features if neuron in {number for number, _ in f.neurons}]
    expect(page.locator("#count")).to_have_text(f"{len(holding)} of 240 features")
    assert listed(page) == numbers(holding)
    assert f"neuron%3A{neuron}" in page.url
    page.reload()
    expect(page.locator("#search")).to_have_value(f"neuron:{neuron}")
    page.locator("#clear").click()
    expect(page.locator("#count")).to_have_text("240 features")


def test_every_measure_sorts_both_ways(desk: PageVisit, planted: Run) -> None:
    page = desk.open("/runs/planted/2/features")
    expect(page.locator("#count")).to_have_text("240 features")
    names = page.eval_on_selector_all("#sort option", "all => all.map(o => o.value)")
    assert {"feature", "label", "auroc", "density", "max_code", "neurons"} <= set(names)
    features = list(planted.features(planted.sites[0]))
    of = {
        "density": lambda f: f.density,
        "max_code": lambda f: f.max_code,
        "nearest_cosine": lambda f: f.nearest_cosine,
    }
    for name, key in of.items():
        page.locator("#sort").select_option(name)
        values = [key(features[i]) for i in listed(page)]
        assert values == sorted(values, reverse=True)
        page.locator("#direction").click()
        expect(page.locator("#direction")).to_have_text("↑")
        values = [key(features[i]) for i in listed(page)]
        assert values == sorted(values)
    page.locator("#sort").select_option("label")
    expect(page.locator("#direction")).to_have_text("↑")
    for name in names:
        page.locator("#sort").select_option(name)
        expect(page.locator("#count")).to_have_text("240 features")


def test_filters_by_concept_health_and_measures(desk: PageVisit, planted: Run) -> None:
    features = planted.features(planted.sites[0])
    page = desk.open("/runs/planted/2/features")
    page.locator("#concept").select_option("law")
    wanted = numbers(features.selecting("law"))
    expect(page.locator("#count")).to_have_text(f"{len(wanted)} of 240 features")
    assert listed(page) == sorted(wanted)
    page.locator("#concept").select_option("")
    for flag in ("dead", "duplicate", "one-token"):
        page.locator("#flag").select_option(flag)
        wanted = [f.index for f in features if flag in f.flags]
        expect(page.locator("#count")).to_have_text(f"{len(wanted)} of 240 features")
    page.locator("#flag").select_option("none")
    well = [f.index for f in features if not f.flags]
    expect(page.locator("#count")).to_have_text(f"{len(well)} of 240 features")
    page.locator("#flag").select_option("")
    page.get_by_text("Filter by measures").click()
    page.get_by_label("Density at least").fill("0.05")
    page.get_by_label("Density at least").press("Enter")
    often = [f.index for f in features if f.density >= 0.05]
    expect(page.locator("#count")).to_have_text(f"{len(often)} of 240 features")
    page.get_by_label("Density at most").fill("0.06")
    page.get_by_label("Density at most").press("Enter")
    some = [f.index for f in features if 0.05 <= f.density <= 0.06]
    expect(page.locator("#count")).to_have_text(f"{len(some)} of 240 features")
    page.get_by_label("Concept confirmed on held-out texts").check()
    sure = [i for i in some if features[i].concept is not None and features[i].concept.sure]
    expect(page.locator("#count")).to_have_text(f"{len(sure)} of 240 features")
    page.reload()
    expect(page.locator("#count")).to_have_text(f"{len(sure)} of 240 features")
    expect(page.get_by_label("Density at most")).to_have_value("0.06")


def test_a_feature_shows_what_was_read(visit: PageVisit, planted: Run) -> None:
    feature = planted.features(planted.sites[0])[1]
    assert feature.concept is not None
    assert feature.vocabulary is not None
    visit.open("/runs/planted/2/features/1")
    detail = opened(visit, 1)
    expect(detail.locator("h2")).to_have_text(feature.label)
    expect(detail.locator(".evidence")).to_contain_text(f"AUROC {feature.concept.auroc:.2f}")
    expect(detail.locator(".context")).to_have_count(len(feature.contexts))
    first = feature.contexts[0]
    expect(detail.locator(".context .text").first).to_have_text("".join(first.tokens))
    expect(detail.locator(".neuron-list tr")).to_have_count(len(feature.neurons))
    expect(detail.locator(".vocabulary").first.locator("tr")).to_have_count(
        len(feature.vocabulary.promoted)
    )
    expect(detail.locator(".profile-list tr")).to_have_count(min(12, len(feature.concept_scores)))
    expect(detail.locator("figure.chart rect.bar").first).to_be_visible()
    expect(detail.locator("table.relatives")).to_have_count(2)
    for name in ("90%", "50%", "Top"):
        tab = detail.get_by_role("tab", name=name, exact=True)
        if tab.is_enabled():
            tab.click()
            expect(tab).to_have_attribute("aria-selected", "true")
    assert visit.fits()


def test_pointing_at_a_token_tells_its_code(visit: PageVisit, planted: Run) -> None:
    page = visit.open("/runs/planted/2/features/1")
    token = opened(visit, 1).locator(".token.focus").first
    if visit.phone:
        token.tap()
    else:
        token.hover()
    code = planted.features(planted.sites[0])[1].contexts[0].code
    expect(page.locator("#tip")).to_contain_text(f"code {code:.3g}")


def test_a_context_shows_more_and_less_of_its_text(desk: PageVisit, stored: Run) -> None:
    desk.open("/runs/tiny/0/features/1")
    detail = opened(desk, 1)
    feature = stored.features(stored.sites[0])[1]
    tokens = np.bincount(stored.tokens(stored.sites[0]).text_id)
    place = next(i for i, c in enumerate(feature.contexts) if len(c.tokens) < tokens[c.text_id])
    context = feature.contexts[place]
    row = detail.locator(".context").nth(place)
    short = row.locator(".text").inner_text()
    row.get_by_role("button", name="more of this text").click()
    expect(row.get_by_role("button", name="less of this text")).to_be_visible()
    expect(row.locator(".text")).not_to_have_text(short)
    assert len(row.locator(".text").inner_text()) > len(short)
    expect(row.locator(".text .focus")).to_have_text(context.tokens[context.focus].strip())
    row.get_by_role("button", name="less of this text").click()
    expect(row.locator(".text")).to_have_text(short)


def test_relatives_lead_to_other_features(desk: PageVisit) -> None:
    page = desk.open("/runs/planted/2/features/0")
    detail = opened(desk, 0)
    link = detail.locator("table.relatives a").first
    wanted = int(link.locator(".number").inner_text())
    link.click()
    opened(desk, wanted)
    page.go_back()
    detail = opened(desk, 0)
    before = detail.locator("table.relatives").first.locator("tr").count()
    detail.get_by_role("button", name="Show more").first.click()
    expect(detail.locator("table.relatives").first.locator("tr")).to_have_count(before + 40)
    detail.locator(".neuron-list button").first.click()
    expect(page.locator("#search")).to_have_value(re.compile(r"neuron:\d+"))


def test_keys_move_between_features_and_layers(visit: PageVisit) -> None:
    page = visit.open("/runs/planted/2/features/4")
    opened(visit, 4)
    for key, index in (("j", 5), ("ArrowRight", 6), ("k", 5), ("ArrowLeft", 4)):
        page.keyboard.press(key)
        opened(visit, index)
    if visit.phone:
        page.keyboard.press("Escape")
        expect(page.locator("#detail")).to_be_hidden()
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


def test_the_list_is_a_listbox_for_keyboards_and_readers(desk: PageVisit) -> None:
    page = desk.open("/runs/planted/2/features")
    expect(page.locator("#row-0")).to_be_visible()
    rows = page.get_by_role("listbox", name="Features of this layer")
    rows.focus()
    for key, index in (("Home", 0), ("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1)):
        page.keyboard.press(key)
        expect(rows).to_have_attribute("aria-activedescendant", f"row-{index}")
        expect(page.locator(f"#row-{index}")).to_have_attribute("aria-selected", "true")
        opened(desk, index)
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    rows.focus()
    page.keyboard.press("End")
    expect(page.locator(".row.coming")).to_have_count(0)
    page.keyboard.press("End")
    opened(desk, 239)


def test_a_phone_opens_a_sheet_and_goes_back(visit: PageVisit) -> None:
    if not visit.phone:
        pytest.skip("a phone's sheet")
    page = visit.open("/runs/planted/2/features")
    page.locator("#row-3").tap()
    opened(visit, 3)
    expect(page.locator("#detail h2")).to_be_in_viewport()
    page.get_by_role("button", name="next feature").tap()
    opened(visit, 4)
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()
    page.locator("#row-5").tap()
    opened(visit, 5)
    page.get_by_role("button", name="List").tap()
    expect(page.locator("#detail")).to_be_hidden()
    assert visit.fits()


def test_going_back_shows_what_was_open(desk: PageVisit) -> None:
    page = desk.open("/runs/planted/2/features")
    opened(desk, 0)
    page.locator("#row-2").click()
    opened(desk, 2)
    page.locator("#row-4").click()
    opened(desk, 4)
    page.go_back()
    opened(desk, 2)
    page.get_by_role("link", name="Overview").click()
    expect(page.locator("h1")).to_have_text("tiny-model")
    page.go_back()
    opened(desk, 2)


def test_a_label_is_edited_and_taken_back(desk: PageVisit) -> None:
    page = desk.open("/runs/tiny/2/features/3")
    detail = opened(desk, 3)
    own = detail.locator("h2").inner_text()
    detail.get_by_role("button", name="Edit label").click()
    detail.get_by_role("textbox", name="Label").fill("something else <b>&amp;</b>")
    detail.get_by_role("button", name="Save").click()
    expect(detail.locator("h2")).to_have_text("something else <b>&amp;</b>")
    expect(page.locator("#row-3 .label")).to_have_text("something else <b>&amp;</b>")
    page.reload()
    detail = opened(desk, 3)
    expect(detail.locator("h2")).to_have_text("something else <b>&amp;</b>")
    expect(detail).to_contain_text(f"cofire’s own: {own}")
    detail.get_by_role("button", name="Edit label").click()
    detail.get_by_role("button", name="Take back").click()
    expect(detail.locator("h2")).to_have_text(own)
    detail.get_by_role("button", name="Edit label").click()
    page.keyboard.press("Escape")
    expect(detail.get_by_role("textbox", name="Label")).to_have_count(0)


def test_a_label_needs_the_token(desk: PageVisit) -> None:
    page = desk.open("/runs/tiny/2/features/3")
    page.evaluate("localStorage.setItem('cofire-token', 'wrong')")
    detail = opened(desk, 3)
    detail.get_by_role("button", name="Edit label").click()
    detail.get_by_role("button", name="Save").click()
    expect(detail.get_by_role("alert")).to_contain_text("token")


def test_the_theme_can_be_chosen_and_is_kept(desk: PageVisit) -> None:
    page = desk.open("/runs/planted")

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


def test_a_link_to_a_feature_far_down_the_list_finds_its_place(desk: PageVisit) -> None:
    page = desk.open("/runs/planted/2/features/230")
    opened(desk, 230)
    expect(page.locator("#row-230")).to_be_in_viewport()
    page.keyboard.press("j")
    opened(desk, 231)
    expect(page.locator("#row-231")).to_be_in_viewport()
    page.locator("#sort").select_option("density")  # another order is read from its top
    expect(page.locator(".row").first).to_be_in_viewport()
    page.locator("#rows").press("Home")
    expect(page.locator(".row.coming")).to_have_count(0)
    page.locator("#rows").press("Home")
    expect(page.locator(".row").first).to_have_attribute("aria-selected", "true")
