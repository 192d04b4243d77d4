"""Features in sentences, and as HTML for notebooks.

Every string that comes from a model, a text or a user goes through ``readable`` or ``token_text``
and is escaped; styles are inline, so that a card changes nothing else on the page it lands on.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.contexts import Context
from cofire.interpret.wording import MISSING, figure, readable, token_text

_CARD_CONTEXTS = 5
_CARD_NEURONS = 8
_CARD_TOKENS = 10

_CARD = "max-width:60em;padding:.8em 1em;border:1px solid rgba(128,128,128,.35);border-radius:6px"
_DIM = "opacity:.7;font-size:.9em"
_LEFT = "text-align:left;padding:.2em .7em;vertical-align:top"
_RIGHT = "text-align:right;padding:.2em .7em;vertical-align:top;font-variant-numeric:tabular-nums"
_FIRES = "255,122,26"
_AGAINST = "64,132,214"


def concept_text(match: ConceptMatch | None) -> str:
    """How well a feature selects its best concept, in one sentence.

    It says "selects" only where held-out texts are evidence enough (``ConceptMatch.sure``), and
    that the feature fires elsewhere too where it may not be named after the concept.

    >>> concept_text(None)
    'No concept: the texts carry no labels, too few of each, or the feature scores all alike.'
    """
    if match is None:
        return (
            "No concept: the texts carry no labels, too few of each, or the feature scores all "
            "alike."
        )
    name = readable(match.concept)
    if match.auroc is None or match.interval is None:
        return (
            f"Not enough evidence for a concept: its best one is {name} "
            f"(AUROC {match.auroc_train:.2f} on the texts it was chosen on), but no held-out text "
            "of it can confirm that."
        )
    low, high = match.interval
    known = (
        f"held-out AUROC {match.auroc:.2f} [{low:.2f}, {high:.2f}], p = {figure(match.p_value, 2)}"
        f", {match.n_positive:,} held-out texts of it against {match.n_negative:,} others"
    )
    if not match.sure:
        return f"Not enough evidence for a concept; the best one is {name}: {known}."
    if match.precision is None:
        return (
            f"Selects texts of {name}: {known}; how much it fires elsewhere is not known: no "
            "strong firing is in a labelled training text."
        )
    precision = f"{match.precision:.0%} of its strong firings are in texts of it"
    if not match.names_feature:
        return f"Selects texts of {name}, but fires elsewhere too: {known}; only {precision}."
    return f"Selects {name}: {known}; {precision}."


def feature_html(
    index: int,
    label: str,
    concept: ConceptMatch | None,
    *,
    flags: Sequence[str],
    contexts: Sequence[Context],
    neurons: Sequence[tuple[int, float]],
    promoted: Sequence[str],
) -> str:
    """A card of one feature: label, contexts, neurons, promoted tokens; see ``Feature``."""
    flagged = f" · {', '.join(flags)}" if flags else ""
    codes = (abs(code) for context in contexts for code in context.codes)
    scale = max(codes, default=0.0) or 1.0
    parts = [
        f'<div style="{_DIM}">Feature {index}{escape(flagged)}</div>',
        f'<div dir="auto" style="font-size:1.25em;font-weight:600">{_text(label)}</div>',
        f'<div style="{_DIM}">{_text(concept_text(concept))}</div>',
        *(_context_html(context, scale) for context in contexts[:_CARD_CONTEXTS]),
        "" if contexts else "<p>It never fires on the training texts.</p>",
        _neurons_html(neurons),
        _tokens_html("Promotes", promoted[:_CARD_TOKENS]),
    ]
    return f'<div style="{_CARD}">{"".join(parts)}</div>'


def run_html(path: str, manifest: Mapping[str, Any], unfinished: Sequence[str]) -> str:
    """A card of a run: its model and the figures of every finished site.

    Args:
        path: its folder.
        manifest: its manifest; anything but ``sites`` may be absent.
        unfinished: names of the sites still without results.
    """
    model = manifest.get("model")
    name = model.get("name") if isinstance(model, Mapping) else model
    facts = {
        "model": name,
        "fitted": manifest.get("created"),
        "not finished": ", ".join(unfinished),
    }
    rows = [
        (
            site,
            figure((record.get("fit") or {}).get("explained_variance")),
            figure((record.get("heldout") or {}).get("explained_variance")),
            figure((record.get("fit") or {}).get("relative_loss")),
            figure(record.get("sweeps")),
            str(record.get("stop_reason") or MISSING),
            figure(record.get("seconds")),
        )
        for site, record in manifest["sites"].items()
        if record and site not in unfinished
    ]
    columns = ("site", "explained variance", "held out", "relative loss", "sweeps", "stopped", "s")
    return card_html(
        f"Run {path}",
        {key: str(fact) for key, fact in facts.items() if fact},
        table_html(columns, rows) if rows else "",
    )


def card_html(title: str, facts: Mapping[str, str], body: str = "") -> str:
    """A card with a title, some named facts and a body that is HTML already."""
    lines = "".join(
        f'<div><span style="{_DIM}">{_text(name)}</span> {_text(fact)}</div>'
        for name, fact in facts.items()
    )
    heading = f'<div style="font-weight:600">{_text(title)}</div>'
    return f'<div style="{_CARD};overflow-x:auto">{heading}{lines}{body}</div>'


def table_html(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain strings; columns whose cells all look like figures stand right."""
    body = [list(row) for row in rows]
    styles = [
        _RIGHT if all(_is_figure(row[i]) for row in body) else _LEFT for i in range(len(columns))
    ]

    def line(tag: str, cells: Iterable[str]) -> str:
        return "".join(
            f'<{tag} dir="auto" style="{style}">{_text(cell)}</{tag}>'
            for cell, style in zip(cells, styles, strict=True)
        )

    lines = "".join(f"<tr>{line('td', row)}</tr>" for row in body)
    table = f"<thead><tr>{line('th', columns)}</tr></thead><tbody>{lines}</tbody>"
    return f'<table style="border-collapse:collapse;margin:.5em 0">{table}</table>'


def _is_figure(cell: str) -> bool:
    return cell == MISSING or cell[:1].isdigit() or cell[:1] == "-"


def _text(text: str) -> str:
    return escape(readable(text))


def _context_html(context: Context, scale: float) -> str:
    tokens = []
    for i, (piece, code) in enumerate(zip(context.tokens, context.codes, strict=True)):
        hue = _FIRES if code >= 0 else _AGAINST
        style = (
            f"background:rgba({hue},{min(0.75, 0.75 * abs(code) / scale):.2f});border-radius:3px"
        )
        if i == context.focus:
            style += ";font-weight:600;text-decoration:underline"
        shown = escape(token_text(piece))
        tokens.append(f'<span title="code {figure(code)}" style="{style}">{shown}</span>')
    label = "" if context.label is None else f' <span style="{_DIM}">{_text(context.label)}</span>'
    style = "margin:.35em 0;overflow-wrap:anywhere"
    return f'<div dir="auto" style="{style}">{"".join(tokens)}{label}</div>'


def _neurons_html(neurons: Sequence[tuple[int, float]]) -> str:
    if not neurons:
        return ""
    shown = neurons[:_CARD_NEURONS]
    scale = abs(shown[0][1]) or 1.0
    bars = "".join(
        f'<div style="display:flex;gap:.6em;align-items:center">'
        f'<span style="width:5em;text-align:right">{number}</span>'
        f'<span style="display:inline-block;height:.7em;width:{10 * abs(weight) / scale:.2f}em;'
        f'background:rgb({_FIRES if weight >= 0 else _AGAINST})"></span>{figure(weight)}</div>'
        for number, weight in shown
    )
    total = f"Neurons ({len(neurons)})"
    return f'<div style="margin-top:.6em"><span style="{_DIM}">{total}</span>{bars}</div>'


def _tokens_html(title: str, pieces: Iterable[str]) -> str:
    chips = " ".join(
        f'<code dir="auto" style="padding:0 .3em">{escape(token_text(piece).strip())}</code>'
        for piece in pieces
    )
    if not chips:
        return ""
    return f'<div style="margin-top:.6em"><span style="{_DIM}">{title}</span> {chips}</div>'
