"""Offline labels: a feature named after what fires it, without asking any language model."""

from cofire.interpret.concepts import ConceptMatch
from cofire.interpret.wording import visible

_NAMED_TYPES = 4  # token types spelled out in a label
_TYPE_SHARE = 0.5  # a feature is named after tokens alone when the named ones cover this much


def offline_label(
    match: ConceptMatch | None, types: list[tuple[str, int]], *, name: str | None = None
) -> str:
    """Compose a label from the concept a feature selects and the tokens it fires on.

    The concept leads when held-out texts confirm it and enough firings are on it
    (``ConceptMatch.names_feature``). Held-out texts are used for that on purpose: a name chosen on
    training texts is given only where other texts agree. Over the features that bear a name, their
    held-out AUROC is therefore above ``concepts.SURE_AUROC`` by construction. The tokens follow,
    most frequent first; an ellipsis says that they are examples of more, and ``mixed`` in front
    that they cover less than half of the strong firings.

    Args:
        match: the feature's best concept, if any.
        types: token types that fire it strongly, with counts, most frequent first.
        name: what the method that made it calls it; leads in place of a concept.

    >>> offline_label(None, [("monday", 8), ("friday", 2)])
    'monday, friday'
    >>> offline_label(None, [])
    'never fires'
    >>> offline_label(None, [("monday", 8)], name="weekday")
    'weekday: monday'
    """
    if not types:
        return "never fires" if name is None else f"{name}: never fires"
    named = types[:_NAMED_TYPES]
    tokens = ", ".join(visible(name) for name, _ in named)
    covered = sum(count for _, count in named) / sum(count for _, count in types)
    if len(types) > len(named):
        tokens += " …"
    if name is not None:
        return f"{name}: {tokens}"
    if match is not None and match.names_feature:
        return f"{match.concept}: {tokens}"
    return tokens if covered >= _TYPE_SHARE else f"mixed: {tokens}"
