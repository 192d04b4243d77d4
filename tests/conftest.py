"""Shape and type checks for every test, and a tiny model on disk."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Annotated cofire functions check shapes and types in the tests; before any import of cofire.
install_import_hook("cofire", "beartype.beartype")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with its tokenizer, in a folder such as a hub gives."""
    from cofire.data import bundled_concepts
    from tiny_models import tiny_model, train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tiny_model("llama").save_pretrained(folder)
    train_tokenizer(text.text for text in bundled_concepts()).save_pretrained(folder)
    return folder
