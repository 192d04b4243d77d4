"""What is computed on request: codes of texts, and steering."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cofire.interpret.wording import readable
from cofire.web.records.base import Record

MOST_TEXTS, MOST_TEXT, MOST_PROMPT = 20, 5000, 2000
MOST_TESTED_FEATURES, MOST_STEERED_FEATURES = 20, 8
MOST_SAMPLES, MOST_NEW_TOKENS = 4, 200
MOST_LABEL = 200

FeatureIndex = Annotated[int, Field(ge=0, le=10_000_000)]


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("write some text; there are only spaces")
    return text


def _plain(text: str | None) -> str | None:
    if text is None:
        return None
    text = text.strip()
    if not text or readable(text) != text or "\n" in text or "\t" in text:
        raise ValueError("write one line of plain text, or null to take a label back")
    return text


SomeText = Annotated[str, Field(min_length=1, max_length=MOST_TEXT), AfterValidator(_written)]


class LabelEdit(Record):
    """A label somebody gives a feature."""

    label: Annotated[str | None, Field(max_length=MOST_LABEL), AfterValidator(_plain)] = Field(
        description="One line; null takes an edited label back."
    )


class ModelStatus(Record):
    """What there is of a run's model."""

    run: str
    state: Literal["off", "not loaded", "loading", "ready", "failed"]
    problem: str | None = Field(description="Why there is none.")


class FiringRequest(Record):
    """Which features fire on a text?"""

    text: SomeText
    limit: int = Field(50, ge=1, le=200, description="How many features at most.")
    by: Literal["code", "share"] = Field(
        "code", description="share: the code as a share of the feature's largest one."
    )


class FiringFeature(Record):
    """A feature that fires on the text."""

    feature: int
    label: str
    code: float = Field(description="Its largest code on the text.")
    share: float | None = Field(description="That as a share of its largest code in the run.")
    focus: int = Field(description="Index of the token it fires on most.")
    codes: list[float] = Field(description="Code at every token.")


class Firing(Record):
    """The features that fire on a text, strongest first."""

    run: str
    layer: int
    tokens: list[str]
    truncated: bool = Field(description="Whether the text was cut at the longest length.")
    found: int = Field(description="Features with a code above 0.")
    features: list[FiringFeature]


class TestRequest(Record):
    """The codes of some features on some texts, token by token."""

    run: str = Field(max_length=100)
    layer: int = Field(ge=0, le=100_000)
    features: list[FeatureIndex] = Field(min_length=1, max_length=MOST_TESTED_FEATURES)
    texts: list[SomeText] = Field(min_length=1, max_length=MOST_TEXTS)


class TestedFeature(Record):
    """A feature of a live test."""

    feature: int
    label: str
    max_code: float = Field(description="Its largest code in the run, a scale for colours.")


class TestedText(Record):
    """One text of a live test."""

    tokens: list[str]
    truncated: bool
    codes: list[list[float]] = Field(description="A list a feature, each with a code a token.")


class TestResult(Record):
    """Codes token by token."""

    run: str
    layer: int
    features: list[TestedFeature]
    texts: list[TestedText]


class TestLimits(Record):
    """What a live test takes, and whether there are models."""

    models: list[ModelStatus]
    most_texts: int
    most_characters: int
    most_features: int


class SteerFeature(Record):
    """How one feature is steered: give a strength or a KL target."""

    feature: FeatureIndex
    strength: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="In units of the median length of the activations at the site.",
    )
    kl: float | None = Field(
        None, ge=1e-4, le=10, description="KL it is to reach by itself, in nats."
    )
    sign: Literal[1, -1] = Field(1, description="-1 takes the atom away.")

    @model_validator(mode="after")
    def _one_of_two(self) -> "SteerFeature":
        if (self.strength is None) == (self.kl is None):
            raise ValueError("give a strength or a KL target, one of them")
        return self


class SteerRequest(Record):
    """Steer features of one layer together."""

    run: str = Field(max_length=100)
    layer: int = Field(ge=0, le=100_000)
    features: list[SteerFeature] = Field(min_length=1, max_length=MOST_STEERED_FEATURES)
    prompt: Annotated[str, Field(min_length=1, max_length=MOST_PROMPT), AfterValidator(_written)]
    kl: float | None = Field(
        None, ge=1e-4, le=10, description="KL that all together are to reach, in nats."
    )
    samples: int = Field(2, ge=1, le=MOST_SAMPLES)
    new_tokens: int = Field(40, ge=1, le=MOST_NEW_TOKENS)
    temperature: float = Field(1.0, ge=0, le=10, description="0: always the most likely token.")
    top_k: int | None = Field(30, ge=1, le=1_000_000)
    top_p: float | None = Field(0.3, gt=0, le=1)
    seed: int = Field(0, ge=0, le=2**31 - 1)


class SteeredFeature(Record):
    """One feature of a job, as it was steered."""

    feature: int
    label: str
    sign: Literal[1, -1]
    strength: float
    kl: float | None = Field(description="What it reaches by itself; null where not measurable.")
    status: Literal["given", "found", "unreachable", "inexact"]


class SteeredTogether(Record):
    """All features of a job together."""

    strength: float
    kl: float | None
    status: Literal["given", "found", "unreachable", "inexact"]


class NextToken(Record):
    """A next token's probability after the prompt."""

    token_id: int
    token: str
    before: float
    after: float


class WrittenText(Record):
    """A continuation, as far as it is written."""

    sample: int
    text: str
    tokens: int
    ended: bool = Field(description="Whether the model ended the text.")


JobState = Literal["waiting", "loading", "matching", "writing", "done", "cancelled", "failed"]


class SteerJob(Record):
    """A steering job as it is now."""

    job: str
    version: int = Field(description="Rises with every change.")
    state: JobState
    place: int | None = Field(description="Jobs that wait before it; null when it does not wait.")
    problem: str | None = Field(description="One sentence when it failed.")
    request: SteerRequest
    features: list[SteeredFeature]
    together: SteeredTogether | None
    probabilities: list[NextToken] = Field(description="Largest change first.")
    base: list[WrittenText] = Field(description="Of the model as it is.")
    steered: list[WrittenText]


class SteerLine(Record):
    """A job in the list of jobs."""

    job: str
    state: JobState
    place: int | None
    run: str
    layer: int
    features: list[int]
    prompt: str


class SteerList(Record):
    """The jobs that are known, newest first, and what a job may ask for."""

    models: list[ModelStatus]
    jobs: list[SteerLine]
    most_features: int
    most_samples: int
    most_new_tokens: int
    most_prompt: int
    most_waiting: int
