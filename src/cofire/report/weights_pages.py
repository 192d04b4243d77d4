"""Pages of decomposed weights: an overview of all heads, and a page a head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cofire.errors import StoreError
from cofire.interpret.wording import readable, visible
from cofire.report import facts
from cofire.report.embedding import content_policy, embed_json, rounded, script, stylesheet
from cofire.report.templating import page_templates
from cofire.store.archive import write_atomically
from cofire.store.weights_folder import WeightsFolder, head_line, part_name
from cofire.weights.head_record import ATTENDING, ONE_CHANNEL, RAISING, ComponentRecord, HeadRecord
from cofire.weights.measure_list import WEIGHT_MEASURES
from cofire.weights.nulls import AgainstNull
from cofire.weights.on_texts import NOT_WATCHED, OnTexts
from cofire.weights.verdict import NOT_ESTABLISHED, PATTERNS, of_layer

PAGE = "weights.html"

_STYLES = ("base.css", "overview.css", "weights.css")
_SCRIPT = "heads.js"

_MATRICES = {
    "ov": ("W_OV", "what each head moves from an attended token into the stream"),
    "qk": ("W_QK", "which tokens each head attends to from which"),
    "mlp-in": ("W_in", "what each MLP neuron reads"),
    "mlp-gate": ("W_gate", "what opens each MLP neuron"),
    "mlp-out": ("W_out", "what each MLP neuron writes"),
}
_METHODS = {
    "svd": "SVD",
    "ica": "ICA",
    "nmf": "NMF of |W|",
    "snmf": "semi-NMF",
}


@dataclass(frozen=True)
class Shown:
    """A figure that the heatmap can show.

    Attributes:
        key: of the figure in ``head_line``.
        name: in words.
        low, high: of the colours; negative values are drawn in the other colour.
    """

    key: str
    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """Heads that stand out in one way.

    Attributes:
        role: in words; mostly of ``HeadRecord.roles``.
        rule: when a head has it, in words.
        heads: those that have it, the clearest first, with the score.
    """

    role: str
    rule: str
    heads: tuple[tuple[HeadRecord, float], ...]


def write_weights_pages(folder: WeightsFolder) -> Path:
    """Write the overview of a weights folder and a page for every finished head.

    The pages need no network; they link to one another and to nothing else.

    Args:
        folder: with at least one finished head.

    Returns:
        The overview.

    Raises:
        StoreError: when nothing is finished, or a file cannot be written.
    """
    heads = folder.heads()
    if not heads:
        raise StoreError(f"{folder.path} has no finished head yet; run its command again.")
    for place, head in enumerate(heads):
        page = render_head_page(folder, heads, place)
        _write(folder.path / f"{part_name(head.layer, head.head)}.html", page)
    overview = folder.path / PAGE
    _write(overview, render_overview(folder, heads))
    return overview


def render_overview(folder: WeightsFolder, heads: Sequence[HeadRecord]) -> str:
    """The overview as HTML text; see ``write_weights_pages``."""
    manifest = folder.manifest
    style, code = stylesheet(*_STYLES), script(_SCRIPT)
    symbol, words = _MATRICES[heads[0].matrix]
    lines = [head_line(one) for one in heads]
    shown = _shown(lines)
    by_layer: dict[int, list[HeadRecord]] = {}
    for one in heads:
        by_layer.setdefault(one.layer, []).append(one)
    return (
        page_templates()
        .get_template("weights.html.j2")
        .render(
            policy=Markup(content_policy(style, code)),
            style=style,
            script=code,
            model=facts.model_name(manifest),
            symbol=symbol,
            words=words,
            methods=[
                name for key, name in _METHODS.items() if any(one.of_method(key) for one in heads)
            ],
            heads=heads,
            lines=lines,
            layers=by_layer,
            columns=sorted({one.head or 0 for one in heads}),
            of_heads=heads[0].head is not None,
            shown=shown,
            standing=_standing(heads),
            data=embed_json(_payload(lines, shown)),
            patterns=PATTERNS,
            counts=of_layer([one.verdict for one in heads]),
            layer_counts={
                layer: of_layer([one.verdict for one in own]) for layer, own in by_layer.items()
            },
            structures=_counted([one.verdict.structure for one in heads]),
            unfinished=len(folder.wanted) - len(heads),
            left_out=[(_title(*one), why) for one, why in folder.left_out.items()],
            facts=_facts(folder, heads),
            settings=facts.settings(manifest),
            environment=facts.environment(manifest),
            licences=facts.licence_notes(manifest),
            measures=WEIGHT_MEASURES,
            not_watched=NOT_WATCHED,
            caveat=NOT_ESTABLISHED,
            file=lambda one: f"{part_name(one.layer, one.head)}.html",
            version=manifest.get("cofire_version"),
        )
    )


def render_head_page(folder: WeightsFolder, heads: Sequence[HeadRecord], place: int) -> str:
    """The page of one head as HTML text; see ``write_weights_pages``."""
    head = heads[place]
    style = stylesheet(*_STYLES)
    symbol, words = _MATRICES[head.matrix]
    methods = [method for method in _METHODS if head.of_method(method)]
    return (
        page_templates()
        .get_template("weights_head.html.j2")
        .render(
            policy=Markup(content_policy(style)),
            style=style,
            model=facts.model_name(folder.manifest),
            symbol=symbol,
            words=words,
            head=head,
            title=head_title(head),
            before=heads[place - 1] if place else None,
            after=heads[place + 1] if place + 1 < len(heads) else None,
            file=lambda one: f"{part_name(one.layer, one.head).split('/')[-1]}.html",
            name=head_title,
            patterns=PATTERNS,
            figures=_figures(head),
            examples=_examples(head.on_texts),
            not_watched=NOT_WATCHED,
            methods=[(method, _METHODS[method], _ordered(head, method)) for method in methods],
            one_channel=ONE_CHANNEL,
            caveat=NOT_ESTABLISHED,
            version=folder.manifest.get("cofire_version"),
        )
    )


def head_title(head: HeadRecord) -> str:
    """A head or layer in words."""
    return _title(head.layer, head.head)


def _title(layer: int, head: int | None) -> str:
    return f"Layer {layer}" if head is None else f"Layer {layer}, head {head}"


def _ordered(head: HeadRecord, method: str) -> list[ComponentRecord]:
    """Stable components first, each group by size."""
    return sorted(head.of_method(method), key=lambda one: (one.stable is False, one.index))


def _figures(head: HeadRecord) -> list[tuple[str, AgainstNull, str]]:
    """Every tested figure: name, beside its null, what it is read from."""
    evidence = head.evidence
    spectrum, ica, parts = evidence.spectrum, evidence.independence, evidence.parts
    found = [
        ("Effective rank", spectrum.effective_rank, "B01, B07"),
        ("Participation ratio", spectrum.participation_ratio, "B07"),
        ("Components for 90% of W", spectrum.components_90, "B08"),
        ("Relative error of SVD", spectrum.error, "B08"),
    ]
    if head.self_alignment is not None:
        what = "Reads what it writes" if head.matrix == "ov" else "Queries and keys look alike"
        found.append((what, head.self_alignment, "B09"))
    if head.copying is not None:
        found.insert(0, ("Copying score", head.copying, "Elhage et al. 2021"))
    if ica is not None:
        found += [
            ("Negentropy of the sources", ica.rotated, "ICA"),
            ("Negentropy of the sources", ica.rescaled, "ICA"),
            ("Excess kurtosis, median", ica.kurtosis, "ICA"),
            ("Dependence left between sources", ica.dependence, "ICA"),
        ]
    if parts is not None:
        found += [
            ("Error of parts of |W_k|", parts.fit_rotated, "NMF"),
            ("Error of parts of |W_k|", parts.fit_rescaled, "NMF"),
            ("Sparsity of parts", parts.sparsity_rotated, "NMF"),
            ("Sparsity of parts", parts.sparsity_rescaled, "NMF"),
            ("Error of parts of |W|", parts.rotated, "NMF"),
            ("Error of parts of |W|", parts.rescaled, "NMF"),
            ("Error of parts of |W|", parts.shuffled, "NMF"),
        ]
    return found


def _standing(heads: Sequence[HeadRecord]) -> list[Standing]:
    """The heads of each role; empty where scores of heads were not measured."""
    if all(one.copying is None and one.induction is None for one in heads):
        return _standing_on_texts(heads)

    def of(role: str, rule: str, score: Callable[[HeadRecord], float]) -> Standing:
        own = [one for one in heads if role in one.roles]
        own.sort(key=lambda one: abs(score(one)), reverse=True)
        return Standing(role, rule, tuple((one, score(one)) for one in own))

    def copying(one: HeadRecord) -> float:
        return 0.0 if one.copying is None else one.copying.value

    share = f"{ATTENDING:.0%} of its attention"
    return [
        of("copies", "copying score three standard deviations above random rotations", copying),
        of(
            "suppresses",
            "copying score three standard deviations below random rotations",
            copying,
        ),
        of(
            "induction-like",
            f"{share} behind the first time of a token that comes again",
            lambda one: one.induction or 0.0,
        ),
        of("previous-token", f"{share} on the token before", lambda one: one.previous_token or 0.0),
        *_standing_on_texts(heads),
    ]


def _standing_on_texts(heads: Sequence[HeadRecord]) -> list[Standing]:
    """Heads by what they do on texts; empty where none was watched."""
    known = [(one, one.on_texts) for one in heads if one.on_texts is not None]
    if not known:
        return []

    def of(words: str, rule: str, score: Callable[[OnTexts], float | None]) -> Standing:
        found = [(one, score(on_texts)) for one, on_texts in known]
        own = [(one, value) for one, value in found if value is not None]
        return Standing(words, rule, tuple(sorted(own, key=lambda pair: pair[1], reverse=True)))

    def from_on(score: float | None, limit: float) -> float | None:
        return score if score is not None and score >= limit else None

    return [
        of(
            "looks at the token before, on text",
            f"{ATTENDING:.0%} of its attention",
            lambda one: from_on(one.previous, ATTENDING),
        ),
        of(
            "raises what it looks at, on text",
            f"by {RAISING:g} standard deviations",
            lambda one: from_on(one.copying, RAISING),
        ),
    ]


def _examples(on_texts: OnTexts | None) -> list[tuple[str, list[tuple[str, str, float]]]]:
    """Texts, and the pairs of tokens that a head joins in them, as they can be shown."""
    return [
        (
            readable(example.text),
            [(visible(one), visible(other), value) for one, other, value in example.pairs],
        )
        for example in ([] if on_texts is None else on_texts.examples)
    ]


def _shown(lines: Sequence[dict[str, Any]]) -> list[Shown]:
    """The figures that some head has, with the range of their colours."""
    wanted = [
        ("copying", "Copying score", -1.0, 1.0),
        ("induction", "Induction score", 0.0, 1.0),
        ("previous_token", "Attention to the token before", 0.0, 1.0),
        ("text_previous", "Attention to the token before, on text", 0.0, 1.0),
        ("text_first", "Attention to the first token, on text", 0.0, 1.0),
        ("text_itself", "Attention of a token to itself, on text", 0.0, 1.0),
        ("text_copying", "Raises what it looks at, on text (sd)", None, None),
        ("stable", "Stable ICA components", 0.0, None),
        ("negentropy_excess", "Negentropy beyond the null", None, None),
        ("parts_fit", "NMF parts beyond the null", None, None),
        ("effective_rank", "Effective rank", None, None),
        ("error_svd", "Relative error of SVD", 0.0, 1.0),
        ("fan_out", "Fan-out", 0.0, None),
    ]
    found = []
    for key, name, low, high in wanted:
        known = [float(line[key]) for line in lines if line[key] is not None]
        if known:
            found.append(
                Shown(
                    key,
                    name,
                    min(known) if low is None else low,
                    max(known) if high is None else high,
                )
            )
    return found


def _payload(lines: Sequence[dict[str, Any]], shown: Sequence[Shown]) -> dict[str, Any]:
    keys = [one.key for one in shown]
    return {
        "figures": [
            {"key": one.key, "low": rounded(one.low), "high": rounded(one.high)} for one in shown
        ],
        "heads": [{key: rounded(line[key]) for key in keys} for line in lines],
    }


def _facts(folder: WeightsFolder, heads: Sequence[HeadRecord]) -> dict[str, str]:
    manifest = folder.manifest
    config = manifest["config"]
    evidence = heads[0].evidence
    return {
        "Matrix": f"{_MATRICES[heads[0].matrix][0]}, {evidence.shape[0]} × {evidence.shape[1]}, "
        f"rank {evidence.rank}",
        "Matrices": str(len(heads)),
        "Components": f"{config['n_components']} of each method",
        "Samples": evidence.samples,
        "Runs of ICA": str(config["seeds"]),
        "Draws of a null": str(config["draws"]),
        "Made": str(manifest.get("created") or "")[:10],
    }


def _counted(names: Sequence[str]) -> list[tuple[str, int]]:
    return sorted(
        ((name, names.count(name)) for name in dict.fromkeys(names)), key=lambda one: -one[1]
    )


def _write(path: Path, page: str) -> None:
    write_atomically(path, lambda file: file.write_bytes(page.encode("utf-8")))
