"""A journal of everything that was asked and answered, so that nothing is asked twice."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cofire.appending import append_line
from cofire.errors import StoreError
from cofire.llm.answer import Answer, ChatModel, OnAnswer, Settings

logger = logging.getLogger(__name__)


def question_key(model: str, settings: Settings, prompt: str) -> str:
    """SHA-256 that tells one question from all others."""
    text = json.dumps([model, dict(settings), prompt], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class JournaledModel:
    """A language model whose every answer is kept in a file of JSON lines.

    A prompt that the file has an answer to, from the same model with the same settings, is not
    asked again; one that failed is. A line is written to disk as soon as its answer is there, and
    lines are only ever added. A line cut short by a kill is passed over.

    A line holds: ``key`` (`question_key`), ``model``, ``settings``, ``prompt``, ``answer`` (raw;
    null for a failure), ``error``, ``seconds``, ``tries``, ``time`` (UTC, when it was answered).

    Args:
        model: who is asked.
        path: the file; made, with its folder, when it is not there.

    Attributes:
        damaged_lines: lines of the file that could not be read, such as one cut short.

    Raises:
        StoreError: when the file cannot be read.
    """

    def __init__(self, model: ChatModel, path: str | os.PathLike[str]) -> None:
        self.model = model
        self.path = Path(path)
        self.damaged_lines = 0
        self._answers: dict[str, str] = {}
        self._read()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def settings(self) -> Settings:
        """The model's settings."""
        return self.model.settings

    def complete(
        self, prompts: Sequence[str], *, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """See ``ChatModel.complete``; equal prompts are asked once.

        Raises:
            StoreError: when the file cannot be written.
        """
        keys = [question_key(self.name, self.settings, prompt) for prompt in prompts]
        places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        answers: dict[str, Answer] = {}

        def give(key: str, answer: Answer) -> None:
            answers[key] = answer
            if on_answer is not None:
                for place in places[key]:
                    on_answer(place, answer)

        for key in places:
            if key in self._answers:
                give(key, Answer(self._answers[key], tries=0))
        wanted = [key for key in places if key not in answers]
        questions = [prompts[places[key][0]] for key in wanted]

        def keep(place: int, answer: Answer) -> None:
            self._write(wanted[place], questions[place], answer)
            give(wanted[place], answer)

        if questions:
            self.model.complete(questions, on_answer=keep)
        return [answers[key] for key in keys]

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                for line in file:
                    self._read_line(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"Cannot read the journal {self.path}: {error.strerror}.") from error
        if self.damaged_lines:
            logger.warning(
                "%s: %d lines cannot be read, their prompts are asked again",
                *(self.path, self.damaged_lines),
            )

    def _read_line(self, line: bytes) -> None:
        try:
            record: Any = json.loads(line)
            key, answer = record["key"], record["answer"]
        except (ValueError, KeyError, TypeError):
            self.damaged_lines += 1
            return
        if isinstance(key, str) and isinstance(answer, str):
            self._answers[key] = answer

    def _write(self, key: str, prompt: str, answer: Answer) -> None:
        record = {
            "key": key,
            "model": self.name,
            "settings": dict(self.settings),
            "prompt": prompt,
            "answer": answer.text,
            "error": answer.error,
            "seconds": round(answer.seconds, 3),
            "tries": answer.tries,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        try:
            append_line(self.path, json.dumps(record))
        except OSError as error:
            raise StoreError(f"Cannot write the journal {self.path}: {error.strerror}.") from error
        if answer.text is not None:
            self._answers[key] = answer.text

    def __repr__(self) -> str:
        return f"JournaledModel({self.model!r}, {str(self.path)!r})"
