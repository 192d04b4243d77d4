"""Known hierarchies of concepts, to hold trees of features against: weekday < calendar < time.

A nesting file is JSON, names within names: ``{"time": {"weekday": {"Monday": {}, ...}}}``. Any
name, inner ones too, may be a label or a detail of texts. The bundled one nests the concepts of the
bundled corpus; it is written for cofire, and others would nest them otherwise.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cofire.corpus import NEUTRAL, Corpus, Text
from cofire.errors import DataError


@dataclass(frozen=True)
class Nesting:
    """What each name lies within.

    Attributes:
        within: name -> the name it lies directly within, None for one that lies within none.

    Raises:
        DataError: when a name lies within itself.
    """

    within: Mapping[str, str | None]

    def __post_init__(self) -> None:
        for name in self.within:
            found = [name]
            while (above := self.within.get(found[-1])) is not None:
                found.append(above)
                if above in found[:-1]:
                    raise DataError(
                        f"{above!r} lies within itself ({' < '.join(found)}); a name needs a place "
                        "of its own, labels and groups of texts other names."
                    )

    def path(self, name: str) -> tuple[str, ...]:
        """The name, what it lies within, what that lies within, ...; the name alone if unknown.

        >>> Nesting({"Monday": "weekday", "weekday": "time", "time": None}).path("Monday")
        ('Monday', 'weekday', 'time')
        """
        found = [name]
        while (above := self.within.get(found[-1])) is not None:
            found.append(above)
        return tuple(found)

    @property
    def depth(self) -> int:
        """Names of the longest path."""
        return max((len(self.path(name)) for name in self.within), default=0)


def bundled_nesting() -> Nesting:
    """The nesting of the bundled concepts."""
    text = (resources.files("cofire.data") / "nestings.json").read_text(encoding="utf-8")
    return _read(json.loads(text), "nestings.json")


def load_nesting(path: Path | str) -> Nesting:
    """A nesting from a JSON file; see the module docstring.

    Raises:
        DataError: when the file cannot be read, is no nesting, or has a name twice.
    """
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"Cannot read the nesting {path}: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}.") from error
    return _read(names, str(path))


def nesting_of(corpus: Corpus, nesting: Nesting | None = None) -> Nesting:
    """A nesting of all labels and details of a corpus.

    Args:
        corpus: the texts; a detail lies within its label, a label within its group.
        nesting: what is known better; the bundled one when None. Labels and details that it knows
            lie where it says.
    """
    within: dict[str, str | None] = dict((bundled_nesting() if nesting is None else nesting).within)
    for text in corpus:
        if text.label is None or text.label == NEUTRAL:
            continue
        if text.label not in within:
            group = text.group if text.group != text.label else None
            within[text.label] = group
            if group is not None:
                within.setdefault(group, None)
        if text.detail is not None:
            within.setdefault(text.detail, text.label)
    return Nesting(within)


def finest_name(text: Text) -> str | None:
    """The detail of a text, or its label where it has none; None for one without a concept."""
    if text.label is None or text.label == NEUTRAL:
        return None
    return text.detail or text.label


def _read(names: Any, source: str) -> Nesting:
    within: dict[str, str | None] = {}
    for name, above in _walk(names, None, source):
        if name in within:
            raise DataError(f"{source} has {name!r} twice; a name lies in one place.")
        within[name] = above
    if not within:
        raise DataError(f"{source} holds no names; nest them like {_EXAMPLE}.")
    return Nesting(within)


_EXAMPLE = '{"time": {"weekday": {"Monday": {}}}}'


def _walk(names: Any, above: str | None, source: str) -> Iterable[tuple[str, str | None]]:
    if not isinstance(names, dict):
        raise DataError(f"{source} must hold names within names, like {_EXAMPLE}; got {names!r}.")
    for name, inner in names.items():
        yield name, above
        yield from _walk(inner, name, source)
