"""The page of a path: an elbow plot, the suggestion for k, and the figures of every point."""

from pathlib import Path

from markupsafe import Markup

from cofire.errors import StoreError
from cofire.evaluation.path_points import SURVIVING_COSINE, PathPoint
from cofire.report import facts
from cofire.report.charts import HEIGHT, WIDTH
from cofire.report.embedding import content_policy, stylesheet
from cofire.report.path_charts import Lines, lines
from cofire.report.templating import page_templates
from cofire.store import PathFolder
from cofire.store.archive import write_atomically

PAGE = "path.html"

_STYLES = ("base.css", "overview.css", "path.css")


def write_path_page(folder: PathFolder, output: Path | None = None) -> Path:
    """Write the page of a path as one HTML file, without script, that needs no network.

    Args:
        folder: a path with at least one finished point.
        output: the file; ``path.html`` in the folder when None.

    Raises:
        StoreError: when no point is finished, or the file cannot be written.
    """
    if not folder.points:
        raise StoreError(f"{folder.path} has no finished point yet; run its path command again.")
    output = folder.path / PAGE if output is None else output
    page = render_path_page(folder)
    write_atomically(output, lambda path: path.write_bytes(page.encode("utf-8")))
    return output


def render_path_page(folder: PathFolder) -> str:
    """The page as HTML text; see ``write_path_page``."""
    manifest = folder.manifest
    points, suggestion = folder.points, folder.suggestion
    style = stylesheet(*_STYLES)
    config = manifest["config"]
    return (
        page_templates()
        .get_template("path.html.j2")
        .render(
            policy=Markup(content_policy(style)),
            style=style,
            model=facts.model_name(manifest),
            where=facts.site_words([folder.site]),
            site=folder.site,
            varies=folder.varies,
            points=points,
            unfinished=len(folder.steps) - len(points),
            suggestion=suggestion,
            charts=_charts(folder, points, None if suggestion is None else suggestion.knee),
            chart_size=(WIDTH, HEIGHT),
            facts=_facts(folder),
            settings=facts.settings(manifest),
            environment=facts.environment(manifest),
            licences=facts.licence_notes(manifest),
            surviving=SURVIVING_COSINE,
            several_seeds=config.get("seeds", 1) > 1,
            version=manifest.get("cofire_version"),
        )
    )


def _facts(folder: PathFolder) -> dict[str, str]:
    manifest, steps = folder.manifest, folder.steps
    config = manifest["config"]
    made = {
        "Where": facts.site_words([folder.site]),
        "Layer": str(folder.site.layer),
        "Texts": str(manifest.get("corpus", {}).get("texts", "")),
        "Sparsity" if folder.varies == "n_components" else "Features": (
            f"{100 * steps[0].sparsity:.3g}%"
            if folder.varies == "n_components"
            else str(steps[0].n_components)
        ),
        "Starts": "every point anew" if config.get("cold") else "at the neighbour's features",
        "Seeds": str(config.get("seeds", 1)),
        "Made": str(manifest.get("created") or "")[:10],
    }
    return {name: fact for name, fact in made.items() if fact}


def _charts(folder: PathFolder, points: list[PathPoint], knee: int | None) -> list[Lines]:
    varies = folder.varies
    losses = [
        ("held-out texts", [p.loss_heldout for p in points]),
        ("training texts", [p.loss_train for p in points]),
    ]
    whole = all(p.loss_heldout is not None for p in points)
    drawn = [
        lines(
            "Relative loss",
            "‖X − CD‖² / ‖X‖²",
            losses if whole else losses[::-1],
            points,
            varies=varies,
            chord=knee is not None,
            marked=knee,
        ),
        lines(
            "Agreement of features",
            "mean matched cosine",
            [
                ("with the neighbour’s features", [p.agreement for p in points]),
                ("between seeds", [p.seed_agreement for p in points]),
            ],
            points,
            varies=varies,
        ),
        lines(
            "Concepts covered",
            "concepts",
            [("concepts that some feature surely selects", [p.concepts for p in points])],
            points,
            varies=varies,
            counts=True,
        ),
        lines(
            "Features active a token",
            "features",
            [("features active a token", [p.active for p in points])],
            points,
            varies=varies,
            counts=True,
        ),
        lines(
            "Features in poor health",
            "features",
            [
                ("dead", [p.dead for p in points]),
                ("duplicate", [p.duplicate for p in points]),
            ],
            points,
            varies=varies,
            counts=True,
        )
        if any(p.dead or p.duplicate for p in points)
        else None,
        lines(
            "Time of a fit",
            "seconds",
            [("seconds of a fit", [p.seconds for p in points])],
            points,
            varies=varies,
            counts=True,
        ),
    ]
    return [chart for chart in drawn if chart is not None]
