"""Sections of docs/results/weights.md about what heads do, neighbours, and components removed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cofire.evaluation.auroc import auroc, auroc_interval
from cofire.weights.examination import random_top_ratio
from cofire.weights.head_record import ATTENDING, RAISING, HeadRecord
from cofire.weights.nulls import BEYOND_Z
from weights_page_study import LEVEL, Study, clear, copying, inducing
from weights_page_words import counted, interval, median, number, percent, range_of, shown, table


def what_heads_do(study: Study) -> str:
    """Scores of weights against what heads do."""
    repeats, texts = study.behaviour["repeats"], study.behaviour["texts"]
    score = np.array([copying(one) for one in study.heads])
    rows = []
    for name, label, limit in (
        ("looks behind the first time (induction)", "induction", ATTENDING),
        ("raises what it attends to, repeated tokens", "copying", RAISING),
        ("raises what it attends to, sentences", "copying", RAISING),
    ):
        grid = texts if "sentences" in name else repeats
        values = [grid[label][one.layer][one.head or 0] for one in study.heads]
        known = np.array([value is not None for value in values])
        positive = np.array([value is not None and value >= limit for value in values])[known]
        n, m = int(positive.sum()), int((~positive).sum())
        if not n or not m:
            rows.append([name, n + m, n, "–", "–"])
            continue
        value = float(auroc(score[known][:, None], positive[:, None])[0, 0])
        rows.append([name, n + m, n, f"{value:.2f}", interval(*auroc_interval(value, n, m))])
    rest = [grid_median(texts, name, study.heads) for name in ("first", "previous", "itself")]
    known_scores = [one.copying for one in study.heads if one.copying is not None]
    copies = sum(one.z is not None and one.z >= BEYOND_Z for one in known_scores)
    suppresses = sum(one.z is not None and one.z <= -BEYOND_Z for one in known_scores)
    looking = [one.name for one in study.heads if inducing(one) >= ATTENDING]
    return "\n\n".join(
        [
            "## Copying and induction: weights against behaviour",
            f"The copying score of W_OV is {BEYOND_Z:g} standard deviations above random rotations "
            f"in {counted(copies, len(known_scores))} heads, and as far below in "
            f"{counted(suppresses, len(known_scores))}. Heads that give at least "
            f"{ATTENDING:.0%} of their attention to the token after the first time, on random "
            f"tokens that come twice: {', '.join(looking) or 'none'}. Does the score order heads "
            "by what they do (AUROC, 95% score interval; heads that hardly look beyond the first "
            "token are left out of copying)?",
            table(["a head", "heads", "that do", "AUROC of the score", "95%"], rows),
            "The score goes from embedding to unembedding and skips every layer between, so that "
            "it can miss a head whose input or output other layers translate. On "
            f"{texts['n_texts']} of the bundled sentences the median head gives {rest[0]} of its "
            f"attention to the first token, {rest[1]} to the token before and {rest[2]} to the "
            "token itself.",
        ]
    )


def grid_median(grid: dict[str, Any], name: str, heads: Sequence[HeadRecord]) -> str:
    """Median over heads of one behavioural score."""
    return median([grid[name][one.layer][one.head or 0] for one in heads])


def neighbours(study: Study) -> str:
    """B01, B07, B09."""
    spectra = [one.evidence.spectrum for one in study.heads]
    fans = [one.fan_out for one in study.heads if one.fan_out is not None]
    evidence = study.heads[0].evidence
    ratio = random_top_ratio(evidence.shape, evidence.rank, evidence.n_components)
    first = spectra[0]
    aligned = [one.self_alignment for one in study.heads if one.self_alignment is not None]
    rows = [
        [
            "B01 effective rank",
            *range_of([s.effective_rank.value for s in spectra]),
            number(first.effective_rank.mean),
        ],
        ["B01 σ₁ / σ_k", *range_of([s.top_ratio for s in spectra]), number(ratio)],
        [
            "B07 participation ratio",
            *range_of([s.participation_ratio.value for s in spectra]),
            number(first.participation_ratio.mean),
        ],
        ["B07 fan-out, share of tokens", *range_of(fans), shown(study.behaviour["fan_out"])],
        [
            "B08 components for 90% of W",
            *range_of([s.components_90.value for s in spectra]),
            number(first.components_90.mean),
        ],
        ["B09 Frobenius norm", *range_of([s.norm for s in spectra]), "–"],
        ["B09 σ₁ / σ₂", *range_of([s.top_two for s in spectra]), "–"],
        [
            "B09 alignment: reads what it writes",
            *range_of([a.value for a in aligned]),
            number(float(np.mean([a.mean for a in aligned]))) if aligned else "–",
        ],
    ]
    return "\n\n".join(
        [
            "## Neighbouring instruments",
            "Over the heads; by chance: random weights of the shape of a head, for the fan-out "
            "random directions of the stream.",
            table(["figure", "median", "least", "most", "by chance"], rows),
        ]
    )


def causal(study: Study) -> str:
    """What removing components does."""
    tried = [c for one in study.tried for c in one.components if c.kl_own is not None]
    mixtures = any(c.random_specificity is not None for c in tried)  # older records have none
    rows = []
    for method, name in (("svd", "SVD"), ("ica", "ICA, stable")):
        lines = [c for one in study.tried for c in one.of_method(method) if c.kl_own is not None]
        if not lines:
            rows.append([name, 0, *["–"] * (7 if mixtures else 6)])
            continue
        rows.append(
            [
                name,
                len(lines),
                median([c.kl_own for c in lines]),
                median([c.kl_other for c in lines]),
                median([c.kl_random for c in lines]),
                median([c.specificity for c in lines]),
                *([median([c.random_specificity for c in lines])] if mixtures else []),
                *[percent(sum(c in group for c in lines), len(lines)) for group in clear(lines)],
            ]
        )
    names = ", ".join(one.name for one in study.tried)
    return "\n\n".join(
        [
            "## Taking components out",
            f"Up to {study.most_removed} components of each method of the heads that stand out "
            f"({names}) were taken out of W_OV while the model read {study.texts} of the bundled "
            "sentences. Medians of KL(plain ‖ without) of the next token in nats: where the head "
            "attends to tokens that the component reads, where it does not, and with random "
            "mixtures of the components taken out, of the same size, at the same places. "
            "Specificity is 1 − elsewhere / own (B07: above 0.8 separable, below 0.5 a threat); "
            f"it counts only as far as it is above that of mixtures"
            f"{'' if mixtures else ', which was not kept here'}. "
            f"More or less than mixtures: p ≤ {LEVEL:g} over texts (Wilcoxon), not corrected.",
            table(
                [
                    "components",
                    "number",
                    "own places",
                    "elsewhere",
                    "random mixtures",
                    "specificity",
                    *(["of mixtures"] if mixtures else []),
                    "more than mixtures",
                    "less than mixtures",
                ],
                rows,
            ),
            "Heads that look for repeats were not tried on text that repeats, where their "
            "components may matter more.",
        ]
    )
