"""What other commands computed and stored: trees, overlaps, flows, weights, comparisons."""

from typing import Any, Literal

from pydantic import Field

from cofire.web.records.base import Record


class DocumentCard(Record):
    """One file of a result."""

    document: str = Field(description="Its name in addresses.")
    file: str | None = Field(
        description="Where it lies in the result's folder; null for what is not written yet, but "
        "read from what is finished."
    )
    type: Literal["json", "table"]
    rows: int | None = Field(description="Lines of a table that is written.")
    columns: list[str] | None = Field(description="Of a table that is written.")
    bytes: int | None


class Finished(Record):
    """How far the command is that writes a result."""

    of: Literal["matrices", "cells"] = Field(description="What is counted.")
    done: int
    wanted: int


class ResultCard(Record):
    """One result: a folder that a command wrote."""

    result: str = Field(description="Its name in addresses.")
    kind: str
    run: str | None = Field(description="The run it is of; null for one of its own.")
    path: str
    created: str | None
    finished: Finished | None = Field(description="null where the whole result is one file.")
    documents: list[DocumentCard]
    problem: str | None = Field(description="One sentence when it cannot be read.")


class ResultList(Record):
    """All results of one kind; none when the command has not been used."""

    kind: str
    results: list[ResultCard]


class DocumentContent(Record):
    """A file of JSON, as it is but for marks in place of characters that cannot be seen."""

    type: Literal["json"] = "json"
    result: str
    document: str
    content: Any


class TableContent(Record):
    """Some lines of a table."""

    type: Literal["table"] = "table"
    result: str
    document: str
    columns: list[str]
    found: int = Field(description="Lines that pass the filter.")
    offset: int
    limit: int
    rows: list[dict[str, Any]]
