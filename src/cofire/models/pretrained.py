"""Read models and tokenizers with transformers: in silence, and with failures in one sentence."""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
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

logger = logging.getLogger(__name__)

_LOAD_FAILURES = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    ImportError,
    AttributeError,
    TypeError,
    IndexError,
    EOFError,
    struct.error,
    SafetensorError,
)
"""What transformers raises for missing, damaged and unknown models."""


def read_model(location: str, **options: Any) -> PreTrainedModel:
    """Read a causal language model all of whose layers are in the files.

    Args:
        location: a folder or a name on the hub.
        options: what ``from_pretrained`` takes.

    Raises:
        ModelError: when the model cannot be read, or weights of its layers are missing.
    """
    model, found = _read(
        AutoModelForCausalLM, location, "model", output_loading_info=True, **options
    )
    missing = sorted(found["missing_keys"])
    inner = [name for name in missing if name.startswith(f"{model.base_model_prefix}.")]
    if inner:
        raise ModelError(
            f"The files of {location} lack {len(inner)} of the weights of "
            f"{type(model).__name__}, {inner[0]} for one; download or save the model again."
        )
    if missing:
        logger.warning(
            "%s comes without %s, which is random: do not read its vocabulary logits",
            *(location, ", ".join(missing)),
        )
    checked: PreTrainedModel = model
    return checked


def read_tokenizer(location: str, **options: Any) -> PreTrainedTokenizerBase:
    """Read a tokenizer.

    Args:
        location: a folder or a name on the hub.
        options: what ``from_pretrained`` takes.

    Raises:
        ModelError: when it cannot be read.
    """
    tokenizer: PreTrainedTokenizerBase = _read(AutoTokenizer, location, "tokenizer", **options)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes of no files
        raise ModelError(
            f"{location} has no tokenizer; add its tokenizer files there, or pass tokenizer="
        )
    return tokenizer


def _read(reader: Any, location: str, what: str, **options: Any) -> Any:
    """``reader.from_pretrained`` in silence; failures become one sentence."""
    path = Path(location, options["gguf_file"]) if "gguf_file" in options else Path(location)
    try:
        with quiet_transformers():
            return reader.from_pretrained(location, **options)
    except _LOAD_FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        advice = _advice(path, what, reason)
        shown = path if path.exists() else location
        raise ModelError(
            f"Cannot load the {what} of {shown}: {advice}. ({_shortened(reason)})"
        ) from error


def _advice(path: Path, what: str, reason: str) -> str:
    """Why loading failed and what to do about it."""
    if "Unrecognized configuration class" in reason:
        return "it is no language model that writes from left to right; load one that does"
    if "trust_remote_code" in reason:
        return "it brings its own code; read that code, then allow it with trust_remote_code"
    if not path.exists():
        return (
            "it is neither a local folder nor found on the Hugging Face hub; check the name and "
            "the connection, or use a local folder"
        )
    if path.is_file():
        return "the file is damaged, or transformers cannot unpack models of its kind"
    if what == "tokenizer":
        return "add its tokenizer files to the folder, or pass tokenizer="
    return "its files are incomplete, damaged or of an unknown kind; download it again"


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
    tokenizer = read_tokenizer(str(path.parent), **location)
    options: dict[str, Any] = {"dtype": resolve_dtype(dtype), **location}
    if hasattr(transformers, "GgufConfig"):  # older versions always unpack
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    with _without_gguf_bar():
        model = read_model(str(path.parent), **options)
    model.config.architectures = [type(model).__name__]
    return model, tokenizer


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """While open, transformers and the hub show neither progress bars nor mere warnings."""
    loggers = (transformers_logging, hub_logging)
    levels = [each.get_verbosity() for each in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    for each in loggers:
        each.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.set_verbosity(level)
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
