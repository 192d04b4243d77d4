"""What features are said to be, for judges and measures of steering."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.interpret.reading import Feature
from cofire.interpret.vocabulary import project_on_vocabulary
from cofire.interpret.wording import visible

if TYPE_CHECKING:  # records are read without a model; importing transformers takes seconds
    from cofire.models import LanguageModel

_WORDS = 8  # as many as the descriptions have that the offline judge is calibrated on


@dataclass(frozen=True)
class DescribedFeature:
    """A feature and what it is said to be.

    Attributes:
        feature: its row among the atoms.
        label: the concept that judges look for.
        words: further words for it, which offline judges use.
        promoted: ids of the tokens it is said to promote; none when they are not known.
    """

    feature: int
    label: str
    words: tuple[str, ...] = ()
    promoted: tuple[int, ...] = ()


def describe_features(
    features: Iterable[Feature],
    *,
    kind: str = "input",
    labels: Sequence[str | None] | None = None,
) -> list[DescribedFeature]:
    """What features are said to be, from how they were read.

    ``input``: the offline label and the tokens that fire the feature. ``output``: the tokens it
    promotes. The published protocol takes the first in early layers and the second in late ones.

    Args:
        features: as read by ``read_features``, with their vocabulary where there is one.
        kind: ``input`` or ``output``; where no promoted tokens are known it is ``input``.
        labels: labels that take the place of these, None where there is none.

    Raises:
        InputError: for another kind, or another number of labels.
    """
    chosen = list(features)
    own = [None] * len(chosen) if labels is None else list(labels)
    if kind not in ("input", "output") or len(own) != len(chosen):
        raise InputError(
            f"Descriptions are of kind input or output, with one label a feature; got {kind!r} and "
            f"{len(own)} labels for {len(chosen)} features."
        )
    return [_described(one, kind, label) for one, label in zip(chosen, own, strict=True)]


def promoted_tokens(
    model: "LanguageModel", dictionary: Dictionary, *, n: int = 12
) -> list[tuple[int, ...]]:
    """Ids of the tokens each feature promotes; none away from an ``mlp`` site."""
    if dictionary.site.kind != "mlp":
        return [()] * dictionary.n_features
    found = project_on_vocabulary(model, dictionary.atoms, dictionary.site.layer, n=n)
    return [tuple(weight.token_id for weight in one.promoted) for one in found]


def _described(feature: Feature, kind: str, label: str | None) -> DescribedFeature:
    promoted = () if feature.vocabulary is None else feature.vocabulary.promoted
    ids = tuple(weight.token_id for weight in promoted)
    if kind == "output" and promoted:
        words = tuple(dict.fromkeys(visible(weight.token) for weight in promoted))[:_WORDS]
        return DescribedFeature(feature.index, label or ", ".join(words), words, ids)
    words = tuple(visible(token) for token, _ in feature.firing_types[:_WORDS])
    plain = feature.label.removeprefix("mixed: ").removesuffix(" …")
    return DescribedFeature(feature.index, label or plain, words, ids)
