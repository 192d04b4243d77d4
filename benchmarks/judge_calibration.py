"""Measure how well the offline judge tells concepts and write docs/results/offline-judge.md.

python benchmarks/judge_calibration.py            # a minute; needs the extra embed
python benchmarks/judge_calibration.py --words    # without sentence embeddings
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from cofire.data import bundled_concepts
from cofire.evaluation.concept_rating import TELLING_AUROC, ConceptCheck, ConceptRater, Knowledge
from cofire.evaluation.encoders import SentenceEncoder, TextEncoder, WordEncoder
from cofire.interpret.wording import figure

PAGE = Path(__file__).parents[1] / "docs" / "results" / "offline-judge.md"
KINDS: tuple[Knowledge, ...] = ("learned", "described")


def main() -> None:
    """Check every encoder and kind of knowledge on the held-out sentences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", action="store_true", help="leave sentence embeddings out")
    parser.add_argument("--output", type=Path, default=PAGE)
    arguments = parser.parse_args()
    corpus = bundled_concepts()
    encoders: list[TextEncoder] = [WordEncoder([t.text for t in corpus if t.split == "train"])]
    if not arguments.words:
        encoders.append(SentenceEncoder())
    checks: dict[tuple[str, Knowledge], tuple[ConceptCheck, ...]] = {}
    for encoder in encoders:
        rater = ConceptRater(encoder, corpus)
        for kind in KINDS:
            checks[encoder.name, kind] = rater.check(corpus, known=kind)
            print(summary_row(encoder.name, kind, checks[encoder.name, kind]))
    arguments.output.write_text(page(checks), encoding="utf-8")


def page(checks: dict[tuple[str, Knowledge], tuple[ConceptCheck, ...]]) -> str:
    """The whole page."""
    rows = [summary_row(name, kind, found) for (name, kind), found in checks.items()]
    names = [f"{name}, {kind}" for name, kind in checks]
    table = []
    for one in zip(*checks.values(), strict=True):
        cells = [f"{figure(c.auroc, 2)}{'' if c.rated else ' (not rated)'}" for c in one]
        table.append(f"| {one[0].concept} | {one[0].n_positive} | {' | '.join(cells)} |")
    return "\n".join(
        [
            "# Calibration of the offline judge",
            "",
            "Written by `benchmarks/judge_calibration.py`. Fitted on the training sentences of the",
            "bundled corpus, measured on its held-out ones: 5 a concept (month 12, weekday 7)",
            "against all other labelled ones. *Learned*: the concept is known by its training",
            "sentences. *Described*: only by its name and eight words, as a feature's own label",
            "is. A learned concept is not rated, and its score is missing, where the AUROC over",
            f"training sentences set aside in turn is below {TELLING_AUROC}; held-out sentences",
            "decide nothing. Ratings go from 0 to 2, and say 2 · P(concept) where presence and",
            "absence are equally likely beforehand.",
            "",
            "| encoder | concept | AUROC, mean | median | lowest | against neutral, mean | "
            "at 0.8 or more | rated | AUROC of rated, mean | rating with concept | without |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"| concept | held out | {' | '.join(names)} |",
            f"| --- | --- | {' | '.join('---' for _ in names)} |",
            *table,
            "",
        ]
    )


def summary_row(name: str, kind: Knowledge, checks: Sequence[ConceptCheck]) -> str:
    """One line of the first table."""
    aurocs = [c.auroc for c in checks if c.auroc is not None]
    rated = [c for c in checks if c.rated]
    cells = [
        statistics.mean(aurocs),
        statistics.median(aurocs),
        min(aurocs),
        mean(c.neutral_auroc for c in checks),
        f"{sum(value >= 0.8 for value in aurocs)} of {len(checks)}",
        f"{len(rated)}",
        mean(c.auroc for c in rated),
        mean(c.mean_positive for c in rated),
        mean(c.mean_negative for c in rated),
    ]
    shown = [cell if isinstance(cell, str) else f"{cell:.2f}" for cell in cells]
    return f"| {name} | {kind} | {' | '.join(shown)} |"


def mean(values: Iterable[float | None]) -> float:
    """Mean of what is known."""
    return statistics.mean(value for value in values if value is not None)


if __name__ == "__main__":
    main()
