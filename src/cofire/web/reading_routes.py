"""Routes that read: runs and their features. They need no token and no model."""

from importlib.metadata import version
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field, WithJsonSchema

from cofire.errors import InputError
from cofire.web import reading, relatives
from cofire.web.beside import LayerPairing, Side, features_beside
from cofire.web.measures import CONDITION_PATTERN, NAMES
from cofire.web.problems import responses
from cofire.web.records import (
    Cofirings,
    FeatureList,
    FeaturePage,
    FeaturesBeside,
    LayersBeside,
    Overview,
    RunList,
    Similars,
    TextWindow,
)
from cofire.web.results import Results
from cofire.web.shelf import Shelf

Key = Annotated[str, Path(description="Key of the run, as in the list of runs.", max_length=100)]
Layer = Annotated[int, Path(description="Layer, counted from 0.", ge=0, le=100_000)]
FeatureNumber = Annotated[int, Path(description="Number of the feature.", ge=0, le=10_000_000)]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="How many to skip.")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many to give at most.")]
FeatureIndex = Annotated[int, Field(ge=0, le=10_000_000)]
Condition = Annotated[str, WithJsonSchema({"type": "string", "pattern": CONDITION_PATTERN})]
_PLACE = r"^[A-Za-z0-9._=+-]{1,100}/[0-9]{1,6}(/[0-9]{1,8})?$"
_ERRORS = responses(404, 409, 422)
Sort = Literal[(*NAMES, "label")]  # type: ignore[valid-type]
Flag = Literal["dead", "duplicate", "one-token"]


def reading_routes(shelf: Shelf, results: Results) -> APIRouter:
    """The routes over some runs; of results only a list."""
    routes = APIRouter(tags=["reading"])
    pairing = LayerPairing()

    @routes.get("/index.json", summary="All runs")
    def run_list() -> RunList:
        return RunList(
            cofire_version=version("cofire"), runs=shelf.cards(), results=results.alone()
        )

    @routes.get("/runs/{run}.json", summary="One run", responses=_ERRORS)
    def overview(run: Key) -> Overview:
        layers, problems = shelf.glimpses(run)
        return reading.overview(run, shelf.card(run), shelf.run(run), layers, problems)

    @routes.get(
        "/runs/{run}/{layer}/features.json",
        summary="The features of a layer: searched, filtered, sorted, paged",
        responses=_ERRORS,
    )
    def features(
        run: Key,
        layer: Layer,
        offset: Offset = 0,
        limit: Limit = 100,
        sort: Annotated[
            Sort, Query(description="A measure, or label. Missing figures come last.")
        ] = "feature",
        order: Annotated[
            Literal["asc", "desc"] | None,
            Query(description="Default: figures highest first, number and label lowest first."),
        ] = None,
        search: Annotated[
            str | None,
            Query(max_length=200, description="In label, concept, firing and promoted tokens."),
        ] = None,
        concept: Annotated[
            str | None, Query(max_length=200, description="Whose best concept is this one.")
        ] = None,
        where: Annotated[
            list[Condition],
            Query(max_length=10, description="Conditions on measures, such as auroc>=0.8."),
        ] = [],  # noqa: B006 (FastAPI copies it)
        flag: Annotated[list[Flag], Query(max_length=3, description="With this flag.")] = [],  # noqa: B006
        without: Annotated[list[Flag], Query(max_length=3, description="Without this flag.")] = [],  # noqa: B006
        neuron: Annotated[
            int | None, Query(ge=0, le=10_000_000, description="With this neuron.")
        ] = None,
        sure: Annotated[
            bool | None, Query(description="Whether held-out texts confirm its concept.")
        ] = None,
        around: Annotated[
            int | None,
            Query(ge=0, le=10_000_000, description="Give the page that holds this feature."),
        ] = None,
    ) -> FeatureList:
        lowest_first = sort in ("feature", "label", "p_value")
        return reading.feature_list(
            run,
            shelf.layer(run, layer),
            offset=offset,
            limit=limit,
            sort=sort,
            order=order or ("asc" if lowest_first else "desc"),
            search=search,
            concept=concept,
            where=where,
            flags=flag,
            without=without,
            neuron=neuron,
            sure=sure,
            around=around,
        )

    @routes.get(
        "/runs/{run}/{layer}/features/{feature}.json",
        summary="Everything about one feature",
        responses=_ERRORS,
    )
    def feature_page(run: Key, layer: Layer, feature: FeatureNumber) -> FeaturePage:
        return reading.feature_page(run, shelf.layer(run, layer), feature)

    @routes.get(
        "/runs/{run}/{layer}/features/{feature}/similar.json",
        summary="Features with similar atoms",
        responses=_ERRORS,
    )
    def similar(
        run: Key, layer: Layer, feature: FeatureNumber, offset: Offset = 0, limit: Limit = 50
    ) -> Similars:
        return relatives.similars(run, shelf.layer(run, layer), feature, offset=offset, limit=limit)

    @routes.get(
        "/runs/{run}/{layer}/features/{feature}/cofiring.json",
        summary="Features that fire on the same tokens",
        responses=_ERRORS,
    )
    def cofiring(
        run: Key, layer: Layer, feature: FeatureNumber, offset: Offset = 0, limit: Limit = 50
    ) -> Cofirings:
        return relatives.cofirings(
            run, shelf.layer(run, layer), feature, offset=offset, limit=limit
        )

    @routes.get(
        "/runs/{run}/{layer}/rows/{row}.json",
        summary="A stored text around one row, with codes",
        responses=_ERRORS,
    )
    def text_window(
        run: Key,
        layer: Layer,
        row: Annotated[int, Path(ge=0, le=10**12, description="Row of the codes.")],
        feature: Annotated[
            list[FeatureIndex], Query(max_length=20, description="Whose codes; repeatable.")
        ] = [],  # noqa: B006
        before: Annotated[int, Query(ge=0, le=1000, description="Tokens before the row.")] = 60,
        after: Annotated[int, Query(ge=0, le=1000, description="Tokens after it.")] = 60,
    ) -> TextWindow:
        served = shelf.layer(run, layer)
        return relatives.text_window(run, served, row, feature, before=before, after=after)

    @routes.get(
        "/compare.json",
        summary="Two features, or two layers, side by side",
        responses=responses(404, 409, 422, 429),
    )
    def compare(
        a: Annotated[str, Query(pattern=_PLACE, description="RUN/LAYER or RUN/LAYER/FEATURE.")],
        b: Annotated[str, Query(pattern=_PLACE, description="The same kind of place.")],
        offset: Offset = 0,
        limit: Limit = 100,
    ) -> Annotated[FeaturesBeside | LayersBeside, Field(discriminator="kind")]:
        sides, features = [], []
        for place in (a, b):
            key, layer, *feature = place.split("/")
            sides.append(Side(key, shelf.layer(key, int(layer))))
            features += [int(number) for number in feature]
        if len(features) == 1:
            raise InputError("Compare two features or two layers: RUN/LAYER/FEATURE or RUN/LAYER.")
        if features:
            return features_beside(sides[0], features[0], sides[1], features[1])
        return pairing.beside(*sides, offset=offset, limit=limit)

    return routes
