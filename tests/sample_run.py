"""A small run without a model: planted codes over sentences of the bundled corpus."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builders import token_table
from cofire.activations import Activations
from cofire.corpus import Corpus
from cofire.data import bundled_concepts
from cofire.dictionary import Dictionary
from cofire.interpret.reading import Feature, FeatureSet, read_features
from cofire.interpret.vocabulary import TokenWeight, VocabularyProjection
from cofire.site import Site
from cofire.store import Run

CHANNELS = 256
GROUP = 12

Change = Callable[[Feature], Feature]


def sample_corpus(
    concepts: Sequence[str] = ("weekday", "month", "animals", "food", "law", "fear"),
) -> Corpus:
    """The sentences of some concepts of the bundled corpus, and neutral ones."""
    wanted = {*concepts, "neutral"}
    return Corpus(text for text in bundled_concepts() if text.label in wanted)


def planted(
    corpus: Corpus, site: Site, n_features: int, seed: int
) -> tuple[Activations, Dictionary, torch.Tensor]:
    """Codes that fire on the words typical of a concept, and activations made of them.

    The last three features are a duplicate of the first, one that fires on a single word, and one
    that never fires.
    """
    rng = np.random.default_rng(seed)
    tokens = token_table([text.text for text in corpus])
    words = np.array([piece.strip().casefold() for piece in tokens.pieces])[tokens.piece]
    labels = np.array([corpus[int(text)].label for text in tokens.text_id])
    _, word = np.unique(words, return_inverse=True)
    everywhere = np.bincount(word)
    long = np.char.str_len(words) > 3
    concepts = corpus.concepts or [None]
    codes = np.zeros((len(tokens), n_features), np.float32)
    for feature in range(n_features - 2):
        concept = concepts[feature % len(concepts)]
        lift = (np.bincount(word[labels == concept], minlength=len(everywhere)) / everywhere)[word]
        typical = (lift > 0.75) & (labels == concept) & long
        fires = typical & (rng.random(len(words)) < rng.choice([0.1, 0.3, 0.6, 0.9]))
        codes[fires, feature] = rng.gamma(3.0, 1.0, int(fires.sum()))
        faint = rng.random(len(words)) < 0.02
        codes[faint, feature] += rng.gamma(1.0, 0.3, int(faint.sum()))
    codes[words == "the", n_features - 2] = 1.5
    atoms = np.zeros((n_features, CHANNELS), np.float32)
    for atom in atoms:
        kept = rng.choice(CHANNELS, GROUP, replace=False)
        atom[kept] = rng.choice([-1, 1, 1, 1], GROUP) * rng.gamma(2.0, 0.5, GROUP)
    atoms[n_features - 3] = atoms[0]
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    X = codes @ atoms + 0.02 * rng.standard_normal((len(tokens), CHANNELS)).astype(np.float32)
    activations = Activations((torch.from_numpy(X),), tokens, corpus, site)
    return activations, Dictionary(torch.from_numpy(atoms), site), torch.from_numpy(codes)


def with_vocabulary(feature: Feature) -> Feature:
    """The feature with promoted and demoted tokens, made of the tokens that fire it."""
    words = [name for name, _ in feature.firing_types][:6] or ["nothing"]
    promoted = [TokenWeight(100 + i, f" {word}", 4.0 - 0.3 * i) for i, word in enumerate(words)]
    demoted = [
        TokenWeight(900 + i, word, -3.0 + 0.2 * i) for i, word in enumerate(("\n", " of", "ing"))
    ]
    return replace(feature, vocabulary=VocabularyProjection(tuple(promoted), tuple(demoted)))


def objective(n: int = 40) -> list[dict[str, Any]]:
    """Records as a solver of two phases leaves them."""
    return [
        {
            "iteration": i + 1,
            "phase": "penalised" if i < 15 else "released",
            "relative_loss": 0.35 + 0.6 * float(np.exp(-i / 6)) - (0.05 if i >= 15 else 0.0),
            "seconds": 0.05 * (i + 1),
            "code_density": 0.1 + 0.002 * i,
        }
        for i in range(n)
    ]


def make_run(
    path: Path,
    *,
    layers: Sequence[int] = (2, 9),
    n_features: int = 24,
    corpus: Corpus | None = None,
    change: Change = with_vocabulary,
    model: str = "tiny-model",
    unfinished: Sequence[int] = (),
    **figures: Any,
) -> Run:
    """A stored run.

    Args:
        path: a new folder.
        layers: MLP layers with results.
        n_features: features of each.
        corpus: texts; those of ``sample_corpus`` when None.
        change: applied to every feature before it is stored.
        model: name of the model.
        unfinished: layers without results.
        figures: added to what is recorded of every site.
    """
    corpus = sample_corpus() if corpus is None else corpus
    sites = [Site(layer, "mlp") for layer in (*layers, *unfinished)]
    config = {
        "model": model,
        "data": "concepts",
        "method": "snmf",
        "n_components": n_features,
        "sparsity": GROUP / CHANNELS,
        "solver": "bcd",
        "seed": 0,
        "output": "/home/someone/run",
    }
    run = Run.create(
        path,
        config=config,
        sites=sites,
        model={
            "name": model,
            "n_parameters": 12_345_678,
            "n_layers": 12,
            "licence": "Test Licence 1.0",
            "fingerprint": "0123abcd",
        },
        corpus=corpus,
        environment={"python": "3.11", "device": "cpu"},
    )
    for seed, site in enumerate(sites[: len(layers)]):
        activations, dictionary, codes = planted(corpus, site, n_features, seed)
        read = read_features(dictionary, activations, codes=codes)
        features = FeatureSet(
            tuple(change(feature) for feature in read), site, read.fit, read.heldout
        )
        known = {
            "seconds": 12.3,
            "sweeps": 40,
            "stop_reason": "converged",
            "channels": CHANNELS,
            "rows": len(activations),
        }
        run.write_site(
            dictionary,
            codes,
            activations.tokens,
            features,
            objective=objective(),
            figures={**known, **figures},
        )
    return Run.open(path)
