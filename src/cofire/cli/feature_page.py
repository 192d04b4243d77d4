"""One feature as text for a terminal."""

from rich.console import Console
from rich.text import Text

from cofire.interpret.contexts import Context
from cofire.interpret.display import concept_text
from cofire.interpret.reading import Feature
from cofire.interpret.vocabulary import TokenWeight
from cofire.interpret.wording import figure, readable, token_text, visible
from cofire.store.judged import JudgedFeature

_NEURONS_SHOWN = 12
_CONCEPTS_SHOWN = 5


def print_feature(console: Console, feature: Feature, *, contexts: int) -> None:
    """Print label, concept, contexts, neurons, tokens and concepts of one feature.

    Characters that a terminal would obey are shown as visible marks.
    """
    flags = f"  [{', '.join(feature.flags)}]" if feature.flags else ""
    console.print(Text(f"Feature {feature.index}  {readable(feature.label)}{flags}", style="bold"))
    console.print(Text(concept_text(feature.concept)))
    console.print(
        f"active on {feature.density:.1%} of tokens, largest code {feature.max_code:.3g}, nearest "
        f"feature {feature.nearest} (|cos| {feature.nearest_cosine:.2f})",
        highlight=False,
    )
    marked = "" if console.is_terminal else "   (the firing token in brackets)"
    console.print(Text(f"\nContexts{marked}", style="bold"))
    for context in feature.contexts[:contexts]:
        console.print(_context_line(context, brackets=bool(marked)), overflow="fold")
    console.print(Text(f"\nNeurons ({len(feature.neurons)})", style="bold"))
    shown = feature.neurons[:_NEURONS_SHOWN]
    more = " …" if len(feature.neurons) > len(shown) else ""
    console.print("  " + "  ".join(f"{n}:{w:+.2f}" for n, w in shown) + more, highlight=False)
    if feature.vocabulary is not None:
        for name, weights in (
            ("Promotes", feature.vocabulary.promoted),
            ("Demotes", feature.vocabulary.demoted),
        ):
            console.print(Text(f"\n{name}", style="bold"))
            console.print(Text("  " + _tokens(weights)))
    if feature.concept_scores:
        console.print(Text("\nConcepts (AUROC on training / held-out texts)", style="bold"))
        for name, train, heldout in feature.concept_scores[:_CONCEPTS_SHOWN]:
            scores = " / ".join("–" if s is None else f"{s:.2f}" for s in (train, heldout))
            console.print(Text(f"  {readable(name)}: {scores}"))


def print_judged(console: Console, judged: JudgedFeature) -> None:
    """Print the labels that a language model wrote for a feature, and what steering it did."""
    if judged.labels:
        console.print(Text("\nLabels of a language model", style="bold"))
        for one in judged.labels:
            source = "contexts" if one.kind == "input" else "promoted tokens"
            console.print(Text(f"  {readable(one.label or '')}   (from {source})"))
    steered = judged.steered
    if steered is None:
        return
    console.print(Text("\nSteering", style="bold"))
    choice = steered.choice
    if choice is not None and choice.score is not None:
        sign = "added" if choice.sign > 0 else "taken away"
        console.print(
            f"  score {choice.score:.2f} of 2 ({sign} at KL {choice.target_kl:g}, judge "
            f"{readable(judged.judge or '–')}), best of all cells {figure(steered.best)}",
            highlight=False,
            markup=False,
        )
    console.print(
        f"  its tokens shift by {figure(judged.shift)} logits at KL {figure(judged.target_kl)}, "
        f"null directions by up to {figure(judged.null_shift)}",
        highlight=False,
    )
    console.print(
        f"  {steered.unreached} of {len(steered.cells)} targets not reached, {steered.missing} of "
        f"{steered.n_texts} continuations without a score",
        highlight=False,
    )
    for text in judged.examples():
        console.print(Text(f"  {figure(text.score):>5}  {token_text(text.text)}"))


def _context_line(context: Context, *, brackets: bool) -> Text:
    """A context with the firing token in reverse, or in brackets where nothing can be."""
    line = Text(f"  {context.code:8.2f}  ")
    for i, token in enumerate(context.tokens):
        shown = token_text(token)
        if i == context.focus and brackets:
            word = shown.lstrip(" ")
            shown = f"{' ' * (len(shown) - len(word))}[{word}]"
        line.append(shown, style="bold reverse" if i == context.focus else "")
    if context.label:
        line.append(f"   ({readable(context.label)})", style="dim")
    return line


def _tokens(weights: tuple[TokenWeight, ...]) -> str:
    return "  ".join(f"{visible(w.token)} {w.logit:+.1f}" for w in weights)
