"""How fast the explorer's pages are in a real Chromium, with thousands of features.

First useful paint: from the start of the navigation to the frame in which the list and a feature's
contexts (or the table of layers) stand on the page, in a browser with an empty cache. Interactions:
from the time stamp of a real key or click to the end of the frame that shows its result. Part of
``explorer.py --pages``; alone, it serves a folder that was made before:

    python benchmarks/explorer.py --folder runs/synthetic --keep --pages
    python benchmarks/explorer_pages.py runs/synthetic
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from cofire.store import Run

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
_LIST = "document.querySelectorAll('.row[id]').length > 5"
_CONTEXTS = "document.querySelectorAll('#detail .context').length > 5"

# When a condition first holds in a frame, and when that frame has been drawn.
_WATCH = """
(() => {
  window.shown = (condition) =>
    new Promise((resolve) => {
      const look = () =>
        requestAnimationFrame(() => {
          if (!condition()) return look();
          const channel = new MessageChannel();
          channel.port1.onmessage = () => resolve(performance.now());
          channel.port2.postMessage(null);
        });
      look();
    });
  window.arm = (condition) => {
    let began = null;
    for (const kind of ["keydown", "pointerdown", "change", "wheel"]) {
      const note = (event) => (began ??= event.timeStamp);
      addEventListener(kind, note, { capture: true, once: true });
    }
    const ready = () => began !== null && condition();
    window.taken = Promise.race([
      window.shown(ready).then((end) => end - began),
      new Promise((give) => setTimeout(give, 5000, null)),
    ]);
  };
})();
"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """``cofire serve`` on a folder: its address and token."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cofire", "serve", str(folder), "--port", "0", "--no-model"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = "" if process.stdout is None else process.stdout.readline()
        found = re.search(r"(http://\S+)/#token=(\S+)", line)
        if found is None:
            raise SystemExit(f"The server did not start: {line}")
        yield found[1], found[2]
    finally:
        process.terminate()
        process.wait(30)


def first_paints(browser: Browser, base: str, place: str, repeats: int) -> dict[str, Any]:
    """Seconds to the first useful paint of some pages, each in a fresh browser."""
    pages = {
        "overview": (place, "document.querySelectorAll('.layers tbody tr').length > 0"),
        "list and first feature": (f"{place}/11/features", f"{_LIST} && {_CONTEXTS}"),
        "a feature by its link": (
            f"{place}/11/features/1234?sort=auroc",
            f"{_LIST} && {_CONTEXTS}",
        ),
        "two features compared": (
            f"/compare?a={place.removeprefix('/runs/')}/11/5&b={place.removeprefix('/runs/')}/11/6",
            "document.querySelectorAll('.side .context').length > 10",
        ),
    }
    figures: dict[str, Any] = {}
    for name, (path, condition) in pages.items():
        useful, contentful = [], []
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            page.add_init_script(f"{_WATCH}; window.useful = shown(() => {condition});")
            page.goto(f"{base}{path}", wait_until="commit")
            useful.append(page.evaluate("window.useful") / 1000)
            paints = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
            contentful.append(page.evaluate(paints) / 1000)
            context.close()
        figures[name] = {**_summary(useful), "first contentful paint": _median(contentful)}
        print(f"{name}: {figures[name]}", file=sys.stderr)
    return figures


def interactions(browser: Browser, base: str, place: str, repeats: int) -> dict[str, Any]:
    """Seconds from a key or click to the frame that shows its result."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(_WATCH)
    list_of = f"{base}{place}/11/features"
    figures = {}
    for name, (start, act, condition) in _actions().items():
        seconds = []
        for i in range(repeats + 1):
            page.goto(f"{list_of}{start}")
            page.wait_for_selector(".row[id]")
            page.wait_for_selector("#detail .context")
            page.wait_for_load_state("networkidle")
            page.evaluate(f"window.arm(() => {condition})")
            act(page)
            taken = page.evaluate("window.taken")
            if taken is None:  # not shown within five seconds: missing, not slow
                break
            if i:  # the first one warms up
                seconds.append(taken / 1000)
        figures[name] = _summary(seconds) if len(seconds) == repeats else None
        print(f"{name}: {figures[name]}", file=sys.stderr)
    context.close()
    return figures


def _actions() -> dict[str, tuple[str, Callable[[Page], object], str]]:
    """Where an interaction begins, what is done, and what the page shows when it is done."""
    detail = "document.querySelector('#detail').getAttribute('aria-label')"
    count = "document.querySelector('#count').textContent"
    first = "document.querySelector('.row').id"
    return {
        "next feature (key)": (
            "/100",
            lambda p: p.keyboard.press("j"),
            f"{detail} === 'Feature 101'",
        ),
        "next feature (click)": (
            "/100",
            lambda p: p.get_by_role("button", name="next feature").click(),
            f"{detail} === 'Feature 101'",
        ),
        "a feature of the list (click)": (
            "",
            lambda p: p.locator("#row-3").click(),
            f"{detail} === 'Feature 3'",
        ),
        "end of the list (key)": (
            "",
            lambda p: p.locator("#rows").press("End"),
            "document.querySelector('#row-3999') !== null",
        ),
        "sort by density": (
            "",
            lambda p: p.locator("#sort").select_option("density"),
            f"{first} !== 'row-0'",
        ),
        "turn the order round": (
            "",
            lambda p: p.locator("#direction").click(),
            "document.querySelector('.row').id === 'row-3999'",
        ),
        "a letter in the search (key)": (
            "",
            lambda p: (p.locator("#search").focus(), p.keyboard.press("b")),
            f"{count}.includes(' of ')",
        ),
        "filter by concept": (
            "",
            lambda p: p.locator("#concept").select_option("concept 7"),
            f"{count}.includes(' of ')",
        ),
        "filter by health": (
            "",
            lambda p: p.locator("#flag").select_option("none"),
            "location.search.includes('flag=none') && !document.querySelector('#clear').hidden",
        ),
        "weaker contexts (tab)": (
            "/100",
            lambda p: p.get_by_role("tab", name="50%").click(),
            "document.querySelectorAll('#detail .context').length < 5",
        ),
        "more of a context": (
            "/100",
            lambda p: p.get_by_role("button", name="more of this text").first.click(),
            "document.querySelector('#detail .context .text').textContent.length > 180",
        ),
        "theme": (
            "/100",
            lambda p: p.locator("#theme-button").click(),
            "document.documentElement.dataset.theme !== undefined",
        ),
        "to the overview": (
            "/100",
            lambda p: p.get_by_role("link", name="Overview").click(),
            "document.querySelectorAll('.layers tbody tr').length > 0",
        ),
    }


def _summary(seconds: list[float]) -> dict[str, float]:
    return {
        "median": _median(seconds),
        "fastest": round(min(seconds), 4),
        "slowest": round(max(seconds), 4),
    }


def _median(seconds: list[float]) -> float:
    return round(statistics.median(seconds), 4)


def measure_pages(folder: Path, *, repeats: int = 7) -> dict[str, Any]:
    """Serve a folder and time its pages.

    Args:
        folder: a run of layer 11 with 4,000 features, as ``explorer.synthetic_run`` makes it.
        repeats: of every page and interaction.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with served(folder) as (base, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        place = f"/runs/{folder.name}"
        time.sleep(8)  # the server reads ahead what the first pages need
        figures = {
            "browser": f"Chromium {browser.version}",
            "cores": os.cpu_count(),
            "load average before": round(os.getloadavg()[0], 2),
            "seconds to first useful paint": first_paints(browser, base, place, repeats),
            "seconds of an interaction": interactions(browser, base, place, repeats),
            "load average after": round(os.getloadavg()[0], 2),
        }
        browser.close()
    return figures


def main() -> None:
    """Measure a folder that was made before, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    wanted = parser.parse_args()
    if not Run.present(wanted.folder):
        raise SystemExit(f"{wanted.folder} is no run; explorer.py --folder makes one.")
    print(json.dumps(measure_pages(wanted.folder, repeats=wanted.repeats), indent=2))


if __name__ == "__main__":
    main()
