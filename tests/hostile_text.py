"""Texts that would break out of a page, and a run that has them wherever text goes."""

from dataclasses import replace
from pathlib import Path

from cofire.interpret.contexts import Context
from cofire.interpret.reading import Feature
from cofire.interpret.vocabulary import TokenWeight, VocabularyProjection
from cofire.store import Run
from sample_run import make_run, sample_corpus, with_vocabulary

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "'><svg onload=alert(4)>",
    "{{7*7}}{% raw %}",
    "<!--<script>",
    "]]>&lt;&amp;",
    "a\u2028b\u2029c",
    "nul\x00bell\x07",
    "\u202egnp.exe\u202c",
    "javascript:alert(5)",
    "${alert(6)}`",
    "صباح الخير",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "w" * 600,
    "\n\t \n",
)


def hostile(feature: Feature) -> Feature:
    """The feature with hostile text wherever text goes."""
    turn = HOSTILE[feature.index % len(HOSTILE) :] + HOSTILE[: feature.index % len(HOSTILE)]

    def spoiled(context: Context) -> Context:
        tokens = tuple(turn[i % len(turn)] for i in range(len(context.tokens)))
        return replace(context, tokens=tokens, label=turn[1])

    changed = with_vocabulary(feature)
    weights = tuple(TokenWeight(i, text, 3.0 - 0.1 * i) for i, text in enumerate(turn))
    return replace(
        changed,
        label=turn[0],
        concept=None if feature.concept is None else replace(feature.concept, concept=turn[2]),
        concept_scores=tuple((text, 0.9, 0.8) for text in turn),
        contexts=tuple(spoiled(context) for context in feature.contexts),
        quantile_contexts=tuple(spoiled(context) for context in feature.quantile_contexts),
        firing_types=tuple((text, 3) for text in turn),
        vocabulary=VocabularyProjection(weights, weights[::-1]),
    )


def hostile_run_at(path: Path) -> Run:
    """A run of two layers with hostile text."""
    return make_run(
        path,
        layers=(1, 2),
        n_features=len(HOSTILE) + 4,
        corpus=sample_corpus(("law", "food", "fear")),
        change=hostile,
        model='</title><script>alert("model")</script>',
        stop_reason="<b>stop</b>\u202e",
    )
