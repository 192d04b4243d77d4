"""Runs without a model whose structure is planted: day features with a core, over two layers."""

from pathlib import Path

import numpy as np
import torch

from builders import token_table
from cofire.activations import Activations
from cofire.corpus import Corpus, Text
from cofire.dictionary import Dictionary
from cofire.interpret.reading import read_features
from cofire.site import Site
from cofire.store import Run

DAYS = ("Monday", "Tuesday", "Wednesday")
CHANNELS = 200
CORE, OWN = 8, 6
N_FEATURES = 12


def day_corpus() -> Corpus:
    """Ten sentences of each of three days, and others; the last three are held out."""
    texts = []
    for i in range(10):
        split = "train" if i < 7 else "heldout"
        texts += [
            Text(f"shop {i} shut on {day} again", "weekday", "time", day, split) for day in DAYS
        ]
        texts += [Text(f"we ate bread {i} with plum jam", "food", "things", split=split)]
        texts += [Text(f"the number {i} was on a door", "neutral", split=split)] * 3
    return Corpus(texts)


def day_atoms(seed: int) -> torch.Tensor:
    """Features 0 to 2 share eight neurons and have six each; others have fourteen at random."""
    rng = np.random.default_rng(seed)
    atoms = np.zeros((N_FEATURES, CHANNELS), np.float32)
    atoms[:3, :CORE] = [1.0, -1.0] * (CORE // 2)
    for day in range(3):
        start = CORE + OWN * day
        atoms[day, start : start + OWN] = 0.8
    for atom in atoms[3:]:
        kept = rng.choice(np.arange(40, CHANNELS), CORE + OWN, replace=False)
        atom[kept] = rng.choice([-1.0, 1.0], CORE + OWN) * rng.gamma(2.0, 0.5, CORE + OWN)
    return torch.from_numpy(atoms / np.linalg.norm(atoms, axis=1, keepdims=True))


def day_codes(corpus: Corpus, seed: int) -> torch.Tensor:
    """A feature for each day, one for food (3), one for "the" (4); the others fire at random."""
    rng = np.random.default_rng(seed)
    tokens = token_table([text.text for text in corpus])
    words = [tokens.surface(row).strip() for row in range(len(tokens))]
    codes = (rng.random((len(tokens), N_FEATURES)) < 0.05) * rng.gamma(2.0, 0.2, (1, N_FEATURES))
    codes[:, :5] = 0.0
    for column, names in enumerate(
        [(DAYS[0],), (DAYS[1],), (DAYS[2],), ("bread", "jam"), ("the",)]
    ):
        fires = np.isin(words, names)
        codes[fires, column] = 2.0 + rng.random(int(fires.sum()))
    return torch.from_numpy(codes.astype(np.float32))


def make_day_run(path: Path, layers: tuple[int, ...] = (2, 3)) -> Run:
    """A stored run of the planted features."""
    corpus = day_corpus()
    sites = [Site(layer) for layer in layers]
    run = Run.create(
        path,
        config={"model": "tiny", "data": "own", "method": "snmf", "n_components": N_FEATURES},
        sites=sites,
        corpus=corpus,
        model={"name": "tiny", "n_layers": 6, "fingerprint": "0", "dtype": "float32"},
    )
    tokens = token_table([text.text for text in corpus])
    for seed, site in enumerate(sites):
        atoms, codes = day_atoms(seed), day_codes(corpus, seed)
        rows = Activations((codes @ atoms,), tokens, corpus, site)
        dictionary = Dictionary(atoms, site)
        features = read_features(dictionary, rows, codes=codes)
        run.write_site(dictionary, codes, tokens, features, objective=[], figures={})
    return Run.open(path)
