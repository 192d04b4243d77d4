"""A tokenizer trained on the spot, tiny models, and the one real model."""

from collections.abc import Callable

import pytest
from tiny_models import VOCABULARY, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from cofire.corpus import Corpus, Text
from cofire.models import LanguageModel, load_model

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
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


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
