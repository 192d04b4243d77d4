"""Prompts in text files, which a user can replace by files of their own."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cofire.errors import InputError

PROMPTS: Mapping[str, frozenset[str]] = {
    "label_from_contexts": frozenset({"contexts"}),
    "label_from_tokens": frozenset({"promoted", "demoted"}),
    "write_sentences": frozenset({"label", "count"}),
    "judge_concept": frozenset({"label", "text"}),
    "judge_fluency": frozenset({"text"}),
}
"""Every prompt by name, with the fields its file must have; the file is ``NAME.md``."""

_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")  # any other braces, such as JSON's, are plain text


@dataclass(frozen=True)
class PromptTemplate:
    """The text of a prompt with fields such as ``{label}``.

    Attributes:
        name: one of `PROMPTS`.
        text: as it stands in the file.
    """

    name: str
    text: str

    def fill(self, **values: str) -> str:
        """The prompt with its fields filled; braces within a value are left as they are.

        Raises:
            InputError: when the values are not those of the prompt's fields.

        >>> PromptTemplate("judge_fluency", 'Read "{text}".').fill(text="a {text}")
        'Read "a {text}".'
        """
        fields = PROMPTS[self.name]
        if values.keys() != fields:
            raise InputError(
                f"The prompt {self.name} takes {_listed(fields)}; got {_listed(values.keys())}."
            )
        return _FIELD.sub(lambda found: values[found[1]], self.text)


def load_prompt(name: str, *, folder: str | os.PathLike[str] | None = None) -> PromptTemplate:
    """Read a prompt.

    Args:
        name: one of `PROMPTS`.
        folder: where a user's own prompts stand; ``NAME.md`` there takes the place of ours, and a
            prompt that has no file there stays ours.

    Raises:
        InputError: for an unknown prompt, a folder that is none or has a ``.md`` file of another
            name, a file that cannot be read, or one with a missing or unknown field.
    """
    if name not in PROMPTS:
        raise InputError(f"There is no prompt {name!r}; there are {_listed(PROMPTS)}.")
    own = None if folder is None else _own_file(name, Path(folder))
    if own is None:
        file = resources.files("cofire.llm") / "prompts" / f"{name}.md"
        return PromptTemplate(name, file.read_text(encoding="utf-8").strip())
    try:
        text = own.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the prompt {own}: it must be a UTF-8 text file.") from error
    found = set(_FIELD.findall(text))
    fields = PROMPTS[name]
    if unknown := found - fields:
        raise InputError(f"{own} has the unknown field {_listed(unknown)}; use {_listed(fields)}.")
    if missing := fields - found:
        raise InputError(f"{own} lacks the field {_listed(missing)}; write it where it belongs.")
    return PromptTemplate(name, text)


def _own_file(name: str, folder: Path) -> Path | None:
    if not folder.is_dir():
        raise InputError(f"There is no folder of prompts {folder}; check the path.")
    for path in sorted(folder.glob("*.md")):
        if path.stem not in PROMPTS:
            raise InputError(f"{path} is the file of no prompt; they are {_listed(PROMPTS)}.")
    own = folder / f"{name}.md"
    return own if own.exists() else None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
