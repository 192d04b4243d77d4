"""What the nodes of a tree are about, read from the contexts whose codes flow through them.

The codes of a node are those of its children, weighted: C_0 C_1 ... C_l. So a node of any level is
read as a feature is, by its tokens, its contexts, and the name it selects best. Names are tried at
every level of a nesting (Monday, weekday, calendar, time), since a parent may stand for more than
one concept of the texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int

from cofire.activations import TokenTable
from cofire.corpus import NEUTRAL, Corpus, Text
from cofire.errors import InputError
from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.contexts import Context, ContextFinder, firing_types
from cofire.interpret.labels import offline_label
from cofire.structure.granularity import best_names
from cofire.structure.nestings import Nesting, finest_name
from cofire.structure.tree import FeatureTree
from cofire.types import CodeMatrix

_TYPES_KEPT = 8


@dataclass(frozen=True)
class NodeReading:
    """What is read of one node.

    Attributes:
        label: the offline label.
        match: the name it selects best, of all levels of the nesting; None without labels.
        contexts: its strongest contexts.
        types: (token type, count) of its strong firings, most frequent first.
        density: share of training rows on which it is active.
    """

    label: str
    match: ConceptMatch | None
    contexts: tuple[Context, ...]
    types: tuple[tuple[str, int], ...]
    density: float


def read_level(
    codes: CodeMatrix,
    tokens: TokenTable,
    corpus: Corpus,
    nesting: Nesting,
    *,
    n_contexts: int = 5,
) -> list[NodeReading]:
    """Read every feature of one level.

    Args:
        codes: [rows features] of that level, held-out rows included.
        tokens: one line a row.
        corpus: the texts.
        nesting: names to try.
        n_contexts: contexts kept of each.

    Raises:
        InputError: when no text is for training.
    """
    train = training_rows(tokens, corpus)
    of_train = codes[torch.from_numpy(train)]
    table = tokens.take(train)
    finder = ContextFinder(of_train, table, corpus, row_numbers=np.flatnonzero(train))
    matches = nested_matches(codes, tokens.text_id, corpus, nesting)
    density = (of_train > 0).float().mean(dim=0)
    return [
        NodeReading(
            label=offline_label(matches[i], types),
            match=matches[i],
            contexts=tuple(finder.top(i, n_contexts)),
            types=tuple(types[:_TYPES_KEPT]),
            density=float(density[i]),
        )
        for i, types in enumerate(firing_types(of_train, table))
    ]


def training_rows(tokens: TokenTable, corpus: Corpus) -> np.ndarray:
    """True for the rows of training texts.

    Raises:
        InputError: when there is none.
    """
    training = np.array([text.split == "train" for text in corpus], dtype=bool)
    rows = training[tokens.text_id]
    if not rows.any():
        raise InputError("All texts are held out: there is none left to read features on.")
    return np.asarray(rows)


def nested_matches(
    codes: CodeMatrix, text_id: Int[np.ndarray, "rows"], corpus: Corpus, nesting: Nesting
) -> list[ConceptMatch | None]:
    """For every feature the name it selects best, of details, labels and all they lie within.

    Chosen on training texts (``best_names``); held-out texts then judge the choice.

    Args:
        codes: [rows features] of all rows.
        text_id: text of every row.
        corpus: the texts.
        nesting: what lies within what, details of the texts included (``nesting_of``).
    """
    return best_names(codes, text_id, _granularities(corpus, nesting))


def label_tree(tree: FeatureTree, readings: Sequence[Sequence[NodeReading]]) -> FeatureTree:
    """The tree with what was read of its nodes, level by level."""
    return tree.with_nodes(
        [
            [
                replace(
                    node,
                    label=reading.label,
                    concept=reading.match.concept
                    if reading.match is not None and reading.match.names_feature
                    else None,
                    auroc=None if reading.match is None else reading.match.auroc,
                    density=reading.density,
                    tokens=tuple(name for name, _ in reading.types),
                )
                for node, reading in zip(nodes, level, strict=True)
            ]
            for nodes, level in zip(tree.levels, readings, strict=True)
        ]
    )


def _granularities(corpus: Corpus, nesting: Nesting) -> list[Corpus]:
    """The texts labelled by their finest names, by what these lie within, and so on."""
    names = [finest_name(text) for text in corpus]
    paths = [() if name is None else nesting.path(name) for name in names]
    return [
        Corpus(map(_labelled, corpus, paths, [step] * len(paths)))
        for step in range(max(map(len, paths), default=0))
    ]


def _labelled(text: Text, path: tuple[str, ...], step: int) -> Text:
    if text.label is None or text.label == NEUTRAL:
        return text
    return replace(text, label=path[min(step, len(path) - 1)])
