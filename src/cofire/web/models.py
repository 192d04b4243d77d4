"""The model that runs were made of: loaded when it is first needed, one at a time."""

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cofire.errors import CofireError
from cofire.report.facts import model_name
from cofire.web.refusals import NoModelError

if TYPE_CHECKING:  # importing transformers takes seconds
    from cofire.models import LanguageModel, TextGenerator

_RETRY_SECONDS = 30.0
"""A model that could not be loaded is tried again after this."""

ModelState: TypeAlias = Literal["off", "not loaded", "loading", "ready", "failed"]


class ModelKeeper:
    """Loads models by what a run's manifest says; the one used last stays in memory.

    ``get`` and ``generator`` are for the thread that computes; the others for any.

    Args:
        wanted: False when the server was started without a model.
        device: where to compute.
    """

    def __init__(self, *, wanted: bool = True, device: str = "auto") -> None:
        self._wanted, self._device = wanted, device
        self._kept: tuple[tuple[Any, ...], LanguageModel] | None = None
        self._generator: TextGenerator | None = None
        self._failures: dict[tuple[Any, ...], tuple[float, str]] = {}
        self._loading: tuple[Any, ...] | None = None
        self._lock = threading.Lock()

    def state(self, manifest: Mapping[str, Any]) -> tuple[ModelState, str | None]:
        """What there is of a run's model, and why there is none."""
        identity = _identity(manifest)
        with self._lock:
            if not self._wanted:
                return "off", "The server was started with --no-model: it only reads."
            if self._kept is not None and self._kept[0] == identity:
                return "ready", None
            if self._loading == identity:
                return "loading", None
            failure = self._failures.get(identity)
        if failure is not None:
            return "failed", failure[1]
        return "not loaded", None

    def refuse_if_none(self, manifest: Mapping[str, Any]) -> None:
        """Refuse at once what could not be computed anyway.

        Raises:
            NoModelError: saying why there is no model.
        """
        state, reason = self.state(manifest)
        failure = self._failures.get(_identity(manifest))
        recent = failure is not None and time.monotonic() - failure[0] < _RETRY_SECONDS
        if reason is not None and (state == "off" or recent):
            raise NoModelError(reason)

    def get(self, manifest: Mapping[str, Any]) -> "LanguageModel":
        """The model, loaded if need be.

        Raises:
            NoModelError: when it cannot be loaded, or is another model now.
        """
        self.refuse_if_none(manifest)
        identity = _identity(manifest)
        if self._kept is not None and self._kept[0] == identity:
            return self._kept[1]
        with self._lock:
            self._kept = self._generator = None  # room for the new one
            self._loading = identity
        try:
            model = self._load(manifest)
        except NoModelError as error:
            with self._lock:
                self._failures[identity] = (time.monotonic(), str(error))
            raise
        finally:
            with self._lock:
                self._loading = None
        with self._lock:
            self._failures.pop(identity, None)
            self._kept = (identity, model)
        return model

    def generator(self, manifest: Mapping[str, Any]) -> "TextGenerator":
        """What continues texts with the model; made once.

        Raises:
            NoModelError: as ``get``.
            ModelError: when the model has no language head.
        """
        from cofire.models import TextGenerator

        model = self.get(manifest)
        if self._generator is None:
            self._generator = TextGenerator(model)
        return self._generator

    def _load(self, manifest: Mapping[str, Any]) -> "LanguageModel":
        from cofire.models import load_model

        record = manifest.get("model")
        name = record.get("name") if isinstance(record, Mapping) else record
        shown = model_name(manifest)
        if not name:
            raise NoModelError("This run does not say which model it was made of.")
        dtype = record.get("dtype", "float32") if isinstance(record, Mapping) else "float32"
        try:
            model = load_model(str(name), device=self._device, dtype=str(dtype))
        except CofireError as error:
            raise NoModelError(f"The model {shown} cannot be loaded: {error}") from error
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise NoModelError(f"The model {shown} cannot be loaded: {said}") from error
        known = record.get("fingerprint") if isinstance(record, Mapping) else None
        if known is not None and model.fingerprint != known:
            raise NoModelError(
                f"{shown} is another model now than the one this run was made of; put the old one "
                "back to steer and test."
            )
        return model


def _identity(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    record = manifest.get("model")
    if not isinstance(record, Mapping):
        return (record,)
    return record.get("name"), record.get("fingerprint"), record.get("dtype")
