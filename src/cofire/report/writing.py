"""Write the report of a run."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cofire.errors import StoreError
from cofire.interpret.concepts import SURE_AUROC
from cofire.interpret.reading import FeatureSet
from cofire.report import facts
from cofire.report.charts import (
    HEIGHT,
    WIDTH,
    auroc_histogram,
    density_histogram,
    objective_curve,
)
from cofire.report.compare_tables import THEMES, CompareTables, measure_title, shown
from cofire.report.core_page import core_sections
from cofire.report.embedding import content_policy, embed_json, script, stylesheet
from cofire.report.figures import (
    LayerFigures,
    concept_grid,
    concept_names,
    heldout_auroc,
    layer_figures,
    sure_counts,
)
from cofire.report.payload import layer_payload
from cofire.report.templating import page_templates
from cofire.report.tree_page import tree_values
from cofire.site import Site
from cofire.store import CompareFolder, Run
from cofire.store.archive import write_atomically
from cofire.store.diagnosing import diagnose_run
from cofire.store.judged import judged_features
from cofire.store.tree_parts import stored_trees
from cofire.structure.tree_drawing import STYLE

REPORT = "report.html"

PROBLEM_WORDS = {
    "dead": "Never active",
    "collapsed": "The same as another",
    "non-causal": "Do not steer the model",
    "negative-detection": "Fire less where their concept is",
}
"""Problems of features as the page calls them."""

_logger = logging.getLogger(__name__)


def write_report(
    run: Run, output: Path | None = None, *, comparison: CompareFolder | None = None
) -> Path:
    """Write everything there is to read in a run as one HTML file.

    The file needs no network and no other file, and the same run gives the same bytes. Layers that
    are not finished are named and left out.

    Args:
        run: a run with at least one finished layer.
        output: the file; ``report.html`` in the run's folder when None.
        comparison: of the same model; its figures at the run's layers are put into the report.

    Returns:
        The file.

    Raises:
        StoreError: when no layer is finished, a part of the run is damaged, the file cannot be
            written, or the comparison is of another model or other layers.
    """
    if not run.sites:
        raise StoreError(f"{run.path} has no finished layer yet; run its fit command again.")
    output = run.path / REPORT if output is None else output
    page = render_report(run, comparison)
    write_atomically(output, lambda path: path.write_bytes(page.encode("utf-8")))
    _logger.info("Wrote %s, %.1f MB.", output, len(page) / 1e6)
    return output


def render_report(run: Run, comparison: CompareFolder | None = None) -> str:
    """The report of a run as HTML text; see ``write_report``."""
    sites = run.sites
    manifest = run.manifest
    layers = [run.features(site) for site in sites]
    figures = layer_figures(run)
    trees = [tree_values(stored) for stored in stored_trees(run)]
    style, code = Markup(f"{stylesheet()}\n{STYLE}" if trees else stylesheet()), script()
    return (
        page_templates()
        .get_template("report.html.j2")
        .render(
            policy=Markup(content_policy(style, code)),
            style=style,
            script=code,
            model=facts.model_name(manifest),
            where=facts.site_words(sites),
            facts=facts.header_facts(manifest, sites),
            source=facts.method_source(manifest),
            licences=facts.licence_notes(manifest),
            fingerprints=facts.fingerprints(manifest),
            settings=facts.settings(manifest),
            environment=facts.environment(manifest),
            version=manifest.get("cofire_version"),
            created=str(manifest.get("created") or "")[:10],
            unfinished=[facts.site_title(site, run.unfinished + sites) for site in run.unfinished],
            signed=any(run.dictionary(site).encoder == "linear" for site in sites),
            figures=figures,
            n_features=sum(len(layer) for layer in layers),
            good_auroc=SURE_AUROC,
            grid=concept_grid(layers) if len(layers) > 1 else [],
            layers=[
                _layer(run, layer, row, sites) | {"findings": diagnosis.findings}
                for layer, row, diagnosis in zip(
                    layers, figures, diagnose_run(run, name=run.path.name), strict=True
                )
            ],
            problem_words=PROBLEM_WORDS,
            compared=[] if comparison is None else _compared(run, comparison),
            reference=None if comparison is None else comparison.manifest.get("reference"),
            trees=trees,
            cores=core_sections(run),
            chart_size=(WIDTH, HEIGHT),
        )
    )


def _compared(run: Run, comparison: CompareFolder) -> list[dict[str, Any]]:
    """The comparison's headline figures at the run's sites, a table a theme."""
    models = (comparison.manifest.get("model"), run.manifest.get("model"))
    prints = [one.get("fingerprint") if isinstance(one, Mapping) else None for one in models]
    shared = {cell.site for cell in comparison.cells} & set(run.sites)
    if prints[0] != prints[1] or not shared:
        what = "no layer of this run" if prints[0] == prints[1] else "another model"
        raise StoreError(
            f"The comparison {comparison.path} is of {what}; give one of the same model and layers."
        )
    tables = CompareTables.read(comparison)
    layers = {site.layer for site in shared}
    lines = [line for line in tables.lines if line.axes[1] in layers]
    return [
        {
            "title": theme.title,
            "words": theme.words,
            "heads": [measure_title(one) for one in measures],
            "rows": [(line, [shown(line.figures.get(one)) for one in measures]) for line in lines],
        }
        for theme in THEMES
        if (measures := [one for one in theme.drawn if one in tables.measured(theme)])
    ]


def _layer(
    run: Run, features: FeatureSet, figures: LayerFigures, sites: Sequence[Site]
) -> dict[str, Any]:
    """What the template needs of one layer."""
    counts = sure_counts(features)
    names = concept_names(features)
    return {
        "id": f"{features.site.layer}-{features.site.kind}",
        "site": features.site,
        "title": facts.site_title(features.site, sites),
        "figures": figures,
        "curve": objective_curve(run.objective(features.site)),
        "aurocs": auroc_histogram([heldout_auroc(feature) for feature in features], SURE_AUROC),
        "densities": density_histogram([feature.density for feature in features]),
        "counts": counts,
        "uncovered": [name for name in names if name not in counts],
        "data": embed_json(layer_payload(features, judged_features(run, features.site))),
    }
