"""One row of any source, and how it becomes a text."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, get_args

from cofire.corpus import SkippedRow, Split, Text
from cofire.errors import InputError

TEXT_COLUMNS = ("text", "prompt")
"""Columns read as the text when none is named."""


class RowError(ValueError):
    """A row cannot be used; the message says what was found and what is expected."""


@dataclass(frozen=True)
class Record:
    """A row as it was read: its place, ``file:line``, and its named values."""

    source: str
    fields: Mapping[str, object]


Row: TypeAlias = Record | SkippedRow


@dataclass(frozen=True)
class Columns:
    """The columns asked for; None stands for the usual names.

    Attributes:
        text: column of the text; ``text`` or ``prompt`` when None.
        label: column of the concept; ``label``, where there is one, when None.
    """

    text: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.text is not None and self.text == self.label:
            raise InputError(
                f"text_column and label_column are both {self.text!r}; name two columns."
            )

    def find(self, names: Iterable[str]) -> dict[str, str]:
        """The column to read each field of a `Text` from, out of those that exist.

        Raises:
            RowError: when a column is missing, or both ``text`` and ``prompt`` could be meant.
        """
        present = list(names)
        found = {"text": self._text_column(present)}
        if self.label is not None:
            _require(self.label, present)
            found["label"] = self.label
        for field in ("label", "group", "detail", "split"):
            if field in present and field != found["text"]:
                found.setdefault(field, field)
        return found

    def _text_column(self, present: list[str]) -> str:
        if self.text is not None:
            _require(self.text, present)
            return self.text
        candidates = [name for name in TEXT_COLUMNS if name in present]
        if len(candidates) > 1:
            raise RowError("has a 'text' and a 'prompt' column; choose one with text_column")
        if not candidates:
            raise RowError(
                f"has no 'text' or 'prompt' column (found {_listed(present)}); "
                "name the column with text_column"
            )
        return candidates[0]


def text_of(record: Record, columns: Columns) -> Text:
    """Check a row and make it a text.

    The text is kept as it is; label, group, detail and split lose surrounding white space, and an
    empty one counts as absent. A whole number is accepted as a label, group or detail, also as a
    float (1.0 is 1, NaN counts as absent).

    Raises:
        RowError: when the row cannot be used.
    """
    fields = record.fields
    found = columns.find(fields)
    column = found["text"]
    text = fields[column]
    if not isinstance(text, str):
        raise RowError(f"{column!r} must be a text, found {described(text)}")
    if not text.strip():
        raise RowError(f"{column!r} is empty; every row needs a text")
    _check_unicode(text, column)
    names = {
        field: _name(fields[found[field]], found[field])
        for field in ("label", "group", "detail")
        if field in found
    }
    split = _split(fields[found["split"]]) if "split" in found else "train"
    return Text(text, **names, split=split, source=record.source)


def described(value: object) -> str:
    """A value in a few words, for messages."""
    if value is None:
        return "nothing (null)"
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:37] + '...'}"


def _name(value: object, column: str) -> str | None:
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        # A column of whole numbers with gaps becomes one of floats: 1.0, 2.0, NaN.
        value = None if math.isnan(value) else int(value)
    if isinstance(value, int):  # class numbers are common as labels
        return str(value)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(f"{column!r} must be a name, found {described(value)}")
    _check_unicode(value, column)
    return value.strip() or None


def _split(value: object) -> Split:
    name = value.strip() if isinstance(value, str) else value
    for split in get_args(Split):
        if name == split:
            return split
    if name is None or name == "":
        return "train"
    raise RowError(f"'split' must be train or heldout, found {described(value)}")


def _check_unicode(value: str, column: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowError(
            f"{column!r} holds half of a surrogate pair at character {error.start}, "
            "which is no valid Unicode"
        ) from error


def _require(column: str, present: list[str]) -> None:
    if column not in present:
        raise RowError(f"has no column {column!r} (found {_listed(present)})")


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
