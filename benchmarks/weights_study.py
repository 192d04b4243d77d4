"""Take every head of Gemma 3 270M apart and write docs/results/weights.md.

Fits SNMF features of the MLP at every layer to the bundled sentences, takes W_OV of the heads apart
by SVD, ICA, NMF and semi-NMF beside nulls, removes components of some heads while the model runs,
and answers the three questions of the framework page. Everything below --folder is resumable, so an
interrupted study goes on.

    python benchmarks/weights_study.py                       # all 72 heads
    python benchmarks/weights_study.py --layers 5,9 --output /tmp/weights.md    # a quick look
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cofire import jobs, load_model
from cofire.cli.progress import TerminalProgress
from cofire.config import CaptureConfig, FitConfig, WeightsConfig
from cofire.data import bundled_concepts
from cofire.models.tokens import tokenize
from cofire.report import write_weights_pages
from cofire.site import parse_layers
from cofire.store import Run
from cofire.store.weights_folder import WeightsFolder
from cofire.weights.decompositions import Decomposition
from cofire.weights.head_record import ONE_CHANNEL, ComponentRecord, HeadRecord
from cofire.weights.heads import Vocabulary, ablated
from cofire.weights.verdict import NOT_ESTABLISHED, PATTERNS, Alignment, of_layer

MODEL = "gemma-3-270m"
N_LAYERS = 18
METHODS = ("svd", "ica", "snmf")
NAMES = {"svd": "SVD", "ica": "ICA", "ica-stable": "ICA, stable", "nmf": "NMF", "snmf": "semi-NMF"}
RESULTS = Path(__file__).parent / "results"
ABLATED_HEADS = 3  # of each kind
ABLATED_COMPONENTS = 4  # of each method
ABLATION_TEXTS = 12
LEVEL = 0.05


@dataclass(frozen=True)
class Study:
    """What the page is written from."""

    heads: list[HeadRecord]
    tried: list[HeadRecord]
    manifest: dict[str, Any]
    seconds: dict[str, float]
    command: str


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/weights-study"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/weights.md"))
    parser.add_argument("--layers", default="all")
    parser.add_argument("-k", type=int, default=16)
    options = parser.parse_args()
    progress = TerminalProgress()
    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = call()
        seconds[name] = time.perf_counter() - began
        return found

    layers = parse_layers(options.layers, N_LAYERS)
    needed = sorted({at for layer in layers for at in (max(layer - 1, 0), layer)})

    def fitted() -> Run:
        store = jobs.capture(
            CaptureConfig(
                model=MODEL,
                layers=",".join(map(str, needed)),
                store_dtype="bfloat16",  # half the disk; 2 700 MB in float32 for all layers
                output=options.folder / "activations",
            ),
            progress,
        )
        return jobs.fit(
            FitConfig(activations=store.path, output=options.folder / "features"), progress
        )

    run = timed("features", fitted)
    config = WeightsConfig(
        model=MODEL,
        layers=options.layers,
        n_components=options.k,
        features=run.path,
        output=options.folder / "ov",
    )
    folder = timed("heads", lambda: jobs.weights(config, progress))
    write_weights_pages(folder)
    heads = folder.heads()
    tried = timed("components removed", lambda: removed(folder, heads, options.folder))
    command = f"python benchmarks/weights_study.py --layers {options.layers}"
    study = Study(heads, tried, dict(folder.manifest), seconds, command)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page(study), encoding="utf-8")
    print(f"{options.output}: {', '.join(f'{n} {s:.0f} s' for n, s in seconds.items())}")


def removed(folder: WeightsFolder, heads: list[HeadRecord], work: Path) -> list[HeadRecord]:
    """Remove components of the heads that copy, suppress and look for repeats the most."""
    done = work / "removed.json"
    if done.exists():
        return [HeadRecord.from_record(one) for one in json.loads(done.read_text("utf-8"))]
    chosen = {one.name: one for key in (copying, suppressing, inducing) for one in most(heads, key)}
    model = load_model(MODEL)
    vocabulary = Vocabulary.of(model)
    corpus = bundled_concepts()
    every = len(corpus) // ABLATION_TEXTS
    ids = tokenize(model.tokenizer, corpus, list(range(0, len(corpus), every))[:ABLATION_TEXTS]).ids
    found = []
    with TerminalProgress().task("Removing components", len(chosen), "head") as advance:
        for one in chosen.values():
            factors = folder.factors(one.layer, one.head)
            made = {
                method: Decomposition(
                    method=method,
                    samples="columns",
                    mixing=mixing,
                    components=components,
                    converged=torch.ones(len(components), dtype=torch.bool),
                )
                for method, (mixing, components) in factors.items()
            }
            found.append(ablated(one, made, model, ids, vocabulary, ABLATED_COMPONENTS))
            advance(1)
    done.write_text(json.dumps([one.record() for one in found]), encoding="utf-8")
    return found


def copying(one: HeadRecord) -> float:
    """How much a head copies."""
    return -2.0 if one.copying is None else one.copying.value


def suppressing(one: HeadRecord) -> float:
    """How much a head suppresses."""
    return -2.0 if one.copying is None else -one.copying.value


def inducing(one: HeadRecord) -> float:
    """How much a head looks behind the last occurrence of its token."""
    return -1.0 if one.induction is None else one.induction


def most(heads: Sequence[HeadRecord], key: Callable[[HeadRecord], float]) -> list[HeadRecord]:
    """The heads of the largest score."""
    return sorted(heads, key=key, reverse=True)[:ABLATED_HEADS]


# The page.


def page(study: Study) -> str:
    """The page as Markdown."""
    parts = [
        "# Gemma 3 270M: what ICA and NMF find in the weights of its heads",
        f"Generated by `{study.command}`; do not edit.",
        setting(study),
        ground_truth(),
        fast_enough(),
        "## The five patterns",
        patterns(study.heads),
        operations_of_components(study.heads),
        parts_of_magnitudes(study.heads),
        features(study.heads),
        neighbours(study.heads),
        causal(study.tried),
        "## What this does not establish",
        NOT_ESTABLISHED,
        limits(study.heads),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def setting(study: Study) -> str:
    """What was measured and how."""
    one, config = study.heads[0], study.manifest["config"]
    evidence = one.evidence
    took = ", ".join(f"{name} {number(value / 60)} min" for name, value in study.seconds.items())
    a_head = statistics.mean(head.seconds for head in study.heads)
    environment = study.manifest["environment"]
    return (
        f"Model: `{study.manifest['model']['name']}` (fingerprint "
        f"`{study.manifest['model']['fingerprint'][:12]}`). {len(study.heads)} heads; W_OV "
        f"{evidence.shape[0]} × {evidence.shape[1]} of rank {evidence.rank}, norm gains folded in; "
        f"the heads of a layer share W_V. Every method with k = {evidence.n_components}, "
        f"{evidence.samples} of W_OV as samples: sources of ICA are independent over the channels "
        f"that a head writes. {config['seeds']} runs of ICA a head, half on bootstraps; "
        f"{config['draws']} draws of every null. Figures are held against *rotated* matrices (the "
        "same singular values, random directions) and *rescaled* ones (rotated, with the size of "
        f"every channel as in W). Computed on {environment['cpu_count']} CPU cores with torch "
        f"{environment['torch']}: {took}; {number(a_head)} s a head. Steps that were found "
        "finished count with about 0."
    )


def ground_truth() -> str:
    """The confusion table, from its own benchmark."""
    file = RESULTS / "weights-planted.json"
    if not file.exists():
        return ""
    found = json.loads(file.read_text("utf-8"))
    answers = ("independent", "nonnegative", "orthogonal", "none", "undecided")
    rows = [
        [
            case["structure"],
            f"{case['noise']:.0%}",
            case["n_components"],
            *[
                case["verdicts"].get(a, 0)
                + (
                    case["verdicts"].get("independent and nonnegative", 0)
                    if a == "undecided"
                    else 0
                )
                for a in answers
            ],
            *[
                "–" if case["recovered"][m] is None else f"{case['recovered'][m]:.2f}"
                for m in ("svd", "ica", "nmf", "snmf")
            ],
        ]
        for case in found["cases"]
    ]
    first, last = found["seeds"]
    return "\n\n".join(
        [
            "## Ground truth first",
            "Matrices whose structure is planted (8 components in a matrix of rank 64, 160 × 320; "
            "`benchmarks/weights_planted.py`). The limits of the verdict were chosen on seeds 100 "
            f"to 119; the table is of seeds {first} to {last}. Left: how often the verdict said "
            "what. Right: mean cosine of the planted rank-one matrices with those found.",
            table(
                ["planted", "noise", "k", *answers, "SVD", "ICA", "NMF", "semi-NMF"],
                rows,
            ),
        ]
    )


def fast_enough() -> str:
    """ICA against scikit-learn's, from its own benchmark."""
    file = RESULTS / "ica-heads.json"
    if not file.exists():
        return ""
    found = json.loads(file.read_text("utf-8"))
    return (
        "ICA runs on the two thin factors of W_OV and never forms it (`benchmarks/ica_heads.py`): "
        f"over {found['heads']} heads at k = {found['k']} it finds the sources that "
        "scikit-learn's FastICA finds on the dense matrix from the same start (mean matched "
        f"|cosine| {found['cosine_mean_where_converged']:.4f}, least "
        f"{found['cosine_least_where_converged']:.4f}, {found['converged']} heads converged), in "
        f"1/{found['time_ratio_median']:.1f} of its time for one run and, twenty runs at once, in "
        f"1/{found['time_ratio_of_20_runs_median']:.1f} of its time a run."
    )


def patterns(heads: Sequence[HeadRecord]) -> str:
    """Counts of answers, over all heads and layer by layer."""
    counts = of_layer([one.verdict for one in heads])
    first = table(
        ["pattern", "yes", "undecided", "no"],
        [[words, *counts[name].values()] for name, words in PATTERNS.items()],
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
                ", ".join(one.verdict.structure for one in own),
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
            first,
            f"Structure of the heads: {said}.",
            "Layer by layer, medians over the heads. *Over*: how far beyond the null's mean, as a "
            "share of it; below 0 is worse than chance. *Dependence*: energy correlation left "
            "between the sources, over shuffled samples.",
            second,
        ]
    )


def operations_of_components(heads: Sequence[HeadRecord]) -> str:
    """Study 1."""
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
    mixed = []
    for one in heads:
        kinds = {c.operation for c in one.of_method("ica") if c.stable and c.operation}
        if len(kinds) > 1:
            mixed.append(one.name)
    stable = [one for one in heads if any(c.stable for c in one.of_method("ica"))]
    return "\n\n".join(
        [
            "## 1. ICA of W_OV: do components correspond to distinct operations?",
            "A component copies when the tokens it reads are those it writes: the correlation over "
            "the vocabulary of what it reads and what it writes is above chance (random directions "
            f"of the stream, and of the head's own subspaces; at most {LEVEL:.0%} false by "
            "Benjamini & Hochberg within a head). Below chance it suppresses, else it transforms.",
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
            f"{len(stable)} of {len(heads)} heads have a stable component; in {len(mixed)} heads "
            f"stable components of different operations stand side by side"
            f"{' (' + ', '.join(mixed) + ')' if mixed else ''}. "
            f"{one_kind(heads)} *Write to one channel*: more than "
            "half of the squares of what is written lie in a single channel of the stream.",
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
    chosen = {one.name: one for key in (copying, suppressing, inducing) for one in most(heads, key)}
    scores = sorted(one.copying.value for one in heads if one.copying is not None)
    rows = []
    for one in chosen.values():
        lines = [c for c in one.of_method("ica") if c.stable] or list(one.of_method("svd"))
        top = lines[0]
        rows.append(
            [
                one.name,
                shown(None if one.copying is None else one.copying.value),
                shown(None if one.copying is None else one.copying.z),
                "–"
                if one.copying is None
                else f"{sum(s <= one.copying.value for s in scores)} of {len(scores)}",
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
            "other heads.",
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
    by_rotation = sum(p.fit_rotated.beyond for p in parts)
    by_size = sum(p.fit_rescaled.beyond for p in parts)
    answer = (
        f"Parts fit better than chance in {by_rotation} of {len(parts)} heads where chance is a "
        f"random rotation, in {by_size} where it keeps the size of every channel: what is left "
        f"between the two numbers are channels of the stream that are large, not parts."
    )
    reached = [p.parts_90 for p in parts if p.parts_90 is not None]
    return "\n\n".join(
        [
            "## 2. NMF of |W_OV|: do parts correspond to feature-level primitives?",
            "Medians over the heads, and how many heads are beyond the null (every draw and three "
            "standard deviations).",
            table(["figure and null", "heads", "null", "beyond"], rows),
            answer,
            f"{percent(len(single), len(lines))} of the parts have more than half of the squares "
            f"of one side in a single channel. {len(reached)} of {len(parts)} heads reach 90% of "
            f"the squares of |W| with k parts or fewer. {matched_line(heads, 'nmf')}",
        ]
    )


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
            rows.append([side, name, n, share, cosine, null])
    if not rows:
        return ""
    source = heads[0].alignments[0]
    return "\n\n".join(
        [
            "## 3. Do components recover the structure that feature dictionaries find?",
            f"{source.features} SNMF features of the MLP of each layer (`cofire fit` on the "
            "bundled sentences), carried into the stream: those of the layer before for what is "
            "read, of the same layer for what is written. A component matches when its largest "
            "|cosine| is beyond three nulls (random directions of the stream, of the head's "
            "subspace, and features mixed among themselves, which keeps their span and their "
            f"outlier channels), at most {LEVEL:.0%} false by Benjamini & Hochberg within a head. "
            "NMF parts are compared by magnitudes against the last null. Mean |cosine| beside that "
            "of mixed features.",
            table(["side", "components", "number", "match", "|cosine|", "mixed features"], rows),
            "Sparse autoencoders trained on the same rows were not part of this study "
            "(`cofire fit --method sae-topk` makes them; `cofire weights --features` takes them).",
        ]
    )


def neighbours(heads: Sequence[HeadRecord]) -> str:
    """B01, B07, B09."""
    spectra = [one.evidence.spectrum for one in heads]
    fans = [one.fan_out for one in heads if one.fan_out is not None]
    rows = [
        ["B01 effective rank", *range_of([s.effective_rank.value for s in spectra])],
        ["effective rank of random weights", *range_of([s.effective_rank.mean for s in spectra])],
        ["B01 σ₁ / σ_k", *range_of([s.top_ratio for s in spectra])],
        ["B07 participation ratio", *range_of([s.participation_ratio.value for s in spectra])],
        ["B07 fan-out, share of tokens", *range_of(fans)],
        ["B08 components for 90% of W", *range_of([s.components_90.value for s in spectra])],
        ["B09 Frobenius norm", *range_of([s.norm for s in spectra])],
        ["B09 σ₁ / σ₂", *range_of([s.top_two for s in spectra])],
    ]
    return "\n\n".join(
        [
            "## Neighbouring instruments",
            table(["figure", "median", "least", "most"], rows),
        ]
    )


def causal(tried: Sequence[HeadRecord]) -> str:
    """What removing components does."""
    rows = []
    for method, name in (("svd", "SVD"), ("ica", "ICA, stable")):
        lines = [c for one in tried for c in one.of_method(method) if c.kl_own is not None]
        if not lines:
            rows.append([name, 0, *["–"] * 6])
            continue
        rows.append(
            [
                name,
                len(lines),
                median([c.kl_own for c in lines]),
                median([c.kl_other for c in lines if c.kl_other is not None]),
                median([c.kl_random for c in lines if c.kl_random is not None]),
                median([c.specificity for c in lines if c.specificity is not None]),
                *[percent(sum(c in group for c in lines), len(lines)) for group in clear(lines)],
            ]
        )
    names = ", ".join(one.name for one in tried)
    return "\n\n".join(
        [
            "## Taking components out",
            f"Up to {ABLATED_COMPONENTS} components of each method of heads {names} were taken out "
            f"of W_OV while the model read {ABLATION_TEXTS} of the bundled sentences. Medians of "
            "KL(plain ‖ without) of the next token in nats: where the head attends to tokens that "
            "the component reads, where it does not, and with random mixtures of "
            "the components taken out, of the same size, at the same places. Specificity is 1 − "
            "elsewhere / own (B07: above 0.8 "
            "separable, below 0.5 a threat). More or less than random: p ≤ 0.05 over texts "
            "(Wilcoxon), not corrected.",
            table(
                [
                    "components",
                    "number",
                    "own places",
                    "elsewhere",
                    "random mixtures",
                    "specificity",
                    "more than random",
                    "less than random",
                ],
                rows,
            ),
        ]
    )


def clear(
    lines: Sequence[ComponentRecord],
) -> tuple[list[ComponentRecord], list[ComponentRecord]]:
    """Components that surely do more, and those that surely do less, than random ones."""
    sure = [
        c
        for c in lines
        if c.p_ablation is not None
        and c.p_ablation <= LEVEL
        and c.kl_own is not None
        and c.kl_random is not None
    ]
    more = [c for c in sure if (c.kl_own or 0.0) > (c.kl_random or 0.0)]
    return more, [c for c in sure if c not in more]


def limits(heads: Sequence[HeadRecord]) -> str:
    """What to keep in mind."""
    evidence = heads[0].evidence
    converged = [
        one.evidence.independence.converged
        for one in heads
        if one.evidence.independence is not None
    ]
    return (
        f"ICA has {evidence.shape[1]} samples for {evidence.n_components} sources; more components "
        f"would be less stable, and k = {evidence.n_components} leaves "
        f"{statistics.median(one.evidence.errors['svd'] for one in heads) ** 2:.0%} of the squares "
        "of W_OV out. Sources are independent over channels of the stream, whose basis nothing "
        "obliges a model to use. The division of the norm after the heads is left out. "
        f"{statistics.mean(converged):.0%} of the reported ICA components converged."
    )


# Figures and tables.


def by_method(heads: Sequence[HeadRecord]) -> list[tuple[str, list[ComponentRecord]]]:
    """Components of all heads, those of ICA also the stable ones alone."""
    found = [(m, [c for one in heads for c in one.of_method(m)]) for m in METHODS]
    stable = [c for one in heads for c in one.of_method("ica") if c.stable]
    return [*found[:2], ("ica-stable", stable), *found[2:]]


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


def matched_line(heads: Sequence[HeadRecord], method: str) -> str:
    """How many components of a method match a feature, in a sentence."""
    said = []
    for side in ("reading", "writing"):
        found = [a for one in heads for a in one.alignments if a.side == side]
        share, _, _, n = pooled(found, method)
        if n:
            said.append(f"{share} of {n} on the {side} side")
    return f"Parts that match the magnitudes of a feature: {', '.join(said)}." if said else ""


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""

    def line(values: Sequence[Any]) -> str:
        return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"

    return "\n".join([line(names), line(["---"] * len(names)), *map(line, rows)])


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"


def shown(value: float | None) -> str:
    """A number or a dash."""
    return "–" if value is None else number(value)


def median(values: Sequence[float | None]) -> str:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return number(statistics.median(known)) if known else "–"


def spread(values: Sequence[int]) -> str:
    """Least to most."""
    return "–" if not values else f"{min(values)}–{max(values)}"


def range_of(values: Sequence[float]) -> list[str]:
    """Median, least and most."""
    if not values:
        return ["–"] * 3
    return [number(statistics.median(values)), number(min(values)), number(max(values))]


def percent(count: int, of: int) -> str:
    """A share of a number."""
    return "–" if not of else f"{count / of:.0%}"


def words(tokens: Sequence[str]) -> str:
    """Some tokens for a cell of a table."""
    kept = [token.strip().replace("`", "'") for token in tokens[:4]]
    return ", ".join(f"`{token}`" for token in kept if token) or "–"


if __name__ == "__main__":
    main()
