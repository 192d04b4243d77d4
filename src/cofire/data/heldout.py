"""Set texts aside for measuring, by a choice that only texts, labels and seed decide."""

import hashlib
from dataclasses import replace

from cofire.corpus import Corpus, Text
from cofire.errors import DataError, InputError


def hold_out(corpus: Corpus, amount: int | float, *, seed: int = 0) -> Corpus:
    """Mark some texts of every label as held out.

    Texts are ranked by a hash of seed and text, so the choice does not depend on their order, and
    copies of a text always stay on one side (a text under two labels counts for its first).

    Args:
        corpus: texts, none of them held out yet.
        amount: a whole number, so many distinct texts a label; or a fraction between 0 and 1 of
            the distinct texts of each label, rounded, at least one where a label has two or more,
            and never all of them. Unlabelled texts count as one label.
        seed: another seed makes another choice.

    Returns:
        The same texts in the same order, with their splits.

    Raises:
        InputError: when the amount is neither.
        DataError: when texts are held out already, or a label has too few texts.
    """
    check_amount(amount)
    if any(text.split == "heldout" for text in corpus):
        raise DataError(
            "The texts are divided into train and heldout already; do not ask to hold out more."
        )
    chosen: set[str] = set()
    for label, texts in _distinct_by_label(corpus).items():
        if isinstance(amount, int):
            count = amount
            if len(texts) <= count:
                raise DataError(
                    f"Cannot hold out {count} texts of {_shown(label)}: it has {len(texts)} "
                    "distinct ones, and at least one must stay; hold out fewer."
                )
        else:
            count = min(max(1, round(amount * len(texts))), len(texts) - 1)
        chosen.update(sorted(texts, key=lambda text: _rank(text, seed))[:count])
    return Corpus(
        (replace(text, split="heldout") if text.text in chosen else text for text in corpus),
        skipped=corpus.skipped,
    )


def check_amount(amount: int | float) -> None:
    """Refuse what `hold_out` could not use.

    Raises:
        InputError: unless the amount is a whole number from 1 or a fraction between 0 and 1.
    """
    whole = isinstance(amount, int) and not isinstance(amount, bool) and amount >= 1
    if not whole and not (isinstance(amount, float) and 0 < amount < 1):
        raise InputError(
            "Texts to hold out are a whole number a label, such as 5, or a fraction, such as 0.2; "
            f"got {amount!r}."
        )


def _distinct_by_label(corpus: Corpus) -> dict[str | None, list[str]]:
    first: dict[str, Text] = {}
    for text in corpus:
        first.setdefault(text.text, text)
    by_label: dict[str | None, list[str]] = {}
    for text in first.values():
        by_label.setdefault(text.label, []).append(text.text)
    return by_label


def _rank(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{text}".encode(errors="surrogatepass")).digest()


def _shown(label: str | None) -> str:
    return "the unlabelled texts" if label is None else f"label {label!r}"
