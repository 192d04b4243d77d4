"""Settings of ``cofire compare`` and ``cofire sweep``."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import tyro
from pydantic import Field, field_validator

from cofire.config.base import ListingConfig
from cofire.config.capture import CaptureConfig
from cofire.config.judge import LlmConfig

CompareType = TypeVar("CompareType", bound="CompareConfig")

_QUICK: dict[str, Any] = {
    "layers": "5",
    "methods": "snmf,diffmeans,permuted-snmf",
    "k": "40",
    "seeds": 2,
    "loss_texts": 16,
    "steer": 2,
    "targets": "0.1,0.5",
    "samples": 2,
    "new_tokens": 12,
}


class CompareConfig(LlmConfig, CaptureConfig, ListingConfig):
    """Fit methods side by side and measure them all alike: the whole comparison in one command.

    Every cell of method × layer × k × sparsity × seed is fitted on the same training rows and
    judged on held-out texts: reconstruction, what the model loses when the reconstruction takes the
    activation's place, detection of labelled concepts, agreement between seeds, and with --steer
    what the features do to the model. Tables hold intervals, paired tests with correction for many
    comparisons, and what is missing.

    Settings may come from a YAML file, given first. Every finished stage of a cell is kept; the
    same command goes on, and a second one at the same time shares the work. Methods, k,
    sparsities, seeds and steered features may be added later: what is there already is kept.

    A language model, at an endpoint or in this process, may judge what steered features write, name
    features, and write the sentences they are tested on. Its answers are kept in the folder and
    nothing is asked twice; one that cannot be read is missing, counted and shown.

    Examples:

        cofire compare --quick

        cofire compare --layers 5,11 --methods snmf,sae-topk,diffmeans,random --seeds 3 -o runs/fair

        cofire compare study.yaml --steer 30

        cofire compare --methods snmf,snmf:solver=mu,permuted-snmf --protocol published

        cofire compare --layers 5 --steer 10 --judge llm --labels llm --written 10
        --llm-base-url http://localhost:8000/v1 --llm-model NAME
    """

    file_first: ClassVar[bool] = True

    activations: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = Field(
        None,
        description="Folder made by `cofire capture`; model, texts and site are then its own. "
        "Default: captured into the output folder.",
    )
    methods: Annotated[str, tyro.conf.arg(metavar="M,M,...")] = Field(
        "snmf,diffmeans,pca,kmeans,neurons,random,permuted-snmf",
        description="Methods, the first of which the others are compared with; settings of a "
        "method follow it, as in snmf:solver=mu:max_iter=500. `cofire methods` lists them; all "
        "takes all.",
    )
    k: Annotated[str, tyro.conf.arg(aliases=["-k"], metavar="N,N,...")] = Field(
        "100", description="Numbers of features."
    )
    sparsity: Annotated[str, tyro.conf.arg(metavar="S,S,...")] = Field(
        "0.01", description="Shares of neurons each feature keeps, for methods that take one."
    )
    seeds: int = Field(3, ge=1, description="How many seeds, counted from --seed.")
    runs: Annotated[str | None, tyro.conf.arg(metavar="RUN,RUN,...")] = Field(
        None,
        description="Run folders whose dictionaries are compared as they are, where they are of "
        "the same site, such as `cofire fit --method sae` makes of a public sparse autoencoder.",
    )
    protocol: Literal["extended", "published"] = Field(
        "extended",
        description="published: five sentences of each kind by cosine, steering with one strength "
        "for both signs and no top-p, scored by the best of all cells with missing judgements "
        "counted 0, descriptions from contexts in the lower and from promoted tokens in the upper "
        "half of the layers. Judges see continuations only.",
    )
    active: int | None = Field(
        None,
        ge=1,
        description="Measure reconstruction with at most this many features a token as well, the "
        "same for every method. Default: a fifth of k, as the matched sparse autoencoders have.",
    )
    loss_texts: int = Field(
        100,
        ge=0,
        description="Held-out texts on which reconstructions take the activation's place; 0 for "
        "none. Drawn with --seed.",
    )
    loss_seeds: int = Field(1, ge=1, description="Of how many seeds that is measured.")
    halves: int = Field(
        1,
        ge=0,
        description="Of how many seeds a fit to one half of the training texts is compared with a "
        "fit to the other; 0 for none.",
    )
    steer: int = Field(
        0,
        ge=0,
        description="Features steered a cell, drawn at random among those alive, never by outcome; "
        "0 for none.",
    )
    steer_seeds: int = Field(
        1, ge=1, description="Of how many seeds features are steered, or written about."
    )
    targets: Annotated[str, tyro.conf.arg(metavar="KL,KL,...")] = Field(
        "0.025,0.05,0.1,0.15,0.25,0.35,0.5",
        description="How far steering changes the next token's distribution, in nats.",
    )
    samples: int = Field(8, ge=2, description="Continuations of a sign, target and prompt.")
    new_tokens: int = Field(50, ge=1, description="Longest continuation, in tokens.")
    prompts: int = Field(
        1, ge=1, le=5, description="How many prompts are continued; the first is the published one."
    )
    descriptions: Literal["input", "output"] = Field(
        "input",
        description="What steered features are judged for: what fires them, or what they promote.",
    )
    labels: Literal["offline", "llm"] = Field(
        "offline",
        description="Who says what steered features are: offline (the tokens that fire them or "
        "that they promote), or llm (the language model is shown their contexts or those tokens; "
        "where it gives no label, the offline one stays).",
    )
    judge: Literal["words", "sentences", "llm", "local", "none"] = Field(
        "words",
        description="Judge of continuations: offline by words or by sentence embeddings (extra "
        "cofire[embed]; better), llm (an endpoint), local (a model in this process), or none.",
    )
    written: int = Field(
        0,
        ge=0,
        description="Features a cell, drawn as for --steer, that are tested on five sentences with "
        "and five without what they are said to be, which the language model writes: the published "
        "concept detection. 0 for none.",
    )
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="A small comparison in a few minutes: other defaults, same stages."
    )

    @field_validator("methods", "k", "sparsity", "targets", "layers", "runs", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        """YAML may list what flags separate by commas."""
        if isinstance(value, list):
            return ",".join(str(part) for part in value)
        return str(value) if isinstance(value, int | float) else value

    def with_quick(self: CompareType) -> CompareType:
        """With ``quick``, its defaults in place of the others; what was set stays."""
        if not self.quick:
            return self
        fields = type(self).model_fields
        update = {n: v for n, v in _QUICK.items() if getattr(self, n) == fields[n].default}
        return self.model_copy(update={**update, "quick": False})


class SweepConfig(CompareConfig):
    """Vary one thing and measure everything at each value: a comparison with a plot against it.

    Reconstruction, detection and steering are measured on held-out texts at every value, with the
    stages, tables and resuming of `cofire compare`.

    Examples:

        cofire sweep --vary sparsity --values 0.005,0.01,0.02,0.05,0.1 --layers 11

        cofire sweep --vary code_penalty --values 0,0.01,0.03,0.1 --methods snmf --steer 10
    """

    methods: Annotated[str, tyro.conf.arg(metavar="M,M,...")] = Field(
        "snmf", description="Methods, as for `cofire compare`."
    )
    vary: Annotated[str, tyro.conf.arg(metavar="SETTING")] = Field(
        "sparsity",
        description="k, sparsity, or a setting of the methods such as code_penalty, max_active or "
        "max_iter.",
    )
    values: Annotated[str, tyro.conf.arg(metavar="V,V,...")] = Field(
        "0.005,0.01,0.02,0.05,0.1", description="Its values."
    )

    @field_validator("values", mode="before")
    @classmethod
    def _joined_values(cls, value: Any) -> Any:
        return cls._joined(value)
