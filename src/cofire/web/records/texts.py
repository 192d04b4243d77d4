"""A stretch of a stored text with codes."""

from pydantic import Field

from cofire.web.records.base import Record


class FeatureCodes(Record):
    """The codes of one feature."""

    feature: int
    label: str
    max_code: float = Field(description="Its largest code on the training rows.")
    codes: list[float] = Field(description="One a token.")


class TextWindow(Record):
    """Some tokens of a text around one row, with codes of some features."""

    run: str
    layer: int
    row: int
    text_id: int
    label: str | None = Field(description="Concept of the text.")
    split: str | None = Field(description="train or heldout; null when it is not known.")
    focus: int = Field(description="Index of the row's own token.")
    more_before: int = Field(description="Tokens of the text before the window.")
    more_after: int
    tokens: list[str]
    features: list[FeatureCodes]
