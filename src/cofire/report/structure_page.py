"""What the pages of core, reuse and flow have in common."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from cofire.report import facts as run_facts
from cofire.report.embedding import content_policy, stylesheet
from cofire.report.templating import page_templates
from cofire.store import Run
from cofire.store.archive import write_atomically
from cofire.store.structure_file import StructureFile

_STYLES = ("base.css", "overview.css", "structure.css")


def write_structure_page(
    run: Run, file: StructureFile, template: str, *, facts: dict[str, str], **values: Any
) -> Path:
    """Write a page beside a result's JSON file: one HTML file, without script or network.

    Args:
        run: what the result is about.
        file: the result.
        template: of the page.
        facts: shown at its top.
        values: what else the template needs.

    Raises:
        StoreError: when the file cannot be written.
    """
    style = stylesheet(*_STYLES)
    page = (
        page_templates()
        .get_template(template)
        .render(
            policy=Markup(content_policy(style)),
            style=style,
            model=run_facts.model_name(run.manifest),
            kind=file.record["kind"],
            facts=facts,
            licences=run_facts.licence_notes(run.manifest),
            version=run.manifest.get("cofire_version"),
            **values,
        )
    )
    output = file.path.with_suffix(".html")
    write_atomically(output, lambda path: path.write_bytes(page.encode("utf-8")))
    return output
