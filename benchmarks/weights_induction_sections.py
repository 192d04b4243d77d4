"""Section of docs/results/weights.md about passages that come twice, from stored figures."""

import statistics
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from cofire.evaluation.bootstrap import bootstrap_interval, estimate_of
from cofire.evaluation.measurement import Estimate
from cofire.evaluation.paired_tests import paired_p_value
from cofire.weights.head_record import ATTENDING
from weights_page_words import counted, interval, number, table

NAMES = {
    "random": "random tokens twice",
    "twice": "a sentence twice",
    "between": "a sentence twice, others between",
}
RESAMPLES = 1000

Record = dict[str, Any]


def induction_on_natural_text(found: Record) -> str:
    """Scores on random tokens and on sentences, and what holding the heads does."""
    if any(kind not in found for kind in NAMES):
        return ""
    scores = {kind: np.array(found[kind]["induction"], dtype=float) for kind in NAMES}
    first = found["random"]
    parts = [
        "## Induction on natural text",
        f"{first['texts']} of the held-out sentences ({statistics.median(first['lengths']):g} "
        f"tokens in the median, {min(first['lengths'])} to {max(first['lengths'])}), each twice, "
        "at once or with three other sentences between, beside random tokens of the same lengths "
        "twice. *Induction*: mean attention from the second time to the token after the first "
        "time. *Gain*: how much more likely the tokens of the passage are the second time, mean "
        "log-probability in nats; its first token is left out. Intervals (95%, bootstrap) draw "
        "texts. *Agreement*: rank correlation over the heads (Spearman) with random tokens, texts "
        "of both drawn.",
        table(
            [
                "text",
                "tokens from one time to the other",
                f"heads with at least {ATTENDING:.0%}",
                "agreement",
                "gain",
            ],
            [kind_line(found, scores, kind) for kind in NAMES],
        ),
        head_scores(scores),
        holding(found),
        not_established(found, scores),
    ]
    return "\n\n".join(part for part in parts if part)


def kind_line(found: Record, scores: dict[str, np.ndarray], kind: str) -> list[Any]:
    """One kind of text."""
    means = scores[kind].mean(axis=0)
    held = found.get(f"held {kind}")
    gain = "–"
    if held:
        values = np.array(held)[:, 0]
        gain = with_interval(estimate_of(values[:, 1] - values[:, 0]))
    looking = int((means >= ATTENDING).sum())
    return [
        NAMES[kind],
        f"{statistics.median(found[kind]['distances']):g}",
        counted(looking, int(np.isfinite(means).sum())),
        "–" if kind == "random" else agreement(scores["random"], scores[kind]),
        gain,
    ]


def agreement(one: np.ndarray, other: np.ndarray) -> str:
    """Rank correlation over heads of the mean scores, with an interval over texts."""
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    known = np.isfinite(one).all(axis=0) & np.isfinite(other).all(axis=0)
    one, other = one[:, known], other[:, known]

    def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.array(
            [
                spearmanr(one[a].mean(axis=0), other[b].mean(axis=0)).statistic
                for a, b in zip(first, second, strict=True)
            ]
        )

    value = spearmanr(one.mean(axis=0), other.mean(axis=0)).statistic
    sure = bootstrap_interval(
        (len(one), len(other)), correlation, method="percentile", resamples=RESAMPLES
    )
    return f"{value:.2f}" + ("" if sure is None else f" ({interval(sure.low, sure.high)})")


def head_scores(scores: dict[str, np.ndarray]) -> str:
    """Every head that looks for repeats on some kind of text."""
    means = {kind: grid.mean(axis=0) for kind, grid in scores.items()}
    chosen = np.argwhere(np.max([means[kind] for kind in NAMES], axis=0) >= ATTENDING).tolist()
    chosen.sort(key=lambda place: -means["random"][tuple(place)])
    rows = [
        [
            f"{layer}.{head}",
            *[with_interval(estimate_of(scores[kind][:, layer, head])) for kind in NAMES],
        ]
        for layer, head in chosen
    ]
    return "\n\n".join(
        [
            f"Induction scores of all heads that reach {ATTENDING:.0%} on any of the three:",
            table(["head", *NAMES.values()], rows),
        ]
    )


def holding(found: Record) -> str:
    """What becomes of the gain when heads are held at their mean."""
    rows = []
    for kind, name in NAMES.items():
        held = found.get(f"held {kind}")
        if not held:
            continue
        values = np.array(held)
        change = values[:, 1:] - values[:, :1]  # the heads, all that look, sets of others
        own, every, others = change[:, 0], change[:, 1], change[:, 2:].mean(axis=1)
        differences = own[:, 1] - others[:, 1]
        p = paired_p_value(differences)
        rows.append(
            [
                name,
                with_interval(estimate_of(own[:, 1])),
                with_interval(estimate_of(others[:, 1])),
                with_interval(estimate_of(differences)),
                "–" if p is None else f"{p:.1g}",
                sets_that_cost_more(change),
                with_interval(estimate_of(own[:, 0])),
                with_interval(estimate_of(every[:, 1])),
            ]
        )
    if not rows:
        return ""
    heads, looking = (listed(found[name]) for name in ("heads", "looking"))
    return "\n\n".join(
        [
            f"On the random tokens {looking} reach {ATTENDING:.0%}. The strongest of them, no more "
            f"of a layer than it has that do not ({heads}), were held together at what they hand "
            f"on in the mean of training sentences, while the model reads; beside them "
            f"{len(found['others'])} random sets of as many heads of the same layers that do not "
            "look for repeats. Change of the log-probability of the passage, nats; below 0 the "
            "heads had made it more likely. *Others*: mean over the sets; p of the difference by "
            f"Wilcoxon over texts, not corrected. *All*: all {len(found['looking'])} that reach "
            f"{ATTENDING:.0%}, with nothing to compare.",
            table(
                [
                    "text",
                    "second time, the heads",
                    "others",
                    "difference",
                    "p",
                    "sets that cost more",
                    "first time, the heads",
                    "second time, all",
                ],
                rows,
            ),
        ]
    )


def listed(heads: list[list[int]]) -> str:
    """Heads by name."""
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def sets_that_cost_more(change: np.ndarray) -> str:
    """How many sets of others lower the second time more than the heads do."""
    means = change[:, :, 1].mean(axis=0)
    return f"{int((means[2:] < means[0]).sum())} of {len(means) - 2}"


def not_established(found: Record, scores: dict[str, np.ndarray]) -> str:
    """What to keep in mind here."""
    tried = int(np.isfinite(scores["random"].mean(axis=0)).sum())
    held = any(found.get(f"held {kind}") for kind in NAMES)
    chosen = (
        "the heads that are held were chosen on random tokens, not on the sentences"
        if held
        else "what the model loses without them, and its gain, are not measured yet"
    )
    return (
        f"{tried} heads were scored on each kind of text; {chosen}. What "
        "this does not establish: that these heads alone "
        "make the gain, since other heads may do so in other ways or stand in for them; that a "
        "head attends there because the token matched and not because of its place, since in one "
        "text all tokens come back after the same distance; that the same heads serve repeats in "
        "text that nobody repeated on purpose, in other languages, or over longer distances. "
        "Heads of the same layers are few, so that sets of others share heads."
    )


def with_interval(found: Estimate) -> str:
    """A mean and its interval."""
    if found.value is None:
        return "–"
    sure = found.interval
    if sure is None:
        return number(found.value)
    return f"{number(found.value)} ({number(sure.low)} to {number(sure.high)})"
