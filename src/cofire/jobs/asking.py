"""The language model that a command asks, with a journal in the run's folder."""

from cofire.config import LlmConfig
from cofire.errors import InputError
from cofire.llm import EndpointModel, JournaledModel, LocalModel
from cofire.models import load_model
from cofire.progress import Progress
from cofire.store import Run

JOURNAL = "answers.jsonl"
"""File in the run's folder with every prompt and raw answer."""


def chat_model(config: LlmConfig, run: Run, *, device: str, progress: Progress) -> JournaledModel:
    """The endpoint or the local model that the settings name; nothing is asked yet.

    Args:
        config: which model.
        run: keeps the journal.
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
        return JournaledModel(local, run.path / JOURNAL)
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
    return JournaledModel(remote, run.path / JOURNAL)
