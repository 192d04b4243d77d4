"""Settings of the commands that judge features: ``cofire doctor``, ``steer`` and ``label``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from cofire.config.base import Config, ListingConfig, RunFolder

_Flag = tyro.conf.FlagCreatePairsOff


class DoctorConfig(ListingConfig):
    """Say what is wrong with the features of a run, by which figure, and what to change.

    Named are features that are dead, that collapsed into one, that do not steer the model, and that
    fire less where their concept is. Whether they steer is known once `cofire steer` has measured
    it.

    Examples:

        cofire doctor runs/demo

        cofire doctor runs/demo --layer 11 --json
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; all when not given.")
    limit: int = Field(10, ge=0, description="Features named of each kind; JSON has all.")


class LlmConfig(Config):
    """Which language model is asked."""

    llm_base_url: str | None = Field(
        None,
        description="Address of an OpenAI-compatible endpoint, such as http://localhost:8000/v1. "
        "The key is read from the environment variable OPENAI_API_KEY.",
    )
    llm_model: str | None = Field(None, description="What the endpoint calls the model.")
    llm_at_once: int = Field(4, ge=1, description="Requests to the endpoint at a time.")
    llm_timeout: float = Field(
        60.0, gt=0, description="Seconds without an answer before a question is asked again."
    )
    local_model: str | None = Field(
        None,
        description="A model asked in this process in place of an endpoint: a hub id, a local "
        "folder or a .gguf file.",
    )
    llm_prompts: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = Field(
        None,
        description="Folder of your own prompts (judge_concept.md, label_from_contexts.md, ...); "
        "files of these names take the place of ours.",
    )


class SteerConfig(LlmConfig, ListingConfig):
    """Steer the model along features of a run, and judge what it then writes.

    For every feature, sign and KL target a strength is searched; a target that cannot be reached is
    recorded. Prompts are continued under each, and a judge rates how present the feature's label is
    and how well the text is written (0 to 2 each; the score is their harmonic mean). The best cell
    is chosen on one half of the continuations and scored on the other. What becomes of the tokens a
    feature promotes needs no judge; null directions (its values on shuffled neurons) stand beside.

    Results are kept in the run folder. An interrupted command goes on; more features can be added
    with the same settings.

    Examples:

        cofire steer runs/demo --layer 11 --features 3,17

        cofire steer runs/demo --layer 11 --sample 30 --samples 4 --new-tokens 30

        cofire steer runs/demo --layer 11 --features 3 --judge llm --llm-base-url
        http://localhost:8000/v1 --llm-model NAME
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    features: Annotated[str | None, tyro.conf.arg(metavar="N,N-N,...")] = Field(
        None, description="Which features: 3,17 or 0-9."
    )
    all: Annotated[bool, _Flag] = Field(False, description="All features.")
    sample: int | None = Field(
        None, ge=1, description="So many features that are not dead, drawn with --seed."
    )
    judge: Literal["offline", "llm", "local", "none"] = Field(
        "offline",
        description="Who judges: offline (no language model), llm (an endpoint), local (a model in "
        "this process), or none.",
    )
    describe: Literal["offline", "input", "output", "tokens"] = Field(
        "offline",
        description="What a feature is said to be: its offline label, a label written by `cofire "
        "label` (input or output), or the tokens it promotes.",
    )
    protocol: Literal["extended", "published"] = Field(
        "extended",
        description="published: one strength for both signs and no top-p; a column `published` has "
        "the best of all cells, missing judgements counted 0. Judges see continuations only.",
    )
    prompt: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="TEXT")] = Field(
        None, description="Prompts to continue. Default: the published one, `I think that`."
    )
    targets: Annotated[str | None, tyro.conf.arg(metavar="KL,KL,...")] = Field(
        None,
        description="KL targets in nats. Default: the published ones, 0.025,0.05,0.1,0.15,0.25,"
        "0.35,0.5.",
    )
    samples: int = Field(8, ge=1, description="Continuations a feature, sign, target and prompt.")
    new_tokens: int = Field(50, ge=1, description="Longest continuation, in tokens.")
    temperature: float = Field(1.0, ge=0, description="Of sampling.")
    top_k: int | None = Field(30, ge=1, description="Of sampling; None for all tokens.")
    top_p: float | None = Field(0.3, description="Of sampling; 1 for none.")
    controls: int = Field(2, ge=0, description="Null directions a feature.")
    again: Annotated[bool, _Flag] = Field(
        False, description="Replace earlier results that were made with other settings."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")


class LabelConfig(LlmConfig, ListingConfig):
    """Let a language model name the features of a run.

    From the contexts that fire a feature (input) and from the tokens it promotes and demotes
    (output). The offline labels stay; the new ones stand beside them. Every prompt and answer is
    kept in the run folder, nothing is asked twice, and an answer that cannot be read is a missing
    label.

    Examples:

        cofire label runs/demo --layer 11 --llm-base-url http://localhost:8000/v1 --llm-model NAME

        cofire label runs/demo --layer 11 --features 0-9 --local-model ./my-chat-model
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; all when not given.")
    features: Annotated[str | None, tyro.conf.arg(metavar="N,N-N,...")] = Field(
        None, description="Which features: 3,17 or 0-9. Default: all that are not dead."
    )
    kind: Literal["both", "input", "output"] = Field(
        "both", description="What labels are written from: contexts, promoted tokens, or both."
    )
    device: str = Field("auto", description="For --local-model: auto, cpu, cuda, cuda:N or mps.")
