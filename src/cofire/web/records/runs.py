"""Runs: their list, and the overview of one."""

from typing import Literal

from pydantic import Field

from cofire.web.records.base import Record

RunState = Literal["complete", "unfinished", "unreadable"]


class RunCard(Record):
    """One run of the list."""

    run: str = Field(description="Key of the run in every address.")
    path: str = Field(description="Its folder, as it was given.")
    state: RunState = Field(
        description="unfinished: some layers lack results; unreadable: nothing can be shown."
    )
    problem: str | None = Field(description="One sentence when the state is not complete.")
    model: str | None
    method: str | None
    site: str | None = Field(description="Where in the model, in words.")
    created: str | None = Field(description="ISO 8601.")
    features: int | None = Field(description="Features a layer.")
    layers: list[int] = Field(description="Layers with results.")
    unfinished: list[int] = Field(description="Layers without results.")


class LoneResult(Record):
    """A result with a folder of its own, such as a comparison of methods."""

    page: Literal["weights", "comparisons", "path"] = Field(description="The page that shows it.")
    result: str
    path: str


class RunList(Record):
    """All runs that are served."""

    cofire_version: str
    runs: list[RunCard]
    results: list[LoneResult]


class CurvePoint(Record):
    """One sweep of the solver."""

    sweep: int
    phase: str | None
    relative_loss: float | None = Field(description="‖X − C D‖² / ‖X‖² after the sweep.")
    seconds: float | None = Field(description="Since the start of the fit.")


class LayerOverview(Record):
    """What one layer comes to; null for what could not be measured."""

    layer: int
    site: str
    title: str
    features: int
    variance_train: float | None = Field(description="Explained variance, training rows.")
    variance_heldout: float | None = Field(description="Explained variance, held-out rows.")
    loss_train: float | None = Field(description="Relative loss, training rows.")
    loss_heldout: float | None = Field(description="Relative loss, held-out rows.")
    active: float = Field(description="Features active a token (L0).")
    dead: int = Field(description="Features that never fire.")
    duplicate: int = Field(description="Features whose atom is nearly that of another.")
    one_token: int = Field(description="Features that fire strongly on one token type only.")
    concept_share: float | None = Field(
        description="Share of features whose best concept has a high held-out AUROC."
    )
    concepts_covered: int | None = Field(
        description="Concepts that some feature selects surely, corrected for many features."
    )
    concepts: int = Field(description="Concepts of the texts.")
    neurons: float | None = Field(description="Median neurons of a feature.")
    channels: int | None = Field(description="Neurons of the layer.")
    sweeps: int | None
    stop_reason: str | None
    seconds: float | None = Field(description="Time of the fit.")
    objective: list[CurvePoint] = Field(description="Empty for methods without sweeps.")


class Overview(Record):
    """One run: layers by measures."""

    run: str
    card: RunCard
    facts: dict[str, str] = Field(description="Model, texts, method, ...: named facts in order.")
    settings: dict[str, str] = Field(description="The resolved config.")
    environment: dict[str, str] = Field(description="Hardware and versions of the fit.")
    source: str | None = Field(description="Paper or library of the method.")
    licences: list[str]
    layers: list[LayerOverview]
    problems: list[str] = Field(description="One sentence for every layer that cannot be read.")
    results: list[str] = Field(
        description="Kinds of results that other commands added to the run, such as steering."
    )
