"""The language model that a command asks, with a journal in the folder of its results."""

import logging
from pathlib import Path
from typing import Literal

from cofire.config import LlmConfig
from cofire.errors import InputError, ModelError
from cofire.evaluation.judging import HIGHEST, LanguageModelJudge
from cofire.llm import (
    EndpointModel,
    JournaledModel,
    LocalModel,
    load_prompt,
    read_rating,
)
from cofire.models import load_model
from cofire.progress import Progress

logger = logging.getLogger(__name__)

JOURNAL = "answers.jsonl"
"""File in the folder of results with every prompt and raw answer."""

_PROBE = {"label": "rain", "text": "It rained all night, and the streets were wet."}


def chat_model(
    config: LlmConfig, folder: Path, *, device: str, progress: Progress
) -> JournaledModel:
    """The endpoint or the local model that the settings name; nothing is asked yet.

    Args:
        config: which model.
        folder: keeps the journal.
        device: where a local model runs.
        progress: shown while a local model is loaded.

    Raises:
        InputError: when none is named, or both kinds are.
        ModelError: when the local model cannot be loaded.
    """
    endpoint = config.llm_base_url is not None or config.llm_model is not None
    if endpoint and config.local_model is not None:
        raise InputError("Give an endpoint (--llm-base-url) or --local-model, not both.")
    if config.local_model is not None:
        with progress.task(f"Loading {config.local_model}", None, "") as advance:
            loaded = load_model(config.local_model, device=device)
            advance(1)
        local = LocalModel(loaded.model, loaded.tokenizer, name=loaded.name)
        return JournaledModel(local, folder / JOURNAL)
    if config.llm_base_url is None or config.llm_model is None:
        raise InputError(
            "Name the language model to ask: --llm-base-url http://... with --llm-model NAME, or "
            "--local-model FOLDER."
        )
    remote = EndpointModel(
        config.llm_model,
        base_url=config.llm_base_url,
        concurrency=config.llm_at_once,
        timeout=config.llm_timeout,
    )
    return JournaledModel(remote, folder / JOURNAL)


def judging_model(
    config: LlmConfig,
    judge: Literal["llm", "local"],
    folder: Path,
    *,
    device: str,
    progress: Progress,
) -> JournaledModel:
    """``chat_model`` for a judge: an endpoint for ``llm``, a model in this process for ``local``.

    Raises:
        InputError: when the settings name another kind.
        ModelError: when the local model cannot be loaded.
    """
    if judge == "local" and config.local_model is None:
        raise InputError("The local judge needs --local-model FOLDER.")
    if judge == "llm" and config.local_model is not None:
        raise InputError("--local-model goes with --judge local.")
    return chat_model(config, folder, device=device, progress=progress)


def model_judge(model: JournaledModel, config: LlmConfig) -> LanguageModelJudge:
    """The judge that asks this model, with the prompts of the settings."""
    return LanguageModelJudge(model, prompts=config.llm_prompts)


def check_answering(model: JournaledModel, config: LlmConfig) -> None:
    """Ask one question, past the journal: what cannot be asked should be known before long work.

    Raises:
        CofireError: when the model cannot be reached, refuses the key, or gives no answer.
    """
    question = load_prompt("judge_concept", folder=config.llm_prompts).fill(**_PROBE)
    (answer,) = model.model.complete([question])
    if answer.text is None:
        raise ModelError(f"{model.name} does not answer a first question: {answer.error}")
    if read_rating(answer.text, highest=HIGHEST) is None:
        logger.warning(
            "%s gave a first question no rating that can be read; such answers are missing",
            model.name,
        )
