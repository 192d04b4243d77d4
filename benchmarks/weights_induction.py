"""What heads of Gemma 3 270M do where a passage comes twice, for ``weights_study.py``.

Three kinds of text, all of the same lengths: random tokens twice, a held-out sentence twice, and a
held-out sentence twice with others between. Every head's induction score on each; then the heads
that look for repeats on random tokens are held at their mean together, and as many other heads of
the same layers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cofire.cli.progress import TerminalProgress
from cofire.corpus import Corpus
from cofire.data import bundled_concepts
from cofire.models import LanguageModel, capture_texts
from cofire.models.tokens import tokenize
from cofire.site import Site
from cofire.weights.head_record import ATTENDING
from cofire.weights.repeats import (
    HeadSet,
    RepeatedText,
    induction_on_repeats,
    log_probabilities,
    other_heads,
    repeated_texts,
)
from cofire.weights.tokens import TokenReader

KINDS = ("random", "twice", "between")
N_TEXTS = 40
BETWEEN = 3  # sentences between the two times
LEAST_TOKENS = 10  # of a sentence
BLOCK = 8  # texts read before the figures are kept
DRAWS = 6  # sets of other heads
MEAN_TEXTS = 120  # training sentences for the mean outputs of heads
SEED = 0

Record = dict[str, Any]


def induction_study(
    model: Callable[[], LanguageModel], found: Record, keep: Callable[[Record], None]
) -> Record:
    """Measure what is missing of the record and keep it after every step.

    Args:
        model: loads the model.
        found: what was measured earlier; empty at first.
        keep: called with the record whenever something was added.
    """
    if all(len(found.get(f"held {kind}", [])) == N_TEXTS for kind in KINDS):
        return found
    loaded = model()
    texts = texts_of_kinds(loaded)
    progress = TerminalProgress()
    for kind in KINDS:
        if kind not in found:
            scores = induction_on_repeats(loaded, texts[kind], progress=progress)
            found[kind] = {
                "texts": len(texts[kind]),
                "lengths": [one.length for one in texts[kind]],
                "distances": [one.distance for one in texts[kind]],
                "induction": np.round(scores, 5).tolist(),
            }
            keep(found)
    if "heads" not in found:
        grid = np.array(found["random"]["induction"]).mean(axis=0)
        looking = tuple(map(tuple, np.argwhere(grid >= ATTENDING).tolist()))
        heads = comparable(grid)
        found["looking"] = [list(one) for one in looking]
        found["heads"] = [list(one) for one in heads]
        found["others"] = other_heads(loaded, heads, never=looking, draws=DRAWS, seed=SEED)
        keep(found)
    held: list[HeadSet] = [
        (),
        *(
            tuple((layer, head) for layer, head in one)
            for one in (found["heads"], found["looking"], *found["others"])
        ),
    ]
    means = mean_outputs(loaded, sorted({layer for layer, _ in held[2]}))
    for kind in ("twice", "random", "between"):
        done = found.setdefault(f"held {kind}", [])
        while len(done) < len(texts[kind]):
            block = texts[kind][len(done) : len(done) + BLOCK]
            values = log_probabilities(loaded, block, held, means, progress=progress)
            done += np.round(values, 5).tolist()
            keep(found)
    return found


def comparable(grid: np.ndarray) -> HeadSet:
    """The heads that look for repeats the most, no more of a layer than it has that do not."""
    found = []
    for layer, scores in enumerate(grid):
        order = np.argsort(-np.nan_to_num(scores), kind="stable").tolist()
        looking = [head for head in order if scores[head] >= ATTENDING]
        others = int((scores < ATTENDING).sum())
        found += [(layer, head) for head in looking[:others]]
    return tuple(found)


def texts_of_kinds(model: LanguageModel) -> dict[str, list[RepeatedText]]:
    """The texts, the same every time."""
    bos = model.tokenizer.bos_token_id
    start = None if bos is None else int(bos)
    corpus = bundled_concepts("heldout")
    order = np.random.default_rng(SEED).permutation(len(corpus)).tolist()
    ids = tokenize(model.tokenizer, corpus, order, prepend_bos=False).ids
    passages = [one for one in ids if len(one) >= LEAST_TOKENS][:N_TEXTS]
    tokens = TokenReader(model).tokens
    generator = torch.Generator().manual_seed(SEED)
    drawn = [
        tokens[torch.randint(len(tokens), (len(one),), generator=generator)].tolist()
        for one in passages
    ]
    return {
        "random": repeated_texts(drawn, bos=start),
        "twice": repeated_texts(passages, bos=start),
        "between": repeated_texts(passages, between=BETWEEN, bos=start),
    }


def mean_outputs(model: LanguageModel, layers: list[int]) -> dict[int, torch.Tensor]:
    """Mean of what the heads of each layer hand on, over training sentences."""
    corpus = Corpus(text for text in bundled_concepts() if text.split == "train")
    every = len(corpus) // MEAN_TEXTS
    chosen = list(range(0, len(corpus), every))[:MEAN_TEXTS]
    sites = [Site(layer, "attn") for layer in layers]
    captured = capture_texts(model, corpus, chosen, sites)
    return {site.layer: captured.activations[site].float().mean(dim=0) for site in sites}
