"""Routes to what other commands stored."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from cofire.web.problems import responses
from cofire.web.reading_routes import Limit, Offset
from cofire.web.records.results import DocumentContent, ResultList, TableContent
from cofire.web.results import Results
from cofire.web.shelf import Shelf

PAGES = ("tree", "core", "flow", "weights", "comparisons", "path")
"""Kinds that have a page of their own; others stand on one of these or on pages of features."""

_STORED_AS = {"comparisons": "compare"}  # /compare is another page

Kind = Literal[
    "tree", "core", "reuse", "flow", "stack", "weights", "comparisons", "steering", "path"
]
Result = Annotated[str, Path(max_length=220, description="Name of the result.")]
Document = Annotated[str, Path(max_length=120, description="Name of the document.")]
Number = Annotated[int | None, Query(ge=-(2**31), le=2**31, description="Only lines with it.")]


def result_routes(shelf: Shelf, results: Results) -> APIRouter:
    """The routes over some runs and folders."""
    routes = APIRouter(tags=["stored results"])

    @routes.get(
        "/results/{kind}.json", summary="Stored results of one kind", responses=responses(422)
    )
    def listed(kind: Kind) -> ResultList:
        return _list(kind)

    def _list(kind: str) -> ResultList:
        found = results.cards(_STORED_AS.get(kind, kind), shelf.folders)
        return ResultList(kind=kind, results=found)

    @routes.get(
        "/results/{kind}/{result}/{document}.json",
        summary="One document of a stored result",
        responses=responses(404, 409, 422),
    )
    def document(
        kind: Kind,
        result: Result,
        document: Document,
        offset: Offset = 0,
        limit: Limit = 100,
        feature: Number = None,
        layer: Number = None,
    ) -> Annotated[DocumentContent | TableContent, Field(discriminator="type")]:
        wanted = {"feature": feature, "layer": layer}
        return results.document(
            _STORED_AS.get(kind, kind),
            result,
            document,
            shelf.folders,
            offset=offset,
            limit=limit,
            where={name: number for name, number in wanted.items() if number is not None},
        )

    def twin(kind: str) -> None:
        """The list under the address of the page of the kind."""

        @routes.get(f"/{kind}.json", summary=f"Stored results: {kind}", operation_id=f"{kind}_list")
        def listed_for_page() -> ResultList:
            return _list(kind)

    for kind in PAGES:
        twin(kind)
    return routes
