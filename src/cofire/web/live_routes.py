"""Routes that change or compute: labels, texts, steering. What is not a GET needs the token."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import StreamingResponse

from cofire.web import reading
from cofire.web.compute import MOST_LONG, Compute
from cofire.web.computing import TextReading
from cofire.web.models import ModelKeeper
from cofire.web.problems import responses
from cofire.web.reading_routes import FeatureNumber, Key, Layer
from cofire.web.records import FeatureRow
from cofire.web.records.live import (
    MOST_NEW_TOKENS,
    MOST_PROMPT,
    MOST_SAMPLES,
    MOST_STEERED_FEATURES,
    MOST_TESTED_FEATURES,
    MOST_TEXT,
    MOST_TEXTS,
    Firing,
    FiringRequest,
    LabelEdit,
    ModelStatus,
    SteerJob,
    SteerList,
    SteerRequest,
    TestLimits,
    TestRequest,
    TestResult,
)
from cofire.web.refusals import BusyError, UnreadableError
from cofire.web.safety import escaped
from cofire.web.shelf import Shelf
from cofire.web.steering_jobs import SteeringJob, SteeringJobs

JobName = Annotated[str, Path(description="Name of the job.", max_length=64)]

_MOST_WATCHED = 64
"""Streams of events open at once."""
_LOOK_SECONDS = 0.05
_BEAT_SECONDS = 15.0

_MISSING = responses(404, 422)
_REFUSALS = responses(400, 403, 404, 408, 409, 413, 422)
_COMPUTING = responses(400, 403, 404, 408, 409, 413, 422, 429, 503)
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`event: job` with the whole job at every change, `event: end` after it.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def live_routes(shelf: Shelf, models: ModelKeeper, compute: Compute) -> APIRouter:
    """The routes over some runs."""
    routes = APIRouter(tags=["live"])
    texts, jobs = TextReading(compute, models), SteeringJobs(compute, models)
    watched = _Watched()

    def statuses() -> list[ModelStatus]:
        found = []
        for key in shelf.keys:
            try:
                state, problem = models.state(shelf.run(key).manifest)
            except UnreadableError as error:
                state, problem = "failed", str(error)
            found.append(ModelStatus(run=key, state=state, problem=problem))
        return found

    @routes.put(
        "/runs/{run}/{layer}/features/{feature}/label.json",
        summary="Give a feature a label, or take it back",
        responses=_REFUSALS,
    )
    def label(run: Key, layer: Layer, feature: FeatureNumber, edit: LabelEdit) -> FeatureRow:
        served = shelf.layer(run, layer)
        served.give_label(feature, edit.label)
        return reading.feature_row(served, feature)

    @routes.post(
        "/runs/{run}/{layer}/firing.json",
        summary="Which features fire on a text",
        responses=_COMPUTING,
    )
    def firing(run: Key, layer: Layer, wanted: FiringRequest) -> Firing:
        return texts.firing(run, shelf.layer(run, layer), wanted)

    @routes.get("/test.json", summary="Live test: limits and models")
    def test_limits() -> TestLimits:
        return TestLimits(
            models=statuses(),
            most_texts=MOST_TEXTS,
            most_characters=MOST_TEXT,
            most_features=MOST_TESTED_FEATURES,
        )

    @routes.post("/test.json", summary="Codes of some features on some texts", responses=_COMPUTING)
    def test(wanted: TestRequest) -> TestResult:
        return texts.test(shelf.layer(wanted.run, wanted.layer), wanted)

    @routes.get("/steer.json", summary="Live steering: jobs, limits and models")
    def steer_list() -> SteerList:
        return SteerList(
            models=statuses(),
            jobs=jobs.lines(),
            most_features=MOST_STEERED_FEATURES,
            most_samples=MOST_SAMPLES,
            most_new_tokens=MOST_NEW_TOKENS,
            most_prompt=MOST_PROMPT,
            most_waiting=MOST_LONG,
        )

    @routes.post(
        "/steer.json", summary="Begin a steering job", status_code=202, responses=_COMPUTING
    )
    def steer(wanted: SteerRequest) -> SteerJob:
        return jobs.begin(wanted, shelf.layer(wanted.run, wanted.layer))

    @routes.get(
        "/steer/{job}.json", summary="A steering job as it is", responses=responses(404, 422)
    )
    def steer_job(job: JobName) -> SteerJob:
        return jobs.record(job)

    @routes.delete(
        "/steer/{job}.json",
        summary="Cancel a steering job",
        responses=_REFUSALS,
    )
    def cancel(job: JobName) -> SteerJob:
        return jobs.cancel(job)

    @routes.get(
        "/steer/{job}/events",
        summary="A steering job as it changes",
        response_class=StreamingResponse,
        responses={**_EVENTS, **responses(404, 422, 429)},
    )
    async def events(job: JobName) -> StreamingResponse:
        found = jobs.find(job)
        watched.check()
        return StreamingResponse(_events(jobs, found, watched), media_type="text/event-stream")

    return routes


class _Watched:
    """Counts open streams."""

    def __init__(self) -> None:
        self._open = 0

    def check(self) -> None:
        """Refuse when as many are open as may be.

        Raises:
            BusyError: saying so.
        """
        if self._open >= _MOST_WATCHED:
            raise BusyError(f"{_MOST_WATCHED} pages watch jobs already; close one.")

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While open, a stream is."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def _events(jobs: SteeringJobs, job: SteeringJob, watched: _Watched) -> AsyncIterator[bytes]:
    """The job at every change that is seen; comments in between keep the connection open."""
    seen, quiet = -1, 0.0
    place: int | None = None
    with watched.counted():
        while True:
            record = jobs.now(job)
            if record.version != seen or record.place != place:
                seen, place, quiet = record.version, record.place, 0.0
                data = escaped(record.model_dump_json().encode())
                yield b"id: %d\nevent: job\ndata: %b\n\n" % (seen, data)
            if record.state in ("done", "cancelled", "failed"):
                yield b"event: end\ndata: {}\n\n"
                return
            await asyncio.sleep(_LOOK_SECONDS)
            quiet += _LOOK_SECONDS
            if quiet >= _BEAT_SECONDS:
                quiet = 0.0
                yield b": waiting\n\n"
