"""What a dictionary makes of new texts: codes token by token, and which features fire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.types import CodeMatrix

if TYPE_CHECKING:  # importing transformers takes seconds
    from cofire.models import CaptureSettings, LanguageModel


@dataclass(frozen=True, eq=False)
class TextCodes:
    """One text, read.

    Attributes:
        tokens: as they stand in the text; joined in order they give it back.
        codes: [rows features], a row a token.
        truncated: whether the text was cut at the longest length.
    """

    tokens: tuple[str, ...]
    codes: CodeMatrix
    truncated: bool


def codes_of_texts(
    model: "LanguageModel",
    dictionary: Dictionary,
    texts: Sequence[str],
    settings: "CaptureSettings | None" = None,
) -> list[TextCodes]:
    """Run texts through the model and encode what comes by at the dictionary's site.

    Args:
        model: the model the dictionary was made of.
        dictionary: of any method.
        texts: none of them empty or blank.
        settings: how to capture; those of the activations that the dictionary was fitted on.

    Returns:
        One record a text.

    Raises:
        InputError: when the dictionary does not fit the model, or a setting is out of range.
        DataError: for a text that gives no token.
        ModelError: when the model lacks the site.
    """
    from cofire.models import capture_texts

    corpus = Corpus(Text(text) for text in texts)
    captured = capture_texts(model, corpus, range(len(corpus)), [dictionary.site], settings)
    codes = dictionary.encode(captured.activations[dictionary.site])
    rows = captured.tokens
    return [
        TextCodes(
            tokens=tuple(rows.surface(row) for row in (rows.text_id == number).nonzero()[0]),
            codes=codes[rows.text_id == number],
            truncated=number in captured.truncated,
        )
        for number in range(len(corpus))
    ]


def settings_of(capture: Mapping[str, Any], *, longest: int | None = None) -> "CaptureSettings":
    """How the activations of a run were captured, from its manifest; what it lacks is default.

    Args:
        capture: the entry of that name.
        longest: longest input in tokens, where the run allowed longer ones or any.
    """
    from cofire.models import CaptureSettings

    allowed = [n for n in (capture.get("max_length"), longest) if isinstance(n, int)]
    return CaptureSettings(
        max_length=min(allowed) if allowed else None,
        prepend_bos=bool(capture.get("bos", True)),
    )
