"""What is asked of a language model: prompts in, answers out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True)
class Answer:
    """What came back for one prompt.

    Attributes:
        text: the raw answer; None when there was none.
        error: why there was none, in one sentence; None when there was one.
        seconds: from the first try to the end of the last.
        tries: how often the prompt was sent; 0 for an answer read from a journal.
    """

    text: str | None
    error: str | None = None
    seconds: float = 0.0
    tries: int = 1


Settings: TypeAlias = Mapping[str, str | int | float | bool | None]
"""What decides an answer beside the model and the prompt, such as temperature and length."""

OnAnswer: TypeAlias = Callable[[int, Answer], None]
"""``on_answer(place, answer)``: the answer to the prompt at a place is there."""


@runtime_checkable
class ChatModel(Protocol):
    """A language model that answers prompts.

    Attributes:
        name: what the model is called.
        settings: what decides its answers beside the prompt.
    """

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def settings(self) -> Settings:
        """What decides its answers beside the prompt."""
        ...

    def complete(
        self, prompts: Sequence[str], *, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """Answer every prompt, in order; a prompt without an answer has ``error`` set.

        Args:
            prompts: each is one user message.
            on_answer: called once a prompt, as soon as its answer is there, in any order but never
                twice at a time.

        Raises:
            CofireError: when no prompt can be answered, such as when a key is refused.
        """
        ...
