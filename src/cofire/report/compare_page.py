"""The page of a comparison: methods side by side, with intervals and tests, as one HTML file."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from cofire.evaluation.grid import GridCell
from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.report import facts
from cofire.report.charts import HEIGHT, WIDTH
from cofire.report.compare_charts import along, forests
from cofire.report.compare_tables import (
    TEST_HEAD,
    THEMES,
    CompareTables,
    markdown_tables,
    measure_title,
    shown,
    significant,
    test_row,
)
from cofire.report.embedding import content_policy, stylesheet
from cofire.report.templating import page_templates
from cofire.site import Site
from cofire.store import CompareFolder
from cofire.store.archive import write_atomically
from cofire.store.compare_folder import CellFolder

PAGE, TABLES = "compare.html", "tables.md"

_STYLES = ("base.css", "overview.css", "path.css", "compare.css")


def write_compare_page(folder: CompareFolder, output: Path | None = None) -> Path:
    """Write the page of a comparison, without script, and its tables as Markdown.

    Args:
        folder: a comparison with results.
        output: the page; ``compare.html`` in the folder when None.

    Raises:
        StoreError: when there are no results, or a file cannot be written.
    """
    tables = CompareTables.read(folder)
    output = folder.path / PAGE if output is None else output
    page = render_compare_page(folder, tables)
    write_atomically(output, lambda path: path.write_bytes(page.encode("utf-8")))
    folder.write_text(TABLES, markdown_tables(tables))
    return output


def render_compare_page(folder: CompareFolder, tables: CompareTables) -> str:
    """The page as HTML text; see ``write_compare_page``."""
    manifest = folder.manifest
    style = stylesheet(*_STYLES)
    cells = folder.cells
    sites = list(dict.fromkeys(cell.site for cell in cells))
    states = [(cell, folder.cell(cell)) for cell in cells]
    failed = [(cell.name, own.failure) for cell, own in states if own.failure is not None]
    begun = sum(own.has("measure") for _, own in states)
    return (
        page_templates()
        .get_template("compare.html.j2")
        .render(
            policy=Markup(content_policy(style)),
            style=style,
            model=facts.model_name(manifest),
            where=facts.site_words(sites),
            layers=tables.layers,
            facts=_facts(folder, tables, states, sites),
            licences=facts.licence_notes(manifest),
            failed=failed,
            unfinished=len(cells) - begun - len(failed),
            themes=[_theme(tables, theme, manifest.get("vary")) for theme in THEMES],
            lines=tables.lines,
            reference=tables.reference,
            test_head=TEST_HEAD,
            tests=[
                (test_row(test), significant(test["corrected_p_value"])) for test in tables.tests
            ],
            measures=[one for name, one in GRID_MEASURES.items() if _has(tables, name)],
            chart_size=(WIDTH, HEIGHT),
            settings=facts.settings(manifest),
            environment=facts.environment(manifest),
            version=manifest.get("cofire_version"),
        )
    )


def _theme(tables: CompareTables, theme: Any, vary: str | None) -> dict[str, Any]:
    measures = tables.measured(theme)
    drawn = [one for one in theme.drawn if one in measures]
    curves = [] if vary is None else [along(tables, one, vary) for one in drawn]
    varied = [curve for curve in curves if curve is not None]
    return {
        "title": theme.title,
        "words": theme.words,
        "heads": [(measure_title(one), GRID_MEASURES[one[0]].words) for one in measures],
        "rows": [
            (line, [_cell(line.figures.get(one)) for one in measures]) for line in tables.lines
        ],
        "curves": varied,
        "forests": []
        if varied
        else [(measure_title(one), charts) for one in drawn if (charts := forests(tables, one))],
        "there": bool(measures),
    }


def _cell(row: Any) -> tuple[str, str]:
    """A figure as it is shown, and what there is to say of it."""
    note = "not measured" if row is None else row["note"]
    return shown(row), str(note or "")


def _has(tables: CompareTables, measure: str) -> bool:
    return any(name == measure for line in tables.lines for name, _ in line.figures)


def _asked(states: list[tuple[GridCell, CellFolder]]) -> dict[str, str]:
    """Who judged, named and wrote, and how many answers are missing."""
    noted = [own.figures(stage) for _, own in states for stage in own.drawn_stages]
    found = {}
    for fact, by, total, missing, things in (
        ("Judge", "judge", "texts", "not_judged", "continuations without a score"),
        ("Labels by", "labels_by", "labels", "labels_missing", "labels missing"),
        ("Sentences by", "written_by", "sentences", "sentences_missing", "sentences missing"),
    ):
        records = [one for one in noted if one.get(by) is not None]
        if not records:
            continue
        found[fact] = ", ".join(dict.fromkeys(str(one[by]) for one in records))
        counted = [one for one in records if one.get(missing) is not None]
        if counted:
            lacking = sum(one[missing] for one in counted)
            asked = sum(one[total] for one in counted)
            asked += lacking if by == "written_by" else 0
            found[fact] += f", {lacking:,} of {asked:,} {things}"
    return found


def _facts(
    folder: CompareFolder,
    tables: CompareTables,
    states: list[tuple[GridCell, CellFolder]],
    sites: list[Site],
) -> dict[str, str]:
    manifest = folder.manifest
    cells = folder.cells
    made = {
        "Where": facts.site_words(sites),
        "Layers": ", ".join(map(str, tables.layers)),
        "Texts": str(manifest.get("corpus", {}).get("texts", "")),
        "Methods": ", ".join(dict.fromkeys(cell.variant for cell in cells)),
        "Features": ", ".join(
            str(k) for k in dict.fromkeys(c.n_components for c in cells) if k is not None
        ),
        "Seeds": str(max((line.seeds for line in tables.lines), default=0)),
        "Compared with": tables.reference,
        "Protocol": str(manifest["config"].get("protocol", "")),
        **_asked(states),
        "Made": str(manifest.get("created") or "")[:10],
    }
    return {name: fact for name, fact in made.items() if fact}
