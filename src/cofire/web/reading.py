"""From what is stored to what is answered, for runs and features."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from cofire.interpret.contexts import Context
from cofire.interpret.reading import Feature
from cofire.interpret.vocabulary import TokenWeight
from cofire.interpret.wording import readable, token_text, visible
from cofire.report.facts import environment, header_facts, licence_notes, method_source, settings
from cofire.store import Run
from cofire.web.layer import LayerGlimpse, ServedLayer
from cofire.web.measures import MEASURES, ordered, passing
from cofire.web.records import (
    CodeHistogram,
    ConceptFigures,
    ConceptScore,
    ContextRecord,
    CurvePoint,
    FeatureList,
    FeaturePage,
    FeatureRow,
    FiringType,
    LayerOverview,
    MeasureRange,
    NeuronWeight,
    Overview,
    RunCard,
    TokenLogit,
)
from cofire.web.relatives import cofirings, places_in_trees, similars
from cofire.web.results import kinds_of_run, lines_of_feature

_LISTED_TOKENS = 5
_RELATIVES_SHOWN = 10

Order = Literal["asc", "desc"]


def overview(
    key: str,
    card: RunCard,
    run: Run,
    layers: Sequence[ServedLayer | LayerGlimpse],
    problems: Sequence[str] = (),
) -> Overview:
    """The first page of a run: the layers that can be read, and why others cannot."""
    return Overview(
        run=key,
        card=card,
        facts=_shown(header_facts(run.manifest, [layer.site for layer in layers])),
        settings=_shown(settings(run.manifest)),
        environment=_shown(environment(run.manifest)),
        source=method_source(run.manifest),
        licences=[readable(note) for note in licence_notes(run.manifest)],
        layers=[layer_overview(layer) for layer in layers],
        problems=list(problems),
        results=kinds_of_run(run.path),
    )


def layer_overview(layer: ServedLayer | LayerGlimpse) -> LayerOverview:
    """What one layer comes to."""
    figures = layer.summary
    return LayerOverview(
        layer=layer.site.layer,
        site=layer.site.name,
        title=layer.title,
        features=figures.n_features,
        variance_train=figures.variance_train,
        variance_heldout=figures.variance_heldout,
        loss_train=figures.loss_train,
        loss_heldout=figures.loss_heldout,
        active=figures.active,
        dead=figures.dead,
        duplicate=figures.duplicate,
        one_token=figures.one_token,
        concept_share=figures.good_share,
        concepts_covered=figures.covered,
        concepts=figures.n_concepts,
        neurons=figures.neurons,
        channels=figures.channels,
        sweeps=figures.sweeps,
        stop_reason=figures.stop_reason,
        seconds=figures.seconds,
        objective=[
            CurvePoint(
                sweep=record.get("iteration", number),
                phase=record.get("phase"),
                relative_loss=record.get("relative_loss"),
                seconds=record.get("seconds"),
            )
            for number, record in enumerate(layer.objective, 1)
        ],
    )


def feature_list(
    key: str,
    layer: ServedLayer,
    *,
    offset: int,
    limit: int,
    sort: str,
    order: Order,
    search: str | None = None,
    concept: str | None = None,
    where: Sequence[str] = (),
    flags: Sequence[str] = (),
    without: Sequence[str] = (),
    neuron: int | None = None,
    sure: bool | None = None,
    around: int | None = None,
) -> FeatureList:
    """One page of the features that pass all the filters.

    With ``around``, a feature, it is the page that holds it rather than the one at ``offset``.

    Raises:
        InputError: for a condition that is none.
    """
    features, given = layer.features, layer.given_labels()
    keep = np.ones(len(features), dtype=bool)
    for condition in where:
        keep &= passing(layer.figures, condition)
    if search:
        wanted = search.casefold()
        folded = {i: label.casefold() for i, label in given.items()}
        texts = enumerate(layer.search_texts)
        keep &= np.array([wanted in text or wanted in folded.get(i, "") for i, text in texts], bool)
    for flag, present in [*((f, True) for f in flags), *((f, False) for f in without)]:
        keep &= np.array([(flag in feature.flags) == present for feature in features], bool)
    if concept is not None:
        keep &= np.array(
            [f.concept is not None and readable(f.concept.concept) == concept for f in features],
            bool,
        )
    if sure is not None:
        keep &= np.array([_sure(feature) == sure for feature in features], bool)
    if neuron is not None:
        keep &= np.array([any(n == neuron for n, _ in f.neurons) for f in features], bool)
    found = np.flatnonzero(keep)
    if sort == "label":
        labels = [layer.label(int(i)).casefold() for i in found]
        by_label = sorted(range(len(found)), key=lambda p: labels[p], reverse=order == "desc")
        found = found[by_label]
    else:
        found = found[ordered(layer.figures[sort][found], descending=order == "desc")]
    if around is not None and (places := np.flatnonzero(found == around)).size:
        offset = int(places[0]) // limit * limit
    return FeatureList(
        run=key,
        layer=layer.site.layer,
        title=layer.title,
        total=len(features),
        found=len(found),
        offset=offset,
        limit=limit,
        sort=sort,
        order=order,
        measures=_ranges(layer),
        concepts=[readable(name) for name in layer.concepts],
        features=[feature_row(layer, int(i)) for i in found[offset : offset + limit]],
    )


def feature_row(layer: ServedLayer, index: int) -> FeatureRow:
    """One line of a list."""
    feature = layer.features[index]
    promoted = () if feature.vocabulary is None else feature.vocabulary.promoted
    return FeatureRow(
        feature=index,
        label=_label(layer, index),
        edited=index in layer.edited,
        concept=None if feature.concept is None else readable(feature.concept.concept),
        sure=_sure(feature),
        flags=list(feature.flags),
        tokens=[visible(name) for name, _ in feature.firing_types[:_LISTED_TOKENS]],
        promoted=[visible(weight.token) for weight in promoted[:_LISTED_TOKENS]],
        measures=_measures(layer, index),
    )


def feature_page(key: str, layer: ServedLayer, index: int) -> FeaturePage:
    """Everything about one feature.

    Raises:
        UnknownError: when there is no such feature.
    """
    feature = layer.feature(index)
    layer.given_labels()
    projection = feature.vocabulary
    histogram = layer.codes.histogram(index)
    return FeaturePage(
        run=key,
        layer=layer.site.layer,
        title=layer.title,
        feature=index,
        total=len(layer),
        label=_label(layer, index),
        edited=index in layer.edited,
        offline_label=readable(feature.label),
        flags=list(feature.flags),
        measures=_measures(layer, index),
        max_code=feature.max_code,
        nearest=feature.nearest,
        nearest_cosine=feature.nearest_cosine,
        concept=_concept(feature),
        concepts=[
            ConceptScore(concept=readable(name), auroc_train=train, auroc=heldout)
            for name, train, heldout in feature.concept_scores
        ],
        contexts=[_context(context) for context in feature.contexts],
        quantile_contexts=[_context(context) for context in feature.quantile_contexts],
        histogram=CodeHistogram(
            edges=histogram.edges.tolist(),
            counts=histogram.counts.tolist(),
            of=layer.counted,
            rows=histogram.rows,
            zero=histogram.zero,
        ),
        neurons=[NeuronWeight(neuron=n, weight=weight) for n, weight in feature.neurons],
        promoted=None if projection is None else _tokens(projection.promoted),
        demoted=None if projection is None else _tokens(projection.demoted),
        types=[FiringType(token=token_text(t), count=count) for t, count in feature.firing_types],
        similar=similars(key, layer, index, offset=0, limit=_RELATIVES_SHOWN).features,
        cofiring=cofirings(key, layer, index, offset=0, limit=_RELATIVES_SHOWN).features,
        trees=places_in_trees(key, layer, index),
        stored=lines_of_feature(layer.folder, layer.site, index),
    )


def _label(layer: ServedLayer, index: int) -> str:
    return readable(layer.label(index))


def _measures(layer: ServedLayer, index: int) -> dict[str, float | None]:
    return {name: _known(float(values[index])) for name, values in layer.figures.items()}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _ranges(layer: ServedLayer) -> list[MeasureRange]:
    records = []
    for measure in MEASURES:
        values = layer.figures[measure.name]
        known = values[np.isfinite(values)]
        records.append(
            MeasureRange(
                name=measure.name,
                title=measure.title,
                unit=measure.unit,
                description=measure.description,
                low=float(known.min()) if len(known) else None,
                high=float(known.max()) if len(known) else None,
                missing=len(values) - len(known),
            )
        )
    return records


def _sure(feature: Feature) -> bool:
    return feature.concept is not None and feature.concept.sure


def _concept(feature: Feature) -> ConceptFigures | None:
    match = feature.concept
    if match is None:
        return None
    low, high = match.interval or (None, None)
    return ConceptFigures(
        concept=readable(match.concept),
        auroc_train=match.auroc_train,
        auroc=match.auroc,
        low=low,
        high=high,
        p_value=match.p_value,
        n_positive=match.n_positive,
        n_negative=match.n_negative,
        precision=match.precision,
        sure=match.sure,
        names_feature=match.names_feature,
    )


def _context(context: Context) -> ContextRecord:
    return ContextRecord(
        row=context.row,
        text_id=context.text_id,
        code=context.code,
        quantile=context.quantile,
        tokens=[token_text(piece) for piece in context.tokens],
        codes=[_known(code) for code in context.codes],
        focus=context.focus,
        label=None if context.label is None else readable(context.label),
    )


def _tokens(weights: Sequence[TokenWeight]) -> list[TokenLogit]:
    return [
        TokenLogit(token_id=weight.token_id, token=token_text(weight.token), logit=weight.logit)
        for weight in weights
    ]


def _shown(facts: Mapping[str, Any]) -> dict[str, str]:
    return {name: readable(str(fact)) for name, fact in facts.items()}
