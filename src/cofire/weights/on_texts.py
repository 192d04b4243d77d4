"""What one head does on texts, as it is written down: mean scores, and where it looks hardest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_WATCHED = (
    "Not measured: run the command that made this folder again; it adds what its heads do on text "
    "and keeps the rest."
)
"""Said of heads of folders from before this was measured."""


@dataclass(frozen=True)
class Look:
    """Where a head looks from one token.

    Attributes:
        position: place of the token among those of its text.
        attended: place of the token that is looked at; never the first one.
        attention: how much of the head's attention goes there, 0 to 1.
    """

    position: int
    attended: int
    attention: float


@dataclass(frozen=True)
class TextExample:
    """A text in which a head looks hard at something.

    Attributes:
        tokens: pieces of the text, joined they are the text; a special token in front is empty.
        looks: the strongest attention beside the first token, strongest first.
    """

    tokens: tuple[str, ...]
    looks: tuple[Look, ...]

    @property
    def text(self) -> str:
        """The whole text, as far as it was read."""
        return "".join(self.tokens)

    @property
    def pairs(self) -> list[tuple[str, str, float]]:
        """Token, attended token and attention of every look."""
        return [
            (self.tokens[one.position], self.tokens[one.attended], one.attention)
            for one in self.looks
        ]


@dataclass(frozen=True)
class OnTexts:
    """What a head does on texts; formulas in ``cofire.weights.attention``.

    Attributes:
        data: where the texts are from, as it was given.
        fingerprint: of the texts.
        texts: how many were read.
        tokens: how many tokens were looked from.
        previous, first, itself: mean attention to the token before, to the first, to the token
            itself, 0 to 1.
        copying: how far the head raises the logits of what it attends to, in standard deviations;
            None where it attends to hardly anything but the first token.
        examples: the texts in which it looks hardest at something beside the first token.
    """

    data: str
    fingerprint: str
    texts: int
    tokens: int
    previous: float | None
    first: float | None
    itself: float | None
    copying: float | None
    examples: tuple[TextExample, ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "OnTexts":
        """Put together what ``dataclasses.asdict`` took apart.

        Raises:
            KeyError, TypeError: when it is no such record.
        """
        parts = dict(record)
        parts["examples"] = tuple(
            TextExample(tuple(one["tokens"]), tuple(Look(**look) for look in one["looks"]))
            for one in parts["examples"]
        )
        return cls(**parts)
