"""Section of docs/results/weights.md about components and features of dictionaries."""

from collections.abc import Callable, Sequence

from cofire.weights.head_record import ONE_CHANNEL, HeadRecord
from cofire.weights.verdict import Alignment
from weights_page_study import LEVEL, NAMES
from weights_page_words import percent, table


def features(heads: Sequence[HeadRecord]) -> str:
    """Study 3."""
    rows = []
    for side in ("reading", "writing"):
        found = [a for one in heads for a in one.alignments if a.side == side]
        if not found:
            continue
        for method in ("svd", "ica", "nmf", "snmf"):
            share, cosine, null, n = pooled(found, method)
            name = "ICA, stable" if method == "ica" else NAMES[method]
            p_values = feature_p_values(heads, side, method)
            small = sum(p <= LEVEL for p in p_values)
            rows.append([side, name, n, share, percent(small, len(p_values)), cosine, null])
    if not rows:
        return ""
    source = heads[0].alignments[0]
    smallest = min(
        p for side in ("reading", "writing") for p in feature_p_values(heads, side, "nmf")
    )
    return "\n\n".join(
        [
            "## 3. Do components recover the structure that feature dictionaries find?",
            f"{source.features} SNMF features of the MLP of each layer (`cofire fit` on the "
            "bundled sentences), carried into the stream: those of the layer before for what is"
            " read (none for the first layer), of the same layer for what is written. A "
            "component matches when its largest |cosine| is beyond three nulls (random "
            "directions of the stream, of the head's subspace, and features mixed among "
            "themselves, which keeps their span and their outlier channels), at most "
            f"{LEVEL:.0%} false by Benjamini & Hochberg within a head. NMF parts are compared by"
            " magnitudes against the last null.",
            table(
                [
                    "side",
                    "components",
                    "number",
                    "match",
                    f"p ≤ {LEVEL:g}",
                    "|cosine|",
                    "mixed features",
                ],
                rows,
            ),
            f"The smallest p-value that there can be here is {smallest:.2g}, too large for a "
            "single one of 16 components to match by itself; the column *p* does not depend on "
            f"that: about {LEVEL:.0%} of components would be there by chance, less where the "
            "largest of three p-values counts. |cosine| is the mean of the largest, beside that "
            "with mixed features.",
            nmf_matches(heads),
            "Sparse autoencoders trained on the same rows were not part of this study "
            "(`cofire fit --method sae-topk` makes them; `cofire weights --features` takes them).",
        ]
    )


def nmf_matches(heads: Sequence[HeadRecord]) -> str:
    """What kind of parts have a small p-value."""
    said = []
    for side, read in (("reading", True), ("writing", False)):
        lines = [c for one in heads for c in one.of_method("nmf")]
        near = []
        for c in lines:
            match = c.feature_read if read else c.feature_write
            if match is not None and match.p is not None and match.p <= LEVEL:
                near.append(c)
        single = [c for c in near if (c.channel_read if read else c.channel_write) >= ONE_CHANNEL]
        if near:
            said.append(f"{percent(len(single), len(near))} of {len(near)} on the {side} side")
    return (
        "A part of |W| that lies in one channel is near any feature with an unusual share of that "
        "channel, which mixing evens out; such are, of the parts with a small p-value, "
        f"{' and '.join(said)}."
        if said
        else ""
    )


def feature_p_values(heads: Sequence[HeadRecord], side: str, method: str) -> list[float]:
    """p-values of components (of ICA the stable ones) for the feature they are nearest to."""
    found = []
    for one in heads:
        for c in one.of_method(method):
            match = c.feature_read if side == "reading" else c.feature_write
            if match is not None and match.p is not None and c.stable is not False:
                found.append(match.p)
    return found


def pooled(found: Sequence[Alignment], method: str) -> tuple[str, str, str, int]:
    """Share that matches, mean cosine and that of the null, over the heads."""
    known = [a for a in found if a.components.get(method)]
    n = sum(a.components[method] for a in known)
    if not n:
        return "–", "–", "–", 0

    def mean(values: Callable[[Alignment], float | None]) -> float:
        return sum((values(a) or 0.0) * a.components[method] for a in known) / n

    hits = round(mean(lambda a: a.matched[method]) * n)
    return (
        percent(hits, n),
        f"{mean(lambda a: a.cosine[method]):.3f}",
        f"{mean(lambda a: a.null_cosine[method]):.3f}",
        n,
    )


def matched_share(found: Sequence[Alignment], side: str, method: str) -> float:
    """Share of the components of a method that match on one side; 0 where there are none."""
    known = [a for a in found if a.side == side and a.components.get(method)]
    n = sum(a.components[method] for a in known)
    return sum((a.matched[method] or 0.0) * a.components[method] for a in known) / max(n, 1)


def matched_line(heads: Sequence[HeadRecord], method: str) -> str:
    """How many components of a method match a feature, in a sentence."""
    said = []
    for side in ("reading", "writing"):
        found = [a for one in heads for a in one.alignments if a.side == side]
        share, _, _, n = pooled(found, method)
        if n:
            said.append(f"{share} of {n} on the {side} side")
    return f"Parts that match the magnitudes of a feature: {', '.join(said)}." if said else ""
