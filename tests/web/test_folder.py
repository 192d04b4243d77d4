"""The pages as a folder on a plain web host: the same pages, without what needs a server."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Server
from open_pages import visiting
from playwright.sync_api import Browser, expect

from cofire.cli import main
from cofire.errors import InputError
from cofire.store import Run
from cofire.web.folder import write_folder


@pytest.fixture(scope="module")
def folder(studied: Run, alone: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real run with results of other commands, and results of their own, as pages."""
    return write_folder([studied.path, *alone], tmp_path_factory.mktemp("exported") / "pages")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[Server]:
    """A web host that knows files and nothing else."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Server(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_folder_answers_as_the_server_does(folder: Path, server: Server) -> None:
    for address in ("runs/tiny/0/features/3", "runs/tiny/2/features/0"):
        kept = json.loads((folder / "data" / f"{address}.json").read_text(encoding="utf-8"))
        asked = server.ask(f"/{address}.json").json
        own = {"stored": {}, "trees": []}  # the folder's run has results of other commands
        assert {**kept, **own} == {**asked, **own}
        assert bool(kept["trees"]) == (address == "runs/tiny/0/features/3")
    listed = json.loads((folder / "data/runs/tiny/0/features.json").read_text(encoding="utf-8"))
    assert [row["feature"] for row in listed["features"]] == list(range(8))


def test_nothing_tells_where_the_run_lay(folder: Path, stored: Run) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert str(stored.path.parent) not in text
        assert str(folder.parent) not in text


@pytest.mark.browser
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_every_page_opens_from_a_plain_host(size: str, host: Server, browser: Browser) -> None:
    pages = {
        "/runs/tiny": "Layers at a glance",
        "/runs/tiny/0/features": "8 features",
        "/runs/tiny/0/features/1": "How it steers",
        "/tree?run=tiny": "Against the nesting",
        "/core?run=tiny": "Core neurons",
        "/flow?run=tiny": "What becomes of them",
        "/weights": "Structure that fits",
        "/weights?result=weights-half": "matrices are done",
        "/comparisons": "Lines are 95% intervals",
        "/comparisons?result=compared-half": "nothing to factorise",
    }
    for visit in visiting(browser, host, size):
        for address, words in pages.items():
            page = visit.open(f"/#{address}")
            expect(page.locator("body")).to_contain_text(words)
            expect(page.get_by_role("link", name="Steer")).to_have_count(0)
            assert visit.fits()
        assert visit.refused == []


@pytest.mark.browser
def test_lists_are_searched_and_sorted_without_a_server(host: Server, browser: Browser) -> None:
    whole = host.ask("/data/runs/tiny/0/features.json").json
    for visit in visiting(browser, host, "desktop"):
        page = visit.open("/#/runs/tiny/0/features")
        expect(page.locator("#count")).to_have_text("8 features")
        page.locator("#sort").select_option("density")
        most = max(whole["features"], key=lambda row: row["measures"]["density"])
        expect(page.locator(".row").first).to_have_attribute("id", f"row-{most['feature']}")
        page.locator("#search").fill(most["label"][:6])
        found = [row for row in whole["features"] if most["label"][:6].lower() in str(row).lower()]
        expect(page.locator(".row")).to_have_count(len(found))
        page.locator(".row").first.click()
        expect(page.locator("#detail h2")).to_have_text(most["label"])
        page.reload()
        expect(page.locator("#detail h2")).to_have_text(most["label"])
        page.go_back()
        expect(page.locator("#search")).to_have_value(most["label"][:6])


def test_the_command_writes_a_folder_twice_but_never_over_something_else(
    stored: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = tmp_path / "pages"
    for _ in range(2):
        assert main(["report", str(stored.path), "--folder", str(pages)]) == 0
        assert capsys.readouterr().out.split()[0] == str(pages.resolve())
    assert (pages / "index.html").is_file()
    assert not (stored.path / "report.html").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    assert main(["report", str(stored.path), "--folder", str(tmp_path / "mine")]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        write_folder([tmp_path / "nothing"], tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
