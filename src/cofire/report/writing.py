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
from cofire.store import Run
from cofire.store.archive import write_atomically
from cofire.store.tree_parts import stored_trees
from cofire.structure.tree_drawing import STYLE

REPORT = "report.html"

_logger = logging.getLogger(__name__)


def write_report(run: Run, output: Path | None = None) -> Path:
    """Write everything there is to read in a run as one HTML file.

    The file needs no network and no other file, and the same run gives the same bytes. Layers that
    are not finished are named and left out.

    Args:
        run: a run with at least one finished layer.
        output: the file; ``report.html`` in the run's folder when None.

    Returns:
        The file.

    Raises:
        StoreError: when no layer is finished, a part of the run is damaged, or the file cannot be
            written.
    """
    if not run.sites:
        raise StoreError(f"{run.path} has no finished layer yet; run its fit command again.")
    output = run.path / REPORT if output is None else output
    page = render_report(run)
    write_atomically(output, lambda path: path.write_bytes(page.encode("utf-8")))
    _logger.info("Wrote %s, %.1f MB.", output, len(page) / 1e6)
    return output


def render_report(run: Run) -> str:
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
                _layer(layer, row, run.objective(layer.site), sites)
                for layer, row in zip(layers, figures, strict=True)
            ],
            trees=trees,
            chart_size=(WIDTH, HEIGHT),
        )
    )


def _layer(
    features: FeatureSet,
    figures: LayerFigures,
    objective: Sequence[Mapping[str, Any]],
    sites: Sequence[Site],
) -> dict[str, Any]:
    """What the template needs of one layer."""
    counts = sure_counts(features)
    names = concept_names(features)
    return {
        "id": f"{features.site.layer}-{features.site.kind}",
        "site": features.site,
        "title": facts.site_title(features.site, sites),
        "figures": figures,
        "curve": objective_curve(objective),
        "aurocs": auroc_histogram([heldout_auroc(feature) for feature in features], SURE_AUROC),
        "densities": density_histogram([feature.density for feature in features]),
        "counts": counts,
        "uncovered": [name for name in names if name not in counts],
        "data": embed_json(layer_payload(features)),
    }
