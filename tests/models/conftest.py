"""A tokenizer trained on the spot, tiny models, and the one real model."""

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerBase

from cofire.corpus import Corpus, Text
from cofire.models import LanguageModel, load_model
from tiny_models import tiny_model, train_tokenizer

SENTENCES = [
    "The train leaves the station at noon.",
    "On Monday the café opens late; on Friday, early.",
    "Rain.",
    "She counted seven blue boats, then eleven more, and wrote the sum down in pencil.",
    "  Two  spaces, a tab\tand a line\nbreak.",
    "The moon 🌙 rose over 東京 while nobody watched.",
    "He asked: why?",
]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level BPE with separate special tokens."""
    return train_tokenizer(SENTENCES)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """Sentences of different lengths."""
    return Corpus(Text(sentence) for sentence in SENTENCES)


@pytest.fixture(scope="session")
def build(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], LanguageModel]:
    """Build a tiny model of an architecture; each is built once."""
    built: dict[str, LanguageModel] = {}

    def get(name: str) -> LanguageModel:
        if name not in built:
            built[name] = LanguageModel(tiny_model(name), tokenizer, name=name)
        return built[name]

    return get


@pytest.fixture(scope="session")
def gemma() -> LanguageModel:
    """The small real model."""
    return load_model("gemma-3-270m", device="cpu")
