"""Sections of docs/results/weights.md about components: patterns, operations, parts of |W|."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from cofire.weights.head_record import ONE_CHANNEL, HeadRecord
from cofire.weights.rules import (
    DEPENDENT,
    LOW_RANK_YES,
    NEGENTROPY_MARGIN,
    SHARE_NO,
    STABLE_NO,
    STABLE_YES,
)
from cofire.weights.verdict import PATTERNS, of_layer
from weights_feature_sections import matched_line
from weights_page_study import (
    LEVEL,
    NAMES,
    Study,
    by_method,
    heads_of_several_operations,
    outstanding,
)
from weights_page_words import counted, median, percent, shown, spread, table, words


def patterns(heads: Sequence[HeadRecord]) -> str:
    """Counts of answers, over all heads and layer by layer."""
    counts = of_layer([one.verdict for one in heads])
    first = table(
        ["pattern", "yes", "undecided", "no"],
        [[words_, *counts[name].values()] for name, words_ in PATTERNS.items()],
    )
    structures = Counter(one.verdict.structure for one in heads)
    said = ", ".join(f"{name} {count}" for name, count in structures.most_common())
    by_layer: dict[int, list[HeadRecord]] = {}
    for one in heads:
        by_layer.setdefault(one.layer, []).append(one)
    rows = []
    for layer, own in by_layer.items():
        ica = [one.evidence.independence for one in own if one.evidence.independence]
        nmf = [one.evidence.parts for one in own if one.evidence.parts]
        verdicts = Counter(one.verdict.structure for one in own)
        rows.append(
            [
                layer,
                median([one.evidence.spectrum.effective_rank.value for one in own]),
                median([one.evidence.spectrum.error.value for one in own]),
                spread([i.n_stable for i in ica]),
                median([i.rotated.excess for i in ica]),
                median([i.rescaled.excess for i in ica]),
                median([i.dependence.excess for i in ica]),
                median([p.fit_rotated.excess for p in nmf]),
                median([p.fit_rescaled.excess for p in nmf]),
                ", ".join(f"{name} {count}" for name, count in verdicts.most_common()),
            ]
        )
    second = table(
        [
            "layer",
            "effective rank",
            "SVD error",
            "stable of k",
            "negentropy over rotated",
            "over rescaled",
            "dependence",
            "parts over rotated",
            "over rescaled",
            "verdicts",
        ],
        rows,
    )
    return "\n\n".join(
        [
            "## The five patterns",
            first,
            f"Structure of the heads: {said}. *Orthogonal* says no more than this: SVD at k takes "
            f"at least {LOW_RANK_YES:.0%} off the error that it leaves of random weights, and "
            "neither ICA nor NMF finds structure beyond its nulls. It does not say that singular "
            "vectors mean anything, nor that there are no parts at another k.",
            how_far_ica_comes(heads),
            "Layer by layer, medians over the heads. *Over*: how far beyond the null's mean, as a "
            "share of it (1 is twice as far; below 0 is worse than chance). *Dependence*: energy "
            "correlation left between the sources, over shuffled samples.",
            second,
        ]
    )


def how_far_ica_comes(heads: Sequence[HeadRecord]) -> str:
    """The conditions of the verdict on ICA, one after the other."""
    found = [one.evidence.independence for one in heads if one.evidence.independence]
    k = heads[0].evidence.n_components

    def count(holds: Callable[[Any], bool]) -> str:
        return counted(sum(holds(one) for one in found), len(found))

    if not found:
        return ""
    rows = [
        ["sources less Gaussian than random directions", count(lambda i: i.rotated.beyond)],
        [
            "less Gaussian than with channels of the same size",
            count(lambda i: i.rotated.beyond and i.rescaled.beyond),
        ],
        [
            f"by at least {NEGENTROPY_MARGIN:.0%}",
            count(
                lambda i: (
                    i.rotated.beyond
                    and i.rescaled.beyond
                    and min(i.rotated.excess, i.rescaled.excess) >= NEGENTROPY_MARGIN
                )
            ),
        ],
        [
            f"at least {STABLE_NO:.0%} of components stable",
            count(lambda i: i.n_stable / k >= STABLE_NO),
        ],
        [f"at least {STABLE_YES:.0%}", count(lambda i: i.n_stable / k >= STABLE_YES)],
        [
            f"energies of the sources correlate less than {DEPENDENT:.0%} above chance",
            count(lambda i: i.dependence.excess < DEPENDENT),
        ],
    ]
    return "\n\n".join(
        [
            "Why ICA is not said to find independent components: how many heads meet each "
            "condition by itself.",
            table(["condition", "heads"], rows),
        ]
    )


def operations_of_components(study: Study) -> str:
    """Study 1."""
    heads = study.heads
    rows = []
    for name, lines in by_method(heads):
        known = [one for one in lines if one.operation is not None]
        kinds = Counter(one.operation for one in known)
        sizes = [abs(one.correlation) for one in known if one.correlation is not None]
        single = [one for one in lines if one.channel_write >= ONE_CHANNEL]
        rows.append(
            [
                NAMES[name],
                len(known),
                *[percent(kinds[kind], len(known)) for kind in ("copy", "suppress", "transform")],
                median(sizes),
                percent(len(single), len(lines)),
            ]
        )
    stable = [one for one in heads if any(c.stable for c in one.of_method("ica"))]
    mixed = [one.name for one in heads_of_several_operations(heads)]
    return "\n\n".join(
        [
            "## 1. ICA of W_OV: do components correspond to distinct operations?",
            "A component copies when the tokens it reads are those it writes: the correlation over "
            "the vocabulary of what it reads and what it writes is above chance (random directions "
            f"of the stream, and of the head's own subspaces; at most {LEVEL:.0%} false by "
            "Benjamini & Hochberg within a head). Below chance it suppresses, else it transforms: "
            "also where it is merely unlike anything that embedding and unembedding show.",
            table(
                [
                    "components",
                    "number",
                    "copy",
                    "suppress",
                    "transform",
                    "median correlation size",
                    "write to one channel",
                ],
                rows,
            ),
            f"{counted(len(stable), len(heads))} heads have a stable component; stable components "
            f"of different operations stand side by side in {len(mixed)}"
            f"{' (' + ', '.join(mixed) + ')' if mixed else ''}. {one_kind(heads)} "
            "*Write to one channel*: at least half of the squares of what is written lie in a "
            "single channel of the stream.",
            heads_table(heads),
        ]
    )


def one_kind(heads: Sequence[HeadRecord]) -> str:
    """How far the operation is the head's and not the component's."""
    said = []
    for method in ("svd", "ica"):
        largest = [
            max(Counter(c.operation for c in one.of_method(method)).values())
            / max(len(one.of_method(method)), 1)
            for one in heads
        ]
        said.append(f"{statistics.mean(largest):.0%} ({NAMES[method]})")
    return (
        "Within a head the most frequent of the three classes makes up, in the mean over heads, "
        f"{' and '.join(said)} of the components: where that is near 100%, what a component does "
        "is what the head does."
    )


def heads_table(heads: Sequence[HeadRecord]) -> str:
    """The heads that stand out, with a component each."""
    scores = sorted(one.copying.value for one in heads if one.copying is not None)
    rows = []
    for one in outstanding(heads):
        lines = [c for c in one.of_method("ica") if c.stable] or list(one.of_method("svd"))
        top = lines[0]
        rows.append(
            [
                one.name,
                shown(None if one.copying is None else one.copying.value),
                shown(None if one.copying is None else one.copying.z),
                "–"
                if one.copying is None
                else f"{sum(s >= one.copying.value for s in scores)} of {len(scores)}",
                shown(one.induction),
                shown(one.previous_token),
                f"{top.method} {top.index}",
                words(top.reads),
                words(top.writes),
                top.operation or "–",
            ]
        )
    return "\n\n".join(
        [
            "The heads that copy, suppress and look for repeats the most, with their largest "
            "stable component, or their first singular one. z against rotations; rank among the "
            "heads, 1 copies most. Induction and attention to the token before on random tokens "
            "that come twice.",
            table(
                [
                    "head",
                    "copying",
                    "z",
                    "rank",
                    "induction",
                    "token before",
                    "component",
                    "reads",
                    "writes",
                    "does",
                ],
                rows,
            ),
        ]
    )


def parts_of_magnitudes(heads: Sequence[HeadRecord]) -> str:
    """Study 2."""
    parts = [one.evidence.parts for one in heads if one.evidence.parts is not None]
    if not parts:
        return ""
    lines = [c for one in heads for c in one.of_method("nmf")]
    single = [c for c in lines if max(c.channel_read, c.channel_write) >= ONE_CHANNEL]
    rows = [
        [
            words_,
            median([p.value for p in held]),
            median([p.mean for p in held]),
            f"{sum(p.beyond for p in held)} of {len(held)}",
        ]
        for words_, held in (
            ("error of |W|, rotated", [p.rotated for p in parts]),
            ("error of |W|, shuffled entries", [p.shuffled for p in parts]),
            ("error of |W|, rescaled", [p.rescaled for p in parts]),
            ("error of |W_k|, rotated", [p.fit_rotated for p in parts]),
            ("error of |W_k|, rescaled", [p.fit_rescaled for p in parts]),
            ("sparsity of parts, rotated", [p.sparsity_rotated for p in parts]),
            ("sparsity of parts, rescaled", [p.sparsity_rescaled for p in parts]),
        )
    ]
    reached = [p.parts_90 for p in parts if p.parts_90 is not None]
    described = parts[0].rotated.draws
    return "\n\n".join(
        [
            "## 2. NMF of |W_OV|: do parts correspond to feature-level primitives?",
            "Medians over the heads, and how many heads are beyond the null (the first three are "
            f"of {described} draws only and decide nothing). Parts would have to take "
            f"{SHARE_NO:.0%} off the error of either null on |W_k| for the verdict to be more "
            "than no.",
            table(["figure and null", "heads", "null", "beyond"], rows),
            "What makes |W| easy for parts is that some channels of the stream are large: random "
            "matrices with channels of that size do as well, or better.",
            f"{percent(len(single), len(lines))} of the parts have at least half of the squares "
            f"of one side in a single channel. {counted(len(reached), len(parts))} heads reach "
            f"90% of the squares of |W| with k parts or fewer. {matched_line(heads, 'nmf')}",
        ]
    )
