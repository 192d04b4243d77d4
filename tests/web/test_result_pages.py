"""Pages of what other commands stored, held against what those commands say themselves."""

import json
import shutil
from pathlib import Path

import pytest
from asking import Server, serving
from open_pages import PageVisit
from playwright.sync_api import expect
from stored_results import STEERED, TREE

from cofire.store import CompareFolder, Run
from cofire.store.structure_file import stored as structure_files
from cofire.store.tree_parts import StoredTree, stored_trees
from cofire.store.weights_folder import WeightsFolder

TREE_RESULT = f"tiny~blocks.0.mlp.hook_post~{TREE}"


@pytest.fixture(scope="module")
def results(studied: Run, alone: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The run and the lone results, served without a model."""
    copy = shutil.copytree(studied.path, tmp_path_factory.mktemp("results") / "tiny")
    with serving([copy, *alone], model=False) as found:
        yield found


@pytest.fixture(scope="module")
def tree(studied: Run) -> StoredTree:
    """The one tree of the first layer."""
    (found,) = stored_trees(studied, studied.sites[0])
    return found


def parts_of(run: Run, kind: str) -> dict:
    return structure_files(run, kind)[0].record["parts"]


def half_of(alone: list[Path], name: str) -> Path:
    return next(folder for folder in alone if folder.name == name)


def test_a_tree_is_told_with_its_parents(results: Server, tree: StoredTree):
    (card,) = results.ask("/tree.json").json["results"]
    assert (card["result"], card["run"]) == (TREE_RESULT, "tiny")
    content = results.ask(f"/results/tree/{TREE_RESULT}/{TREE}.json").json["content"]
    for told, level in zip(content["levels"], tree.tree().levels, strict=True):
        assert [(n["index"], n["parent"]) for n in told] == [(n.index, n.parent) for n in level]
    assert [level["features"] for level in content["figures"]] == [8, 4, 2]
    assert len(content["scores"]) == len(tree.scores)


def test_a_feature_says_where_it_hangs(results: Server, tree: StoredTree):
    whole = tree.tree()
    for index, leaf in enumerate(whole.levels[0]):
        (place,) = results.ask(f"/runs/tiny/0/features/{index}.json").json["trees"]
        above = whole.path(leaf)
        assert [(one["level"], one["feature"]) for one in place["above"]] == [
            (node.level, node.index) for node in above
        ]
        beside = [n.index for n in whole.children(above[0]) if n != leaf] if above else []
        assert [one["feature"] for one in place["siblings"]] == beside
        assert place["n_siblings"] == len(beside)
    assert results.ask("/runs/tiny/2/features/0.json").json["trees"] == []


def test_a_tree_of_other_features_or_without_factors_says_so(studied: Run, tmp_path: Path):
    run = Path(shutil.copytree(studied.path, tmp_path / "tiny"))
    with serving([run], model=False) as server:
        place = f"/results/tree/{TREE_RESULT}/{TREE}.json"
        assert server.ask(place).status == 200
        manifest = run / "manifest.json"
        kept = manifest.read_text()
        other = json.loads(kept)
        other["parts"]["blocks.0.mlp.hook_post/dictionary.safetensors"]["sha256"] = "another"
        manifest.write_text(json.dumps(other))
        answer = server.ask(place)
        assert answer.status == 409
        assert "other features" in answer.json["error"]
        manifest.write_text(kept)
        (run / "trees" / "blocks.0.mlp.hook_post" / f"{TREE}.safetensors").unlink()
        answer = server.ask(place)
        assert answer.status == 409
        assert "damaged" in answer.json["error"]
        assert server.ask("/runs/tiny/0/features/1.json").json["trees"] == []


def test_weights_that_are_half_done_are_shown_as_far_as_they_are(
    results: Server, alone: list[Path]
):
    half = WeightsFolder.open(half_of(alone, "weights-half"))
    done, wanted = len(half.finished), len(half.wanted)
    assert 0 < done < wanted
    cards = {card["result"]: card for card in results.ask("/weights.json").json["results"]}
    assert cards["weights"]["finished"] == {"of": "matrices", "done": wanted, "wanted": wanted}
    assert cards["weights-half"]["finished"]["done"] == done
    heads = results.ask("/results/weights/weights-half/heads.json").json
    assert [(row["layer"], row["head"]) for row in heads["rows"]] == half.finished
    whole = results.ask("/results/weights/weights/heads.json").json
    assert [row["copying"] for row in whole["rows"][:done]] == [r["copying"] for r in heads["rows"]]


def test_a_comparison_that_is_half_done_is_read_and_left_as_it_is(
    results: Server, alone: list[Path]
):
    folder = half_of(alone, "compared-half")
    before = sorted(folder.rglob("*"))
    cells = results.ask("/results/comparisons/compared-half/cells.json").json["rows"]
    assert len(cells) == len(CompareFolder.open(folder).cells)
    assert [cell["fitted"] for cell in cells].count(True) == 1
    (failed,) = [cell["failed"] for cell in cells if cell["failed"] is not None]
    assert "nothing to factorise" in failed
    assert sorted(folder.rglob("*")) == before


def test_results_of_their_own_need_no_run(alone: list[Path]):
    with serving([half_of(alone, "weights-half"), half_of(alone, "compared")]) as server:
        found = server.ask("/index.json").json
        assert found["runs"] == []
        assert [(one["page"], one["result"]) for one in found["results"]] == [
            ("weights", "weights-half"),
            ("comparisons", "compared"),
        ]


@pytest.mark.browser
def test_the_tree_opens_searches_and_leads_to_features(desk: PageVisit, tree: StoredTree) -> None:
    page = desk.open("/tree?run=tiny&layer=0")
    whole = tree.tree()
    nodes = page.locator("[role=treeitem]")
    expect(nodes).to_have_count(len(list(whole)))
    page.get_by_role("button", name="Close all").click()
    expect(page.locator("[role=tree] > [role=treeitem]")).to_have_count(len(whole.tops))
    inner = next(node for node in whole.tops if node.level > 0 and whole.leaves(node))
    leaf = whole.leaves(inner)[0]
    page.get_by_role("button", name="Open all").click()
    page.get_by_role("treeitem").locator(f"a[href$='/features/{leaf}']").click()
    detail = page.locator("#detail")
    expect(detail).to_have_attribute("aria-label", f"Feature {leaf}")
    place = detail.locator(".tree-place")
    expect(place).to_contain_text("In the tree")
    place.get_by_role("link", name=TREE).click()
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    expect(page.locator("[aria-selected=true] a").first).to_contain_text(str(leaf))


@pytest.mark.browser
def test_the_tree_is_moved_through_by_keys(desk: PageVisit) -> None:
    page = desk.open("/tree?run=tiny&layer=0")
    page.get_by_role("button", name="Close all").click()
    page.locator("[role=treeitem]").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[role=treeitem]").first).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[role=treeitem] [role=treeitem]").first).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[role=treeitem]").first).to_have_attribute("aria-expanded", "false")


@pytest.mark.browser
def test_overlaps_show_every_pair_and_the_reuse_of_the_layer(desk: PageVisit, studied: Run) -> None:
    page = desk.open("/core?run=tiny&layer=0")
    sharing = next(
        file.record["parts"]["sharing"]
        for file in structure_files(studied, "core")
        if file.record["settings"]["site"].startswith("blocks.0.")
    )
    page.get_by_label("Show").select_option("shared")
    cells = page.get_by_role("region", name="Shared neurons").locator("td a, tbody td")
    shown = [text for text in cells.all_inner_texts() if text]
    assert {int(text) for text in shown} == {n for row in sharing["overlap"]["shared"] for n in row}
    core = page.locator("section", has_text="Core neurons").locator("tbody tr")
    expect(core).to_have_count(len(sharing["core"]))
    expect(page.locator("main")).to_contain_text("Reuse of neurons in layer 0")
    expect(page.locator("main")).to_contain_text("modularity of the best partition")
    page.get_by_label("Result").select_option(label="Layer 2: 0-2")
    expect(page.locator("main")).to_contain_text("Reuse of neurons in layer 2")
    expect(page.locator("main")).to_contain_text("of 2 features (50%)")


@pytest.mark.browser
def test_the_flow_draws_every_link_and_shows_those_of_a_feature(
    desk: PageVisit, studied: Run
) -> None:
    (step,) = parts_of(studied, "flow")["flow"]["steps"]
    assert step["links"]
    page = desk.open("/flow?run=tiny")
    expect(page.locator(".ribbon")).to_have_count(len(step["links"]))
    link = step["links"][0]
    own = [one for one in step["links"] if one["lower"] == link["lower"]]
    page.locator(f".node[aria-label^='layer 0, feature {link['lower']}:']").click()
    expect(page.locator(".flow-detail li")).to_have_count(len(own))
    for fate in ("persists", "dies"):
        count = step["fates"].count(fate)
        expect(page.locator(".versus tbody tr").first).to_contain_text(f"{count}")


@pytest.mark.browser
def test_a_head_is_chosen_in_the_table_of_all(desk: PageVisit, alone: list[Path]) -> None:
    head = WeightsFolder.open(half_of(alone, "weights")).heads()[-1]
    page = desk.open("/weights?result=weights")
    page.locator(f".heatmap a[href*='matrix={head.layer}-{head.head}']").click()
    chosen = page.get_by_label("Matrix")
    expect(chosen).to_have_value(f"{head.layer}-{head.head}")
    expect(page.locator("main")).to_contain_text(head.verdict.patterns[0].because)
    for method in ("ica", "nmf"):
        page.get_by_label("Components of").select_option(method)
        expect(page.locator(".components tbody tr")).to_have_count(len(head.of_method(method)))
    page.reload()
    expect(page.get_by_label("Matrix")).to_have_value(f"{head.layer}-{head.head}")


@pytest.mark.browser
def test_what_a_head_does_on_text_stands_on_its_page(desk: PageVisit, alone: list[Path]) -> None:
    head = WeightsFolder.open(half_of(alone, "weights")).heads()[0]
    assert head.on_texts is not None
    page = desk.open(f"/weights?result=weights&matrix={head.layer}-{head.head}")
    section = page.locator(".on-text")
    expect(section).to_contain_text(f"{head.on_texts.tokens} tokens of {head.on_texts.texts} texts")
    shown = section.locator(".looks li")
    expect(shown).to_have_count(len(head.on_texts.examples))
    expect(shown.first).to_contain_text(head.on_texts.examples[0].text)
    expect(shown.first.locator(".pair")).to_have_count(len(head.on_texts.examples[0].looks))
    page.get_by_label("Figure").select_option("text_previous")
    expect(page.locator(".heatmap caption")).to_contain_text("text_previous")
    older = desk.open("/weights?result=weights-half")
    expect(older.locator("main")).to_contain_text("Not measured: run the command")


@pytest.mark.browser
def test_steering_of_a_feature_stands_on_its_page(desk: PageVisit) -> None:
    page = desk.open(f"/runs/tiny/0/features/{STEERED}")
    detail = page.locator("#detail")
    expect(detail).to_have_attribute("aria-label", f"Feature {STEERED}")
    expect(detail).to_contain_text("How it steers")
    expect(detail.get_by_role("region", name="Steering, strength by strength")).to_contain_text(
        "0.25"
    )
    detail.get_by_text("Continuations (").click()
    expect(detail.locator(".continuations li").first).to_contain_text("is <b>Monday</b>")
