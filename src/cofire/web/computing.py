"""Codes of texts that somebody types, computed between the steps of longer work."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING

import numpy as np

from cofire.interpret.wording import readable, token_text
from cofire.web.compute import Compute, Result
from cofire.web.layer import ServedLayer
from cofire.web.models import ModelKeeper
from cofire.web.records.live import (
    Firing,
    FiringFeature,
    FiringRequest,
    TestedFeature,
    TestedText,
    TestRequest,
    TestResult,
)
from cofire.web.refusals import BusyError

if TYPE_CHECKING:  # importing transformers takes seconds
    from cofire.interpret.firing import TextCodes

_LONGEST = 1024  # tokens of a text, special ones included
_PATIENCE = 120.0  # seconds; loading a model is part of the first answer


class TextReading:
    """Reads texts with the models of runs.

    Args:
        compute: where it is computed.
        models: where models come from.
    """

    def __init__(self, compute: Compute, models: ModelKeeper) -> None:
        self._compute, self._models = compute, models

    def firing(self, key: str, layer: ServedLayer, wanted: FiringRequest) -> Firing:
        """Which features fire on a text.

        Raises:
            NoModelError: when there is no model.
            BusyError: when too much is waiting.
            DataError: for a text that gives no token.
        """
        (read,) = self._codes(layer, [wanted.text])
        codes = read.codes.cpu().numpy()
        peak = codes.max(axis=0)
        largest = layer.figures["max_code"]
        share = np.divide(peak, largest, out=np.full(len(peak), np.nan), where=largest > 0)
        active = np.flatnonzero(peak > 0)
        order = share[active] if wanted.by == "share" else peak[active]
        active = active[np.argsort(-np.nan_to_num(order, nan=-1.0), kind="stable")]
        return Firing(
            run=key,
            layer=layer.site.layer,
            tokens=[token_text(piece) for piece in read.tokens],
            truncated=read.truncated,
            found=len(active),
            features=[
                FiringFeature(
                    feature=int(i),
                    label=readable(layer.label(int(i))),
                    code=float(peak[i]),
                    share=float(share[i]) if np.isfinite(share[i]) else None,
                    focus=int(codes[:, i].argmax()),
                    codes=[float(code) for code in codes[:, i]],
                )
                for i in active[: wanted.limit]
            ],
        )

    def test(self, layer: ServedLayer, wanted: TestRequest) -> TestResult:
        """The codes of some features on some texts.

        Raises:
            UnknownError: when a feature does not exist.
            NoModelError, BusyError, DataError: as ``firing``.
        """
        for index in wanted.features:
            layer.check(index)
        return TestResult(
            run=wanted.run,
            layer=wanted.layer,
            features=[
                TestedFeature(
                    feature=index,
                    label=readable(layer.label(index)),
                    max_code=layer.features[index].max_code,
                )
                for index in wanted.features
            ],
            texts=[
                TestedText(
                    tokens=[token_text(piece) for piece in read.tokens],
                    truncated=read.truncated,
                    codes=read.codes[:, wanted.features].T.tolist(),
                )
                for read in self._codes(layer, wanted.texts)
            ],
        )

    def _codes(self, layer: ServedLayer, texts: Sequence[str]) -> "list[TextCodes]":
        self._models.refuse_if_none(layer.manifest)

        def task() -> "list[TextCodes]":
            from cofire.interpret.firing import codes_of_texts, settings_of

            model = self._models.get(layer.manifest)
            capture = layer.manifest.get("capture") or {}
            context = model.context_length
            longest = _LONGEST if context is None else min(_LONGEST, context)
            settings = settings_of(capture, longest=longest)
            return codes_of_texts(model, layer.dictionary, texts, settings)

        return _awaited(self._compute.soon, task)


def _awaited(
    soon: Callable[[Callable[[], Result]], "Future[Result]"], task: Callable[[], Result]
) -> Result:
    future = soon(task)
    try:
        return future.result(timeout=_PATIENCE)
    except FutureTimeout as error:
        future.cancel()
        raise BusyError(
            "The model is being loaded or busy with other work; try again in a moment."
        ) from error
