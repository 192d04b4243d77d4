"""Two features or two layers side by side: by their atoms where they can be, else by codes."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cofire.interpret.wording import readable, token_text
from cofire.matching import Matching, match_atoms
from cofire.web.layer import ServedLayer
from cofire.web.reading import feature_page, layer_overview
from cofire.web.records.side_by_side import (
    AtomsBeside,
    CodesBeside,
    FeaturePair,
    FeaturesBeside,
    LayersBeside,
    LayerSide,
    SharedNeuron,
)
from cofire.web.refusals import BusyError

_MATCHINGS_KEPT = 8
_MOST_WAITING = 4
_MOST_CODES = 100_000_000  # entries of a matrix of codes that is compared whole
_TYPES_SHOWN = 100


@dataclass(frozen=True, eq=False)
class Side:
    """One of two layers, and the run it is of."""

    key: str
    layer: ServedLayer


def features_beside(
    first: Side, first_feature: int, second: Side, second_feature: int
) -> FeaturesBeside:
    """Two features.

    Raises:
        UnknownError: when a feature does not exist.
    """
    one, other = first.layer.feature(first_feature), second.layer.feature(second_feature)
    notes, atoms, codes = [], None, None
    reason = _other_site(first.layer, second.layer)
    if reason is None:
        atoms = _atoms(first.layer, first_feature, second.layer, second_feature)
    else:
        notes.append(reason)
    reason = _other_tokens(first.layer, second.layer)
    if reason is None:
        together = first.layer.codes.beside(first_feature, second.layer.codes, second_feature)
        codes = CodesBeside(
            both=together.both, jaccard=_known(together.jaccard), cosine=_known(together.cosine)
        )
    else:
        notes.append(reason)
    others = {name for name, _ in other.firing_types}
    shared = [token_text(name) for name, _ in one.firing_types if name in others]
    return FeaturesBeside(
        first=feature_page(first.key, first.layer, first_feature),
        second=feature_page(second.key, second.layer, second_feature),
        atoms=atoms,
        codes=codes,
        shared_types=shared[:_TYPES_SHOWN],
        notes=notes,
    )


def _atoms(first: ServedLayer, i: int, second: ServedLayer, j: int) -> AtomsBeside:
    one = first.dictionary.atoms[i].float().cpu().numpy()
    other = second.dictionary.atoms[j].float().cpu().numpy()
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    both, either = np.flatnonzero(one * other), np.count_nonzero((one != 0) | (other != 0))
    order = both[np.argsort(-np.abs(one[both] * other[both]), kind="stable")]
    return AtomsBeside(
        cosine=float(one @ other) / length if length else 0.0,
        shared=[
            SharedNeuron(neuron=int(n), first=float(one[n]), second=float(other[n])) for n in order
        ],
        jaccard=len(both) / either if either else 0.0,
    )


class LayerPairing:
    """Pairs the features of two layers; what was paired is kept, one pair of layers at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[ServedLayer, ServedLayer, Matching]] = (
            OrderedDict()
        )
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_WAITING)

    @contextmanager
    def _released(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._places.release()

    def beside(self, first: Side, second: Side, *, offset: int, limit: int) -> LayersBeside:
        """Two layers with their features paired one to one.

        Raises:
            BusyError: when as many wait for a pairing as may.
        """
        by, notes = _comparable(first.layer, second.layer)
        matching = None if by is None else self._matching(first, second, by)
        pairs: list[FeaturePair] = []
        found, mean, above = 0, None, None
        if matching is not None:
            paired = np.flatnonzero(matching.partner >= 0)
            cosines = matching.cosine[paired]
            found = len(paired)
            mean = float(cosines.mean()) if found else None
            above = int((cosines > 0.5).sum())
            order = paired[np.argsort(-cosines, kind="stable")][offset : offset + limit]
            pairs = [
                FeaturePair(
                    first=int(i),
                    first_label=readable(first.layer.label(int(i))),
                    second=int(matching.partner[i]),
                    second_label=readable(second.layer.label(int(matching.partner[i]))),
                    cosine=float(matching.cosine[i]),
                )
                for i in order
            ]
        return LayersBeside(
            first=LayerSide(run=first.key, layer=layer_overview(first.layer)),
            second=LayerSide(run=second.key, layer=layer_overview(second.layer)),
            by=by,
            mean_cosine=mean,
            above_half=above,
            found=found,
            offset=offset,
            limit=limit,
            pairs=pairs,
            notes=notes,
        )

    def _matching(self, first: Side, second: Side, by: Literal["atoms", "codes"]) -> Matching:
        place = (first.key, first.layer.site, second.key, second.layer.site, by)
        if not self._places.acquire(blocking=False):
            raise BusyError("Other layers are being compared; try again in a moment.")
        # One at a time: it may take seconds, and the next one may want the same.
        with self._released(), self._lock:
            known = self._kept.get(place)
            if known is not None and known[:2] == (first.layer, second.layer):
                self._kept.move_to_end(place)
                return known[2]
            signed = "linear" in (first.layer.dictionary.encoder, second.layer.dictionary.encoder)
            if by == "atoms":
                vectors = (first.layer.dictionary.atoms, second.layer.dictionary.atoms)
                found = match_atoms(*vectors, either_sign=signed)
            else:
                found = match_atoms(first.layer.codes.matrix().T, second.layer.codes.matrix().T)
            self._kept[place] = (first.layer, second.layer, found)
            while len(self._kept) > _MATCHINGS_KEPT:
                self._kept.popitem(last=False)
            return found


def _comparable(
    first: ServedLayer, second: ServedLayer
) -> tuple[Literal["atoms", "codes"] | None, list[str]]:
    other_site = _other_site(first, second)
    if other_site is None:
        return "atoms", []
    other_tokens = _other_tokens(first, second)
    if other_tokens is not None:
        return None, [other_site, other_tokens]
    size = first.codes.n_rows * max(len(first), len(second))
    if size > _MOST_CODES:
        return None, [other_site, "There are too many codes to compare them whole here."]
    return "codes", [other_site + " Codes on the same tokens are compared instead."]


def _other_site(first: ServedLayer, second: ServedLayer) -> str | None:
    """Why atoms cannot be compared; None when they can."""
    if _mark(first.manifest, "model", "fingerprint") != _mark(
        second.manifest, "model", "fingerprint"
    ):
        return "Atoms of different models have nothing in common."
    if first.site != second.site:
        return "Atoms at different sites have nothing in common."
    return None


def _other_tokens(first: ServedLayer, second: ServedLayer) -> str | None:
    """Why codes cannot be compared; None when they can."""
    same_texts = _mark(first.manifest, "corpus", "sha256") == _mark(
        second.manifest, "corpus", "sha256"
    )
    if not same_texts or not np.array_equal(first.tokens.token_id, second.tokens.token_id):
        return "Their codes are of different texts or tokens."
    return None


def _mark(manifest: Mapping[str, Any], *names: str) -> Any:
    record: Any = manifest
    for name in names:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
