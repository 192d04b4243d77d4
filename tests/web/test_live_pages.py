"""Testing sentences and steering, with a real model, in a real browser."""

import re

import pytest
from asking import serving
from open_pages import PageVisit, visiting
from playwright.sync_api import Browser, Page, Route, expect

from cofire.store import Run

pytestmark = pytest.mark.browser

SENTENCE = "On Monday the judge read the letter."


def choose(page: Page, label: str, words: str, wanted: int) -> None:
    """Choose a feature in a box that suggests some."""
    box = page.get_by_role("combobox", name=label)
    box.fill(words)
    option = page.get_by_role("option").filter(has_text=re.compile(rf"^{wanted} "))
    expect(option.first).to_be_visible()
    box.press("ArrowDown")
    box.press("Enter")


def test_a_sentence_finds_the_features_that_fire_on_it(visit: PageVisit) -> None:
    page = visit.open("/runs/tiny/0/features")
    page.get_by_label("Search in").select_option("sentence")
    page.locator("#search").fill(SENTENCE)
    page.locator("#search").press("Enter")
    expect(page.locator("#count")).to_contain_text("of 8 features fire on it")
    found = visit.server.ask("/runs/tiny/0/firing.json", {"text": SENTENCE}).json["features"]
    rows = page.locator(".row[id]")
    expect(rows).to_have_count(len(found))
    shown = [int(rows.nth(i).get_attribute("id").removeprefix("row-")) for i in range(len(found))]
    assert shown == [one["feature"] for one in found]
    rows.first.click()
    block = page.locator(".on-sentence")
    expect(block).to_contain_text("On your sentence")
    assert block.locator(".text").inner_text().replace("␣", " ").strip() == SENTENCE
    assert f"/features/{shown[0]}?sentence=" in page.url


def test_sentences_are_read_token_by_token(visit: PageVisit) -> None:
    page = visit.open("/test?run=tiny&layer=0")
    page.get_by_label("Sentences").fill(f"{SENTENCE}\nThe cat slept.")
    page.get_by_role("button", name="Read").click()
    expect(page.locator(".sentence")).to_have_count(2)
    first = page.locator(".sentence").first
    answer = visit.server.ask("/runs/tiny/0/firing.json", {"text": SENTENCE}).json
    expect(first.locator(".note").first).to_contain_text(f"{answer['found']} features fire on it")
    expect(first.locator(".pick")).to_have_count(len(answer["tokens"]))
    place = max(
        range(len(answer["tokens"])), key=lambda i: sum(f["codes"][i] for f in answer["features"])
    )
    first.locator(".pick").nth(place).click()
    best = max(answer["features"], key=lambda one: one["codes"][place])
    expect(first.locator(".who").first).to_contain_text(str(best["feature"]))
    assert "text=On+Monday" in page.url
    page.reload()
    expect(page.locator(".sentence")).to_have_count(2)
    assert visit.fits()


def test_chosen_features_are_tested_on_every_sentence(desk: PageVisit) -> None:
    page = desk.open("/test?run=tiny&layer=0&features=1")
    expect(page.locator(".chosen li")).to_have_count(1)
    choose(page, "Only these features", "4", 4)
    expect(page.locator(".chosen li")).to_have_count(2)
    page.get_by_label("Sentences").fill("One sentence.\nAnother one.")
    page.get_by_label("Sentences").press("Control+Enter")
    expect(page.locator("#results .lines")).to_have_count(2)
    expect(page.locator("#results .line")).to_have_count(4)
    page.get_by_role("button", name="take feature 1 away").click()
    expect(page.locator(".chosen li")).to_have_count(1)
    page.get_by_label("Sentences").fill("   ")
    page.get_by_role("button", name="Read").click()
    expect(page.get_by_text("Write a sentence first.")).to_be_visible()
    page.locator("#layer").select_option("2")
    page.wait_for_url(re.compile("layer=2"))


def test_steering_streams_both_texts_and_ends(visit: PageVisit) -> None:
    page = visit.open("/steer?run=tiny&layer=0&features=1")
    page.get_by_label("Prompt").fill("The weather on")
    choose(page, "Add a feature", "2", 2)
    expect(page.locator(".chosen li")).to_have_count(2)
    page.get_by_label("How feature 2 is measured out").select_option("kl")
    page.get_by_label("Amount of feature 2").fill("0.1")
    page.get_by_label("Direction of feature 2").select_option("-1")
    page.get_by_text("Sampling and size").click()
    page.get_by_label("New tokens").fill("12")
    page.get_by_label("Continuations").fill("3")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Steer", exact=True).click()
    job = page.locator(".job")
    expect(job).to_have_attribute("data-state", "done")
    expect(job.locator(".base .written li")).to_have_count(3)
    expect(job.locator(".steered .written li")).to_have_count(3)
    name = re.search(r"job=([\w-]+)", page.url)
    assert name is not None
    record = visit.server.ask(f"/steer/{name[1]}.json").json
    assert record["request"]["seed"] == 7
    assert [one["sign"] for one in record["features"]] == [1, -1]
    for side in ("base", "steered"):
        texts = job.locator(f".{side} .own")
        assert [texts.nth(i).text_content() for i in range(3)] == [
            one["text"] for one in record[side]
        ]
    expect(job.locator(".chances tbody tr")).to_have_count(len(record["probabilities"]))
    expect(job.locator(".figures")).to_contain_text("All together")
    assert visit.fits()
    visit.picture(f"steered-{'phone' if visit.phone else 'desktop'}")
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("The weather on")
    expect(page.locator(".job")).to_have_attribute("data-state", "done")
    expect(page.get_by_label("Amount of feature 2")).to_have_value("0.1")


def test_features_of_a_link_come_first_however_late(desk: PageVisit) -> None:
    page = desk.page
    held: list[Route] = []
    page.route("**/runs/tiny/0/features/1.json", lambda route: held.append(route))
    desk.open("/steer?run=tiny&layer=0&features=1")
    choose(page, "Add a feature", "2", 2)
    expect(page.locator(".chosen li")).to_have_count(1)
    amount = page.get_by_label("Amount of feature 2")
    amount.focus()
    held[0].continue_()
    numbers = page.locator(".chosen .number")
    expect(numbers).to_have_text(["1", "2"])
    expect(amount).to_be_focused()


def test_a_steering_job_can_be_cancelled(desk: PageVisit) -> None:
    before = {
        "run": "tiny",
        "layer": 0,
        "features": [{"feature": 1, "strength": 1.0}],
        "prompt": "The weather on",
        "samples": 4,
        "new_tokens": 200,
    }
    others = [desk.server.ask("/steer.json", before).json["job"] for _ in range(4)]
    page = desk.open("/steer?run=tiny&layer=0&features=1")
    expect(page.locator(".chosen li")).to_have_count(1)
    page.get_by_role("button", name="Steer", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".job")).to_have_attribute("data-state", "cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    page.get_by_text("Earlier").click()
    expect(page.locator(".earlier li").first).to_be_visible()
    for job in others:
        desk.server.ask(f"/steer/{job}.json", method="DELETE")
        desk.server.wait_for_job(job, "cancelled")


def test_what_the_server_refuses_is_said(desk: PageVisit) -> None:
    page = desk.open("/steer?run=tiny&layer=0&features=1")
    expect(page.locator(".chosen li")).to_have_count(1)
    page.evaluate("localStorage.setItem('cofire-token', 'wrong')")
    page.get_by_role("button", name="Steer", exact=True).click()
    expect(page.locator(".work [role=alert]")).to_contain_text("token")


def test_without_a_model_reading_works_and_steering_says_why(stored: Run, browser: Browser) -> None:
    with serving([stored.path], model=False) as server:
        for visit in visiting(browser, server, "desktop"):
            page = visit.open("/steer?features=1")
            expect(page.get_by_role("alert").first).to_contain_text("--no-model")
            expect(page.get_by_role("button", name="Steer", exact=True)).to_be_disabled()
            page = visit.open("/test")
            expect(page.get_by_role("button", name="Read")).to_be_disabled()
            page = visit.open("/runs/tiny/0/features/1")
            expect(page.locator("#detail")).to_have_attribute("aria-label", "Feature 1")
