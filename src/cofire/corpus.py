"""Texts with optional concept labels, the input of every capture."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal, TypeAlias, overload

Split: TypeAlias = Literal["train", "heldout"]

NEUTRAL = "neutral"
"""Reserved label of texts that belong to no concept; they only serve as negatives."""


@dataclass(frozen=True)
class Text:
    """One text.

    Attributes:
        text: the text itself.
        label: its concept, ``neutral`` for none of them, or None when that is not known: such
            texts are neither positives nor negatives of any concept.
        group: a family of concepts the label belongs to (``time`` for ``weekday``).
        detail: a finer label within the concept (``Monday`` within ``weekday``).
        split: ``heldout`` texts are captured but never used to fit or to choose anything.
        source: where it was read, ``file:line``, for messages.
    """

    text: str
    label: str | None = None
    group: str | None = None
    detail: str | None = None
    split: Split = "train"
    source: str | None = None


@dataclass(frozen=True)
class SkippedRow:
    """A row of a source that could not be used.

    Attributes:
        source: where it stands, ``file:line``.
        reason: what was found and what is expected.
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class Corpus(Sequence[Text]):
    """An immutable sequence of texts.

    Attributes:
        skipped: rows of the source that were left out because they could not be used; empty unless
            the corpus was loaded with leave to skip. Slices do not carry them.
    """

    def __init__(self, texts: Iterable[Text], *, skipped: Iterable[SkippedRow] = ()) -> None:
        self._texts = tuple(texts)
        self.skipped = tuple(skipped)

    @overload
    def __getitem__(self, index: int) -> Text: ...
    @overload
    def __getitem__(self, index: slice) -> "Corpus": ...
    def __getitem__(self, index: "int | slice") -> "Text | Corpus":
        return Corpus(self._texts[index]) if isinstance(index, slice) else self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[Text]:
        return iter(self._texts)

    @property
    def concepts(self) -> list[str]:
        """Labels in order of first appearance, without the reserved ``neutral``."""
        labels = dict.fromkeys(text.label for text in self._texts)
        return [label for label in labels if label is not None and label != NEUTRAL]

    @cached_property
    def families(self) -> dict[str, str | None]:
        """The group of every label; of a label in several groups, the last one."""
        return {text.label: text.group for text in self._texts if text.label is not None}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over texts, labels and splits; sources do not count."""
        digest = hashlib.sha256()
        for text in self._texts:
            record = asdict(text)
            del record["source"]
            digest.update(json.dumps(record, sort_keys=True, ensure_ascii=False).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Corpus({len(self)} texts, {len(self.concepts)} concepts)"
