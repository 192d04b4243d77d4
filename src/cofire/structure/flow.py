"""What becomes of features from layer to layer: born, passed on, split, merged, gone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool

from cofire.activations import TokenTable
from cofire.errors import InputError
from cofire.progress import SILENT, Progress
from cofire.structure.layer_links import (
    LayerLinks,
    LinkSettings,
    WeightLinks,
    link_layers,
)
from cofire.types import CodeMatrix

Fate: TypeAlias = Literal["persists", "splits", "merges", "dies"]
Origin: TypeAlias = Literal["persists", "split", "merged", "born"]

SENSITIVITY = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Correlations at which links and fates are counted beside the one that was chosen."""


@dataclass(frozen=True)
class Link:
    """A feature of one layer and a feature of the next that go together.

    Attributes:
        lower, higher: the features.
        correlation: of their codes over training tokens.
        heldout: over held-out tokens; None where that could not be measured.
        cosine: through the weights, see ``WeightLinks``; None where that was not measured.
        wired: whether |cosine| is above that of nearly all features on shuffled neurons; None
            likewise.
    """

    lower: int
    higher: int
    correlation: float
    heldout: float | None
    cosine: float | None
    wired: bool | None


@dataclass(frozen=True)
class Step:
    """From one layer to the next.

    Attributes:
        lower, higher: the layers.
        n_lower, n_higher: their features.
        links: the linked pairs.
        fates: what becomes of every feature of the lower layer: it *dies* without a link, *splits*
            with several, *merges* when its only partner has several partners, else *persists*.
        origins: where every feature of the higher layer comes from: *born* without a link,
            *merged* of several, *split* off when its only partner has several, else *persists*.
        null_quantile: see ``LayerLinks``; None where no correlation is above the null.
        least: least correlation of a link; None likewise, when there can be none.
        counts: links and fates at other least correlations: correlation, links, persists, splits,
            merges, dies, born.
        wired_share: share of linked pairs that are wired; None without such pairs or a model.
        wired_others: the same of pairs that are not linked, for comparison.
    """

    lower: int
    higher: int
    n_lower: int
    n_higher: int
    links: tuple[Link, ...]
    fates: tuple[Fate, ...]
    origins: tuple[Origin, ...]
    null_quantile: float | None
    least: float | None
    counts: tuple[Mapping[str, float], ...]
    wired_share: float | None
    wired_others: float | None

    def count(self, fate: str) -> int:
        """How many features of the lower layer have a fate, or of the higher one an origin."""
        return (self.origins if fate in ("born", "merged", "split") else self.fates).count(fate)


@dataclass(frozen=True, eq=False)
class Flow:
    """Features over several layers.

    Attributes:
        layers: in order.
        steps: one between every two neighbours.
        settings: when features count as linked.
    """

    layers: tuple[int, ...]
    steps: tuple[Step, ...]
    settings: LinkSettings

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "layers": list(self.layers),
            "settings": asdict(self.settings),
            "steps": [asdict(step) for step in self.steps],
        }


def follow_features(
    codes: Mapping[int, CodeMatrix],
    tokens: Mapping[int, TokenTable],
    heldout: Bool[np.ndarray, "texts"],
    settings: LinkSettings | None = None,
    *,
    weights: Mapping[tuple[int, int], WeightLinks] | None = None,
    progress: Progress = SILENT,
) -> Flow:
    """Link the features of neighbouring layers and say what becomes of each.

    Args:
        codes: of every layer, on the same tokens.
        tokens: of every layer.
        heldout: True for held-out texts.
        settings: when features count as linked.
        weights: paths through the residual stream, by (lower, higher) layer.
        progress: shown while linking.

    Raises:
        InputError: when there are fewer than two layers, or they are of different tokens.
    """
    settings = settings or LinkSettings()
    layers = sorted(codes)
    if len(layers) < 2:
        raise InputError(
            f"Following features needs at least two layers; got {layers or 'none'}. Fit more, such "
            "as --layers 9-12."
        )
    check_same_tokens(tokens)
    text_id = tokens[layers[0]].text_id
    mask = np.asarray(heldout[text_id])
    steps = []
    with progress.task("Following features", len(layers) - 1, "step") as advance:
        for lower, higher in pairwise(layers):
            found = link_layers(codes[lower].cpu(), codes[higher].cpu(), text_id, mask, settings)
            paths = None if weights is None else weights.get((lower, higher))
            steps.append(_step(lower, higher, found, paths))
            advance(1)
    return Flow(tuple(layers), tuple(steps), settings)


def check_same_tokens(tokens: Mapping[int, TokenTable]) -> None:
    """Refuse layers whose rows are not the same tokens in the same order.

    Raises:
        InputError: naming the first layer that differs.
    """
    first, *others = sorted(tokens)
    for layer in others:
        one, two = tokens[first], tokens[layer]
        if not one.same_tokens(two):
            raise InputError(
                f"Layers {first} and {layer} are of different tokens ({len(one)} and "
                f"{len(two)} rows); fit them on one capture of the same texts."
            )


def _step(
    lower: int,
    higher: int,
    found: LayerLinks,
    weights: WeightLinks | None,
) -> Step:
    cosine = np.full(found.linked.shape, np.nan) if weights is None else weights.cosine
    measured = ~np.isnan(cosine)
    wired = np.abs(cosine) > (np.inf if weights is None else weights.null_quantile)
    linked, heldout = found.linked, found.heldout
    links = tuple(
        Link(
            int(i),
            int(j),
            float(found.train[i, j]),
            None if heldout is None else float(heldout[i, j]),  # a link has one
            float(cosine[i, j]) if measured[i, j] else None,
            bool(wired[i, j]) if measured[i, j] else None,
        )
        for i, j in zip(*np.nonzero(linked), strict=True)
    )
    return Step(
        lower=lower,
        higher=higher,
        n_lower=linked.shape[0],
        n_higher=linked.shape[1],
        links=links,
        fates=_fates(linked),
        origins=_origins(linked),
        null_quantile=found.null_quantile if np.isfinite(found.null_quantile) else None,
        least=found.least if np.isfinite(found.least) else None,
        counts=tuple(_counts(found, value) for value in SENSITIVITY),
        wired_share=_share(wired[linked & measured]),
        wired_others=_share(wired[~linked & measured]),
    )


def _share(wired: np.ndarray) -> float | None:
    return float(wired.mean()) if wired.size else None


def _fates(linked: np.ndarray) -> tuple[Fate, ...]:
    partners = linked.sum(axis=0)
    fates: list[Fate] = []
    for row in linked:
        if not row.any():
            fates.append("dies")
        elif row.sum() > 1:
            fates.append("splits")
        else:
            fates.append("merges" if partners[row.argmax()] > 1 else "persists")
    return tuple(fates)


def _origins(linked: np.ndarray) -> tuple[Origin, ...]:
    seen_from_above: dict[Fate, Origin] = {
        "dies": "born",
        "splits": "merged",
        "merges": "split",
        "persists": "persists",
    }
    return tuple(seen_from_above[fate] for fate in _fates(linked.T))


def _counts(found: LayerLinks, correlation: float) -> dict[str, float]:
    """Links and fates if the least correlation were another."""
    linked = found.linked_at(correlation)
    fates, origins = _fates(linked), _origins(linked)
    return {
        "correlation": correlation,
        "links": float(linked.sum()),
        **{fate: float(fates.count(fate)) for fate in ("persists", "splits", "merges", "dies")},
        "born": float(origins.count("born")),
    }
