"""Texts to tokens: ids for the model, and which piece of which text each of them is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from cofire.activations import TokenTable
from cofire.corpus import Corpus, Text
from cofire.errors import DataError, InputError

_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """Some texts of a corpus as the model will read them.

    Attributes:
        ids: token ids of each text that has any, the leading special token included.
        rows: for each of them, the places in ``ids`` that become rows.
        table: one line a row, in the order of the texts.
        truncated: numbers of the texts that were cut at the longest length allowed.
        skipped: numbers of the texts that gave no token.
    """

    ids: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[int, ...], ...]
    table: TokenTable
    truncated: tuple[int, ...]
    skipped: tuple[int, ...]


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    text_ids: Sequence[int],
    *,
    max_length: int | None = None,
    prepend_bos: bool = True,
    skip_empty: bool = False,
) -> TokenizedTexts:
    """Tokenize texts; special tokens are fed to the model but never become rows.

    Args:
        tokenizer: the model's tokenizer.
        corpus: the texts.
        text_ids: which of them, by number.
        max_length: longest input in tokens, special tokens included; the rest is cut off.
        prepend_bos: put the beginning-of-sequence token first, in tokenizers that have one.
        skip_empty: leave out texts without tokens in place of raising.

    Raises:
        DataError: when a text is empty or blank and ``skip_empty`` is off.
        InputError: when ``max_length`` leaves no room for a token, or a text number does not exist.
    """
    bos = tokenizer.bos_token_id if prepend_bos else None
    start = [] if bos is None else [int(bos)]
    if max_length is not None and max_length <= len(start):
        raise InputError(
            f"max_length is {max_length}, which leaves no room for a token after the "
            f"{len(start)} special ones; give at least {len(start) + 1}."
        )
    for text_id in text_ids:
        if not 0 <= text_id < len(corpus):
            raise InputError(f"There is no text {text_id}: the corpus has {len(corpus)} texts.")
    room = None if max_length is None else max_length - len(start)
    special = _special_ids(tokenizer)
    builder = _TableBuilder()
    ids: list[tuple[int, ...]] = []
    rows: list[tuple[int, ...]] = []
    truncated: list[int] = []
    skipped: list[int] = []
    for first in range(0, len(text_ids), _TEXTS_AT_ONCE):
        numbers = text_ids[first : first + _TEXTS_AT_ONCE]
        texts = [corpus[number].text for number in numbers]
        for number, text, (tokens, ends) in zip(
            numbers, texts, _encode(tokenizer, texts), strict=True
        ):
            if room is not None and len(tokens) > room:
                tokens, ends = tokens[:room], ends[:room]
                truncated.append(number)
                text = text[: ends[-1]]
            kept = [place for place, token in enumerate(tokens) if token not in special]
            if not kept or not text.strip():
                if not skip_empty:
                    raise DataError(_empty_message(corpus[number], number))
                skipped.append(number)
                continue
            builder.add(number, text, tokens, ends, kept, len(start))
            ids.append((*start, *tokens))
            rows.append(tuple(place + len(start) for place in kept))
    return TokenizedTexts(
        tuple(ids), tuple(rows), builder.table(), tuple(truncated), tuple(skipped)
    )


def name_of(text: Text, number: int) -> str:
    """How messages call a text: where it was read, or its number."""
    return text.source or f"text {number}"


def _empty_message(text: Text, number: int) -> str:
    return (
        f"{name_of(text, number)}: the text is empty, so it gives no token; "
        "remove it, or skip such texts with skip_empty."
    )


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that stand for no text; the unknown token does stand for some."""
    special = set(tokenizer.all_special_ids)
    others = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    if tokenizer.unk_token_id not in others:
        special.discard(tokenizer.unk_token_id)
    return special


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> list[tuple[list[int], list[int]]]:
    """Token ids of each text, and where in the text each token ends."""
    if tokenizer.is_fast:
        encoded = tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [
            (tokens, [end for _, end in offsets])
            for tokens, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]
    result = []
    for text in texts:
        tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        result.append((tokens, _decoded_ends(tokenizer, tokens, text)))
    return result


def _decoded_ends(tokenizer: PreTrainedTokenizerBase, tokens: list[int], text: str) -> list[int]:
    """Where each token ends, from how much of the text the tokens so far decode to.

    A tokenizer that changes the text (lower case) decodes to something else; the lengths are then
    what is left to go by.
    """
    ends = []
    for count in range(1, len(tokens) + 1):
        decoded = tokenizer.decode(
            tokens[:count], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        ends.append(min(len(str(decoded).rstrip("\N{REPLACEMENT CHARACTER}")), len(text)))
    return ends


class _TableBuilder:
    """Collects the columns of a token table."""

    def __init__(self) -> None:
        self._columns: dict[str, list[int]] = {
            name: [] for name in ("text_id", "position", "token_id", "piece")
        }
        self._pieces: dict[str, int] = {}

    def add(
        self,
        number: int,
        text: str,
        tokens: list[int],
        ends: list[int],
        kept: list[int],
        n_special: int,
    ) -> None:
        """Add the rows of one text.

        A piece runs from where the one before ended to where the token ends, so that white space
        that a tokenizer drops stays with the token after it, and the last piece takes the rest.
        Of a character that is split into bytes the first token gets all, the others nothing.
        """
        done = 0
        for place in kept:
            end = len(text) if place == kept[-1] else max(done, ends[place])
            piece = text[done:end]
            done = end
            self._columns["text_id"].append(number)
            self._columns["position"].append(place + n_special)
            self._columns["token_id"].append(tokens[place])
            self._columns["piece"].append(self._pieces.setdefault(piece, len(self._pieces)))

    def table(self) -> TokenTable:
        """The table of all rows added."""
        columns = {name: np.array(values, dtype=np.int32) for name, values in self._columns.items()}
        return TokenTable(**columns, pieces=tuple(self._pieces))
