"""Read models and tokenizers with transformers: in silence, and with failures in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging as transformers_logging

from cofire.device import resolve_dtype
from cofire.errors import ModelError

_LOAD_FAILURES = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    ImportError,
    AttributeError,
    TypeError,
)
"""What transformers raises for missing, damaged and unknown models."""


def read_pretrained(reader: Any, location: str, what: str, **options: Any) -> Any:
    """``reader.from_pretrained`` in silence; failures become one sentence."""
    named = location if "gguf_file" not in options else str(Path(location) / options["gguf_file"])
    try:
        with quiet_transformers():
            return reader.from_pretrained(location, **options)
    except _LOAD_FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"Cannot load the {what} of {named}: {_advice(named, what, reason)}"
        ) from error


def _advice(location: str, what: str, reason: str) -> str:
    """Why loading failed and what to do about it."""
    if Path(location).exists():
        if what == "tokenizer":
            return f"add its tokenizer files, or pass tokenizer=. ({_shortened(reason)})"
        return f"the files are incomplete, damaged or of an unknown kind. ({_shortened(reason)})"
    if "trust_remote_code" in reason:
        return "it brings its own code; read that code, then allow it with trust_remote_code."
    return (
        f"it is neither a local folder nor found on the Hugging Face hub; check the name and the "
        f"connection, or use a local folder. ({_shortened(reason)})"
    )


def _shortened(reason: str, limit: int = 200) -> str:
    return reason if len(reason) <= limit else f"{reason[:limit]}…"


def read_gguf(
    path: Path, *, dtype: str | torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a GGUF file as a dense transformers model.

    Args:
        path: the file.
        dtype: number type of the unpacked weights.

    Raises:
        ModelError: when the file is damaged or of an architecture that transformers cannot unpack.
    """
    location = {"gguf_file": path.name}
    tokenizer = read_pretrained(AutoTokenizer, str(path.parent), "tokenizer", **location)
    options: dict[str, Any] = {"dtype": resolve_dtype(dtype), **location}
    if hasattr(transformers, "GgufConfig"):  # older versions always unpack
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    with _without_gguf_bar():
        model = read_pretrained(AutoModelForCausalLM, str(path.parent), "model", **options)
    model.config.architectures = [type(model).__name__]
    return model, tokenizer


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """While open, transformers shows neither progress bars nor messages below errors."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _without_gguf_bar() -> Iterator[None]:
    """Hide the progress bar of unpacking, which does not follow transformers' own switch."""
    original = modeling_gguf_pytorch_utils.tqdm
    modeling_gguf_pytorch_utils.tqdm = partial(original, disable=True)
    try:
        yield
    finally:
        modeling_gguf_pytorch_utils.tqdm = original
