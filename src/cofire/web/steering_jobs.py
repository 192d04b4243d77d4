"""Steering jobs: queued, watched while they write, cancelled."""

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cofire.errors import CofireError
from cofire.interpret.wording import readable, token_text
from cofire.web.compute import Compute
from cofire.web.layer import ServedLayer
from cofire.web.models import ModelKeeper
from cofire.web.records.live import (
    JobState,
    NextToken,
    SteeredFeature,
    SteeredTogether,
    SteerJob,
    SteerLine,
    SteerRequest,
    WrittenText,
)
from cofire.web.refusals import UnknownError

if TYPE_CHECKING:  # importing transformers takes seconds
    from cofire.evaluation.steering_records import Generation
    from cofire.evaluation.steering_together import SteeringTogether

_logger = logging.getLogger(__name__)

_JOBS_KEPT = 50
_CHANCES_SHOWN = 12
_OVER = ("done", "cancelled", "failed")


class _CancelledError(Exception):
    """Ends a job between two tokens."""


class SteeringJob:
    """One job; ``run`` is for the computing thread, everything else for any.

    Args:
        request: what was asked for.
        layer: the layer it is about.
        models: where the model comes from.
    """

    def __init__(self, request: SteerRequest, layer: ServedLayer, models: ModelKeeper) -> None:
        self.name = secrets.token_urlsafe(16)
        self._request, self._layer, self._models = request, layer, models
        self._lock = threading.Lock()
        self._cancelled = False
        self._version = 0
        self._state: JobState = "waiting"
        self._problem: str | None = None
        self._features: list[SteeredFeature] = []
        self._together: SteeredTogether | None = None
        self._probabilities: list[NextToken] = []
        self._texts: tuple[list[WrittenText], list[WrittenText]] = ([], [])

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._state in _OVER

    def record(self, place: int | None) -> SteerJob:
        """The job as it is now."""
        with self._lock:
            return SteerJob(
                job=self.name,
                version=self._version,
                state=self._state,
                place=place,
                problem=self._problem,
                request=self._request,
                features=self._features,
                together=self._together,
                probabilities=self._probabilities,
                base=self._texts[0],
                steered=self._texts[1],
            )

    def line(self, place: int | None) -> SteerLine:
        """The job in a list."""
        return SteerLine(
            job=self.name,
            state=self._state,
            place=place,
            run=self._request.run,
            layer=self._request.layer,
            features=[wanted.feature for wanted in self._request.features],
            prompt=readable(self._request.prompt),
        )

    def cancel(self) -> None:
        """End it at its next step."""
        with self._lock:
            self._cancelled = True
            if self._state == "waiting":
                self._state = "cancelled"
                self._version += 1

    def run(self, breathe: Callable[[], None]) -> None:
        """See ``LongJob``."""
        with self._lock:
            if self._cancelled:
                return
            self._state = "loading"
            self._version += 1
        try:
            self._steer(breathe)
            self._become("done")
        except _CancelledError:
            self._become("cancelled")
        except CofireError as error:
            self._fail(str(error))
        except Exception as error:
            _logger.exception("Steering failed")
            self._fail(f"The model failed on this ({type(error).__name__}); the log has more.")

    def _steer(self, breathe: Callable[[], None]) -> None:
        from cofire.evaluation.steering_records import SteeringSettings
        from cofire.evaluation.steering_together import Push, SteeringTogether
        from cofire.sampling import SamplingSettings

        wanted = self._request

        def step() -> None:
            self._stop_if_cancelled()
            breathe()

        manifest = self._layer.manifest
        model, generator = self._models.get(manifest), self._models.generator(manifest)
        step()
        self._become("matching")
        settings = SteeringSettings(
            prompts=(wanted.prompt,),
            samples=wanted.samples,
            new_tokens=wanted.new_tokens,
            sampling=SamplingSettings(
                temperature=wanted.temperature, top_k=wanted.top_k, top_p=wanted.top_p
            ),
            seed=wanted.seed,
        )
        pushes = [Push(**one.model_dump()) for one in wanted.features]
        together = SteeringTogether(
            model,
            self._layer.site,
            self._layer.dictionary.atoms,
            pushes,
            settings,
            kl=wanted.kl,
            generator=generator,
        )
        self._note_match(together)
        step()

        def watch(generations: "Sequence[Generation]") -> None:
            self._note_texts(generations)
            step()

        self._note_texts(list(together.texts(watch)))

    def _note_match(self, together: "SteeringTogether") -> None:
        features = [
            SteeredFeature(
                feature=pushed.feature,
                label=readable(self._layer.label(pushed.feature)),
                sign=pushed.sign,
                strength=pushed.strength,
                kl=pushed.kl,
                status=pushed.status,
            )
            for pushed in together.pushed
        ]
        probabilities = [
            NextToken(
                token_id=chance.token_id,
                token=token_text(chance.token),
                before=chance.before,
                after=chance.after,
            )
            for chance in together.chances(_CHANCES_SHOWN)
        ]
        with self._lock:
            self._features, self._probabilities = features, probabilities
            self._together = SteeredTogether(
                strength=together.strength, kl=together.kl, status=together.status
            )
        self._become("writing")

    def _note_texts(self, generations: "Sequence[Generation]") -> None:
        sides: tuple[list[WrittenText], list[WrittenText]] = ([], [])
        for generation in generations:
            sides[generation.cell is not None].append(
                WrittenText(
                    sample=generation.sample,
                    text=readable(generation.text),
                    tokens=len(generation.token_ids),
                    ended=generation.ended,
                )
            )
        with self._lock:
            self._texts = sides
            self._version += 1

    def _stop_if_cancelled(self) -> None:
        if self._cancelled:
            raise _CancelledError

    def _become(self, state: JobState) -> None:
        with self._lock:
            self._state = state
            self._version += 1

    def _fail(self, sentence: str) -> None:
        with self._lock:
            self._problem = sentence
        self._become("failed")


class SteeringJobs:
    """All jobs that are known.

    Args:
        compute: where they run.
        models: where models come from.
    """

    def __init__(self, compute: Compute, models: ModelKeeper) -> None:
        self._compute, self._models = compute, models
        self._jobs: OrderedDict[str, SteeringJob] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, request: SteerRequest, layer: ServedLayer) -> SteerJob:
        """Put a job in the queue.

        Raises:
            NoModelError: when there is no model.
            UnknownError: when a feature does not exist.
            BusyError: when as many jobs wait as may.
        """
        self._models.refuse_if_none(layer.manifest)
        for wanted in request.features:
            layer.check(wanted.feature)
        job = SteeringJob(request, layer, self._models)
        self._compute.later(job)
        with self._lock:
            self._jobs[job.name] = job
            for name in [name for name, old in self._jobs.items() if old.over]:
                if len(self._jobs) <= _JOBS_KEPT:
                    break
                del self._jobs[name]
        return self.now(job)

    def lines(self) -> list[SteerLine]:
        """All jobs, newest first."""
        with self._lock:
            jobs = list(self._jobs.values())[::-1]
        return [job.line(self._compute.place(job)) for job in jobs]

    def find(self, name: str) -> SteeringJob:
        """One job.

        Raises:
            UnknownError: when there is none of this name (any more).
        """
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            raise UnknownError("There is no such steering job (any more); start it again.")
        return job

    def record(self, name: str) -> SteerJob:
        """One job as it is now.

        Raises:
            UnknownError: as ``find``.
        """
        return self.now(self.find(name))

    def now(self, job: SteeringJob) -> SteerJob:
        """A job as it is now."""
        return job.record(self._compute.place(job))

    def cancel(self, name: str) -> SteerJob:
        """End a job, or take it out of the queue.

        Raises:
            UnknownError: as ``find``.
        """
        job = self.find(name)
        self._compute.drop(job)
        job.cancel()
        return self.now(job)
