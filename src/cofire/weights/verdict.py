"""Yes, no or undecided: five patterns that a decomposition of weights may show, by stated rules.

Patterns of the framework Mechanistic Validity (metric B08, ICA / NMF of weights), put together from
what each kind of evidence comes to (``rules``).

================  =================================================================================
aligned           ICA components align with features that were found without the weights
sparse-parts      NMF parts of |W| are sparse, and carry meaning
svd-enough        ICA and NMF do not improve on SVD, which does better than on random weights
many-independent  many independent components are needed: possible superposition
few-parts         few NMF parts rebuild |W|: a simple non-negative structure
================  =================================================================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from cofire.errors import InputError
from cofire.weights.evidence import Evidence, Independence, Parts
from cofire.weights.rules import (
    ALIGNED_NO,
    BETTER_THAN_SVD,
    FEW,
    LOW_RANK_NO,
    LOW_RANK_YES,
    MANY_NO,
    MANY_YES,
    Answer,
    Finding,
    independent_sources,
    matching_share,
    nearer_sparsity,
    nonnegative_parts,
    sparse_parts,
)

PatternName: TypeAlias = Literal[
    "aligned", "sparse-parts", "svd-enough", "many-independent", "few-parts"
]

PATTERNS: Mapping[PatternName, str] = {
    "aligned": "ICA components align with features",
    "sparse-parts": "NMF parts sparse and interpretable",
    "svd-enough": "ICA and NMF do not improve on SVD",
    "many-independent": "Many ICA components needed",
    "few-parts": "Few NMF parts, high reconstruction",
}

NOT_ESTABLISHED = (
    "These figures describe weights: that a part of a matrix can be read does not show that the "
    "model uses it, nor that the reading is the only one. Whether a component matters is tested by "
    "taking it out and measuring the change in next-token predictions."
)
"""What no verdict of this module establishes."""


@dataclass(frozen=True)
class Alignment:
    """How many components of each method match some feature better than chance.

    Attributes:
        matched: by method, the share of its components (of ICA: of the stable ones) that match.
        cosine: by method, their mean cosine with the best feature.
        null_cosine: by method, the same for features of the null.
        components: by method, how many there are.
        features: how many features they were held against.
        source: what features, in words.
        side: ``reading`` or ``writing``.
    """

    matched: Mapping[str, float | None]
    cosine: Mapping[str, float | None]
    null_cosine: Mapping[str, float | None]
    components: Mapping[str, int]
    features: int
    source: str
    side: Literal["reading", "writing"]


@dataclass(frozen=True)
class Pattern:
    """One pattern of one matrix.

    Attributes:
        name: which.
        answer: yes, no or undecided.
        figures: what it rests on.
        because: the rule as it applied, in one sentence.
    """

    name: PatternName
    answer: Answer
    figures: Mapping[str, float | int | None]
    because: str


@dataclass(frozen=True)
class Verdict:
    """What one matrix shows.

    Attributes:
        patterns: the five, in the order of ``PATTERNS``.
        independent: whether it splits into independent components.
        nonnegative: whether it splits into non-negative parts.
        structure: the kind that fits: ``independent``, ``nonnegative``, ``orthogonal``, ``none``,
            ``undecided``, or the first two together.
        caveat: what it does not establish.
    """

    patterns: tuple[Pattern, ...]
    independent: Answer
    nonnegative: Answer
    structure: str
    caveat: str = NOT_ESTABLISHED

    def __getitem__(self, name: str) -> Pattern:
        for pattern in self.patterns:
            if pattern.name == name:
                return pattern
        raise InputError(f"Unknown pattern {name!r}; use one of {', '.join(PATTERNS)}.")

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def verdict(
    evidence: Evidence, *, alignment: Alignment | None = None, meaning: Alignment | None = None
) -> Verdict:
    """Decide on the five patterns.

    Args:
        evidence: of ``examine``.
        alignment: of the components with features; without it ``aligned`` is undecided.
        meaning: of the NMF parts with magnitudes of features, for ``sparse-parts``.
    """
    independent = independent_sources(evidence.independence, evidence.n_components)
    nonnegative = nonnegative_parts(evidence.parts)
    svd = _svd_enough(evidence, independent, nonnegative.answer)
    patterns = (
        _aligned(evidence.independence, alignment),
        _sparse_parts(evidence.parts, nonnegative, meaning),
        svd,
        _many_independent(evidence, independent),
        _few_parts(evidence.parts, nonnegative, evidence.rank),
    )
    return Verdict(
        patterns=patterns,
        independent=independent.answer,
        nonnegative=nonnegative.answer,
        structure=_structure(independent.answer, nonnegative.answer, svd.answer),
    )


def _svd_enough(evidence: Evidence, ica: Finding, nonnegative: Answer) -> Pattern:
    error = evidence.spectrum.error
    figures = {
        "error": error.value,
        "error of random weights": error.mean,
        "effective rank": evidence.spectrum.effective_rank.value,
    }
    if "yes" in (ica.answer, nonnegative):
        better = "ICA" if ica.answer == "yes" else "NMF"
        return Pattern("svd-enough", "no", figures, f"{better} finds structure that SVD misses.")
    if evidence.n_components >= min(evidence.rank, *evidence.shape):
        because = f"k = {evidence.n_components} is the whole rank of W; ask at a smaller k."
        return Pattern("svd-enough", "undecided", figures, because)
    if not error.beyond or error.excess < LOW_RANK_NO:
        because = "W is of no lower rank than random weights: no method finds structure."
        return Pattern("svd-enough", "no", figures, because)
    if ica.more_than_svd:
        because = "Sources are less Gaussian than by chance, though not stable or independent."
        return Pattern("svd-enough", "undecided", figures, because)
    if "undecided" in (ica.answer, nonnegative) or error.excess < LOW_RANK_YES:
        because = (
            f"SVD takes {error.excess:.0%} off the error of random weights "
            f"({LOW_RANK_YES:.0%} would be clear); independent {ica.answer}, "
            f"non-negative {nonnegative}."
        )
        return Pattern("svd-enough", "undecided", figures, because)
    because = (
        f"SVD takes {error.excess:.0%} off the error of random weights (it leaves "
        f"{error.value**2:.0%} of the squares of W), and neither ICA nor NMF finds more."
    )
    return Pattern("svd-enough", "yes", figures, because)


def _many_independent(evidence: Evidence, independent: Finding) -> Pattern:
    needed = evidence.spectrum.components_90
    share = needed.value / needed.mean
    figures: dict[str, float | int | None] = {
        "components for 90%": int(needed.value),
        "of random weights": needed.mean,
        "stable": None if evidence.independence is None else evidence.independence.n_stable,
    }
    if independent.answer == "no":
        return Pattern("many-independent", "no", figures, independent.because)
    if independent.answer == "undecided":
        return Pattern("many-independent", "undecided", figures, independent.because)
    if share < MANY_NO:
        because = f"Independent, but few: {needed.value:.0f} components hold 90% of W."
        return Pattern("many-independent", "no", figures, because)
    because = f"{needed.value:.0f} components for 90% of W, {needed.mean:.0f} for random weights."
    answer: Answer = "yes" if share >= MANY_YES else "undecided"
    return Pattern("many-independent", answer, figures, because)


def _sparse_parts(found: Parts | None, parts: Finding, meaning: Alignment | None) -> Pattern:
    """Three questions: do parts fit, are they sparse, do they mean something.

    One "no" is enough for "no"; a "yes" takes three, so that what was not measured is undecided.
    """
    if found is None:
        return Pattern("sparse-parts", "undecided", {}, "NMF was not run.")
    nearer = nearer_sparsity(found)
    matched = None if meaning is None else meaning.matched.get("nmf")
    figures = {
        "sparsity": nearer.value,
        "sparsity by chance": nearer.mean,
        "share off the null's error": min(found.fit_rotated.excess, found.fit_rescaled.excess),
        "parts that match a feature": matched,
    }
    if matched is None:
        meaningful = Finding("undecided", "What the parts mean was not measured.")
    else:
        meaningful = matching_share(matched, "parts match a feature")
    questions = (parts, sparse_parts(found), meaningful)
    for answer in ("no", "undecided"):
        for question in questions:
            if question.answer == answer:
                return Pattern("sparse-parts", question.answer, figures, question.because)
    because = f"{sparse_parts(found).because} {meaningful.because}"
    return Pattern("sparse-parts", "yes", figures, because)


def _few_parts(found: Parts | None, parts: Finding, rank: int) -> Pattern:
    if found is None:
        return Pattern("few-parts", "undecided", {}, "NMF was not run.")
    most, error = found.curve[-1]
    figures = {
        "parts for 90%": found.parts_90,
        "error of all": error,
        "error of all by chance": found.rotated.mean,
    }
    if found.parts_90 is None:
        because = f"{most} parts leave {error**2:.0%} of the squares of |W|; 10% would be few."
        return Pattern("few-parts", "no", figures, because)
    if parts.answer != "yes":
        because = f"{found.parts_90} parts hold 90% of |W|, but: {parts.because}"
        return Pattern("few-parts", parts.answer, figures, because)
    if found.parts_90 > FEW * rank:
        because = f"{found.parts_90} parts for 90% of |W| are not few for a matrix of rank {rank}."
        return Pattern("few-parts", "undecided", figures, because)
    because = f"{found.parts_90} parts hold 90% of |W|, a matrix of rank {rank}."
    return Pattern("few-parts", "yes", figures, because)


def _aligned(found: Independence | None, alignment: Alignment | None) -> Pattern:
    if found is None or alignment is None:
        none = "No features were given, or none lie where this matrix reads or writes."
        what = "ICA was not run." if found is None else none
        return Pattern("aligned", "undecided", {}, what)
    ica, svd = alignment.matched.get("ica"), alignment.matched.get("svd")
    figures = {
        "stable components that match": ica,
        "SVD components that match": svd,
        "mean cosine": alignment.cosine.get("ica"),
        "mean cosine by chance": alignment.null_cosine.get("ica"),
    }
    if ica is None or found.n_stable <= found.stable_by_chance:
        return Pattern("aligned", "no", figures, "There is no stable component to align.")
    if svd is not None and ica <= svd:
        because = f"{ica:.0%} of the stable components match a feature, of SVD's {svd:.0%}."
        return Pattern("aligned", "no", figures, because)
    if svd is not None and ica < svd + BETTER_THAN_SVD and ica >= ALIGNED_NO:
        because = f"{ica:.0%} match a feature, hardly more than SVD's {svd:.0%}."
        return Pattern("aligned", "undecided", figures, because)
    decided = matching_share(ica, "stable components match a feature")
    return Pattern("aligned", decided.answer, figures, decided.because)


def _structure(independent: Answer, nonnegative: Answer, svd_enough: Answer) -> str:
    kinds = [
        name
        for name, answer in (("independent", independent), ("nonnegative", nonnegative))
        if answer == "yes"
    ]
    if kinds:
        return " and ".join(kinds)
    if svd_enough == "yes":
        return "orthogonal"
    return "undecided" if "undecided" in (independent, nonnegative, svd_enough) else "none"


def of_layer(verdicts: Sequence[Verdict]) -> dict[PatternName, dict[Answer, int]]:
    """How often each pattern was answered how, over the heads of a layer or model."""
    counts: dict[PatternName, dict[Answer, int]] = {}
    for name in PATTERNS:
        answers = [one[name].answer for one in verdicts]
        counts[name] = {
            "yes": answers.count("yes"),
            "undecided": answers.count("undecided"),
            "no": answers.count("no"),
        }
    return counts
