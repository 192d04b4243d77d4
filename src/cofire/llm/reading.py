"""Ratings, labels and sentences read from what a language model wrote.

An answer that cannot be read gives None, never a rating of 0 or an empty label.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_NUMBER = r"(?P<value>[-+]?\d+(?:\.\d+)?)(?:\s*/\s*(?P<of>\d+))?"
# What may follow a rating: not more of a number, and not a range such as 0-2 or "0, 1 or 2".
_END = r"(?![\d%]|\.\d|\s*[-–]\s*\d|\s*(?:,|to|or|and)\s+\d)"
_NAMED = re.compile(
    rf"\b(?:rating|score)\b[\s\"'*_`]*(?::|=|\bis\b)[\s\"'*_`\[(]*{_NUMBER}{_END}", re.I
)
_ALONE = re.compile(rf"[\s\"'*_`\[(]*{_NUMBER}{_END}[\s\"'*_`\])]*\.?\s*")
_LABEL = re.compile(r"^[\s*_`#>-]*(?:label|description)[\s*_`]*[:=]\s*(.+)$", re.I | re.M)
_ITEM = re.compile(r"^\s*(?:[-*•]\s|\(?\d+[.):])\s*(.+)$")
_HEADING = re.compile(r"^[\s*_`#\"']*(activating|neutral)\b[^.!?]*$", re.I)
_QUOTES = "\"'“”‘’`*_ \t"

LONGEST_LABEL = 200
"""Characters beyond which an answer is taken for an essay and not for a label."""


def read_rating(
    text: str | None, *, lowest: float | int = 0, highest: float | int = 2
) -> float | None:
    """The rating in an answer; None when there is none, or it is out of range.

    Understood, the first form that is there deciding: a JSON object with ``rating`` or ``score``,
    also within other text; ``Rating: 1``, ``**Score** = 1/2``; a number alone. Of several the last
    counts, for reasons come before a verdict. A fraction must be of the highest rating.

    >>> read_rating('{"rating": 2}'), read_rating("**Rating:** 1/2."), read_rating("2")
    (2.0, 1.0, 2.0)
    >>> read_rating("Rating: 7"), read_rating("Rating: 0-2"), read_rating("no idea")
    (None, None, None)
    """
    if text is None:
        return None
    found = [_of_json(record) for record in _objects(text) if _is_rating(record)]
    if not found:
        named = list(_NAMED.finditer(text)) or [m for m in [_ALONE.fullmatch(text)] if m]
        found = [_of_match(match, highest) for match in named]
    value = found[-1] if found else None
    return value if value is not None and lowest <= value <= highest else None


def read_label(text: str | None) -> str | None:
    """The label in an answer; None when there is none.

    Understood: a JSON object with ``label``; a line ``Label: …``; an answer of a single line.

    >>> read_label('{"label": "days of the week"}'), read_label("Label: **weekdays**")
    ('days of the week', 'weekdays')
    >>> read_label("First I thought.\\nThen I stopped.") is None
    True
    """
    if text is None:
        return None
    records = [record["label"] for record in _objects(text) if "label" in record]
    if records:
        label = records[-1] if isinstance(records[-1], str) else ""
    elif named := _LABEL.findall(text):
        label = named[-1]
    else:
        lines = [line for line in text.splitlines() if line.strip()]
        # An object that was opened and is none we could read is no label.
        label = lines[0] if len(lines) == 1 and not lines[0].lstrip().startswith(("{", "[")) else ""
    label = " ".join(label.split()).strip(_QUOTES)
    has_word = any(character.isalnum() for character in label)
    return label if has_word and len(label) <= LONGEST_LABEL else None


def read_sentences(text: str | None, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Activating and neutral sentences in an answer, at most ``count`` of each.

    Understood: a JSON object with the lists ``activating`` and ``neutral``; or the two words as
    headings, each above a list with numbers or dashes. Equal and empty sentences count once and not
    at all. Fewer than ``count`` come back when the answer has no more.
    """
    if text is None:
        return (), ()
    for record in reversed(list(_objects(text))):
        if "activating" in record or "neutral" in record:
            return (
                _clean(record.get("activating"), count),
                _clean(record.get("neutral"), count),
            )
    listed: dict[str, list[str]] = {"activating": [], "neutral": []}
    heading = None
    for line in text.splitlines():
        if item := _ITEM.match(line):
            if heading is not None:
                listed[heading].append(item[1])
        elif named := _HEADING.match(line):
            heading = named[1].lower()
    return _clean(listed["activating"], count), _clean(listed["neutral"], count)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, outermost only, in order."""
    decoder = json.JSONDecoder()
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            if isinstance(value, dict):
                yield {str(key).lower(): item for key, item in value.items()}
        place = text.find("{", end)


def _is_rating(record: dict[str, Any]) -> bool:
    return "rating" in record or "score" in record


def _of_json(record: dict[str, Any]) -> float | None:
    value = record.get("rating", record.get("score"))
    if isinstance(value, str):
        match = _ALONE.fullmatch(value)
        return float(match["value"]) if match and match["of"] is None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _of_match(match: re.Match[str], highest: float | int) -> float | None:
    if match["of"] is not None and float(match["of"]) != highest:
        return None
    return float(match["value"])


def _clean(value: object, count: int) -> tuple[str, ...]:
    sentences = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    kept = dict.fromkeys(_unquoted(" ".join(sentence.split())) for sentence in sentences)
    return tuple(sentence for sentence in kept if sentence)[:count]


def _unquoted(sentence: str) -> str:
    """Without quotation marks around the whole; those of speech within the sentence stay."""
    for opening, closing in ('""', "“”"):
        inner = sentence[1:-1]
        if sentence[:1] == opening and sentence[-1:] == closing and opening not in inner:
            return inner.strip()
    return sentence
