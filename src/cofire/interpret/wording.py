"""Tokens, texts and figures as people read them, in a terminal as on a page.

Every string that comes from a model, a text or a user goes through ``readable``, ``token_text`` or
``visible`` before it is shown: a text may hold codes that a terminal would obey.
"""

import unicodedata

MISSING = "–"
"""Shown for a value that could not be measured; a missing value is never shown as 0."""

_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
# Characters that cannot be seen and that reorder or hide the text around them.
_HIDDEN = (0x200B, 0x2028, 0x2029, 0x2060, 0xFEFF, 0xFFFE, 0xFFFF)
_READABLE: dict[int, str] = {
    **_CONTROLS,
    0x7F: "␡",
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x80, 0xA0), *_HIDDEN)},
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    **dict.fromkeys(range(55296, 57344), "�"),
}
_IN_TEXT = str.maketrans({"\n": "↵", "\t": "⇥"})
_ALONE = str.maketrans({"\n": "↵", "\t": "⇥", " ": "␣"})


def readable(text: str) -> str:
    """Text that is safe to look at: control and direction characters become visible marks.

    Line breaks and tabs stay; marks that letters need (joiners, accents) stay.

    >>> readable("a\\x00b\\u202ec")
    'a␀b⟨U+202E⟩c'
    """
    return text.translate(_READABLE)


def token_text(piece: str) -> str:
    """A token for running text: spaces around it kept, anything that cannot be seen made visible.

    >>> token_text(" Monday"), token_text("\\n"), token_text(" "), token_text("\\u00a0")
    (' Monday', '↵', '␣', '⟨U+00A0⟩')
    """
    shown = readable(piece)
    if not shown.strip():
        shown = shown.translate(_ALONE)
    if all(_blank(character) for character in shown):
        return "".join(f"⟨U+{ord(character):04X}⟩" for character in shown)
    return shown.translate(_IN_TEXT)


def visible(piece: str) -> str:
    """A token on its own: as ``token_text``, without the spaces around it; never empty.

    >>> visible(" Monday"), visible("\\n"), visible("\\x1b[31m"), visible("")
    ('Monday', '↵', '␛[31m', '⟨empty⟩')
    """
    return token_text(piece.strip() or piece) or "⟨empty⟩"


def _blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cf", "Mn", "Cn")


def figure(value: float | int | None, digits: int = 3) -> str:
    """A number to so many significant digits, or the mark for a missing one.

    >>> figure(0.12345), figure(1234567.0), figure(999.7), figure(3.2e-7), figure(None)
    ('0.123', '1,234,567', '1,000', '3.2e-07', '–')
    """
    if value is None:
        return MISSING
    short = f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(float(short)) >= 10**digits else short
