"""Small activations whose features are known, for tests that need no model."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from cofire.activations import Activations, TokenTable
from cofire.corpus import Corpus, Text
from cofire.registry import methods
from cofire.site import Site

SITE = Site(2, "mlp")


def method_parameters() -> list[Any]:
    """Every registered method, skipped where the extra that it needs is missing."""
    missing = pytest.mark.skipif(find_spec("sae_lens") is None, reason="needs the extra sae")
    return [
        pytest.param(name, marks=missing if name.startswith("sae-") else ()) for name in methods()
    ]


def token_table(texts: list[str]) -> TokenTable:
    """Tokens by white space, leading space kept."""
    rows = []
    for text_id, text in enumerate(texts):
        words = text.split(" ")
        rows += [(text_id, i + 1, word if i == 0 else " " + word) for i, word in enumerate(words)]
    pieces = tuple(dict.fromkeys(piece for _, _, piece in rows))
    numbers = {piece: i for i, piece in enumerate(pieces)}
    columns = np.array([(t, p, numbers[piece], numbers[piece]) for t, p, piece in rows], np.int32)
    return TokenTable(*(column.copy() for column in columns.T), pieces=pieces)


def labelled_corpus() -> Corpus:
    """Animals and colours, eight training and four held-out sentences each, and neutral ones."""
    animals = "cat dog horse cow sheep goat hen duck fox wolf bear lynx".split()
    colours = "red blue green pink grey brown white black teal mauve ochre amber".split()
    texts = []
    for i, (animal, colour) in enumerate(zip(animals, colours, strict=True)):
        split = "train" if i < 8 else "heldout"
        texts.append(Text(f"the {animal} sat down", "animal", "things", split=split))
        texts.append(Text(f"paint it {colour} now", "colour", "looks", split=split))
        texts.append(Text(f"we met number {i} again", "neutral", split=split))
    return Corpus(texts)


def activations(channels: int = 12, noise: float = 0.01, seed: int = 0) -> Activations:
    """Rows where animal words fire channels 0-2, colour words 3-5, and "the" channels 6-7."""
    corpus = labelled_corpus()
    tokens = token_table([text.text for text in corpus])
    rng = np.random.default_rng(seed)
    X = noise * rng.standard_normal((len(tokens), channels))
    for row in range(len(tokens)):
        label, word = corpus[int(tokens.text_id[row])].label, tokens.surface(row).strip()
        if label == "animal" and tokens.position[row] == 2:
            X[row, 0:3] += [2.0, 1.0, -1.0]
        if label == "colour" and tokens.position[row] == 3:
            X[row, 3:6] += [1.5, -1.5, 0.5]
        if word == "the":
            X[row, 6:8] += [1.0, 1.0]
    return Activations((torch.from_numpy(X).float(),), tokens, corpus, SITE)


def atoms(channels: int = 12) -> torch.Tensor:
    """The three planted atoms, a copy of the first, and one of zeros; unit norm where not zero."""
    D = torch.zeros(5, channels)
    D[0, 0:3] = torch.tensor([2.0, 1.0, -1.0])
    D[1, 3:6] = torch.tensor([1.5, -1.5, 0.5])
    D[2, 6:8] = 1.0
    D[3] = D[0]
    return D / D.norm(dim=1, keepdim=True).clamp_min(1e-9)
