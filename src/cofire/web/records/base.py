"""What all answers share."""

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Base of every answer: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Record):
    """Why a request was refused or failed."""

    error: str = Field(description="One sentence that says what was wrong and what to do.")
