"""One factorisation of several layers: features whose neurons may lie in more than one layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from cofire.activations import Activations
from cofire.code_descent import unit_atoms
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.factorization import SemiNMF
from cofire.nnls import nonnegative_codes
from cofire.site import Site
from cofire.structure.flow import check_same_tokens
from cofire.structure.layer_links import shuffled_texts
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix

_BLOCK_ROWS = 8192


@dataclass(frozen=True, eq=False)
class StackedDictionary:
    """Atoms over the neurons of several layers at once.

    Attributes:
        atoms: [features channels], the layers' channels side by side, in scaled units.
        sites: the layers, in order.
        widths: channels of each.
        scales: what each layer's rows are divided by before they are put side by side: the root
            mean square length of its training rows, so that every layer has the same say.
        penalty: of the codes, see ``Dictionary``.
    """

    atoms: AtomMatrix
    sites: tuple[Site, ...]
    widths: tuple[int, ...]
    scales: tuple[float, ...]
    penalty: float

    def part(self, site: Site) -> Dictionary:
        """The atoms' part in one layer, in that layer's own units; codes of the whole go with it.

        ``codes @ part.atoms`` rebuilds that layer's rows. Parts of features that have no neurons
        there are zero. Encoding one layer's rows with its part alone gives other codes than
        encoding all layers together.

        Raises:
            InputError: when the layer is not among them.
        """
        if site not in self.sites:
            raise InputError(f"{site} is not among the stacked layers {self._named()}.")
        place = self.sites.index(site)
        start = sum(self.widths[:place])
        atoms = self.atoms[:, start : start + self.widths[place]] * self.scales[place]
        return Dictionary(
            atoms=atoms.contiguous(),
            site=site,
            penalty=self.penalty,
            provenance={"stacked": [s.name for s in self.sites], "scale": self.scales[place]},
        )

    def shares(self) -> Float[np.ndarray, "features layers"]:
        """Share of every atom's squared length in each layer; rows sum to 1, or are NaN if dead."""
        unit, norms = unit_atoms(self.atoms.cpu())
        parts = [part.square().sum(dim=1) for part in unit.split(list(self.widths), dim=1)]
        found = torch.stack(parts, dim=1)
        found[norms == 0] = torch.nan
        return np.asarray(found.numpy())

    def spans(self) -> Float[np.ndarray, "values"]:
        """Over how many layers an atom is spread: exp of the entropy of its shares, 1 to layers."""
        shares = self.shares()
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(shares > 0, shares * np.log(shares), 0.0)
        spans = np.exp(-terms.sum(axis=1))
        return np.asarray(np.where(np.isnan(shares).any(axis=1), np.nan, spans))

    def encode(self, rows: Sequence[Activations]) -> CodeMatrix:
        """Codes of tokens from their rows in all layers.

        Raises:
            InputError: when the layers are not those of the atoms, or of different tokens.
        """
        if tuple(one.site for one in rows) != self.sites:
            raise InputError(
                f"Encoding needs rows of {self._named()}, in this order; got "
                f"{', '.join(one.site.name for one in rows)}."
            )
        atoms = self.atoms.cpu()
        codes = [
            nonnegative_codes(block, atoms, penalty=self.penalty)
            for block in StackedRows(rows, self.scales)
        ]
        return torch.cat(codes)

    def _named(self) -> str:
        return ", ".join(site.name for site in self.sites)


class StackedRows:
    """The layers' rows side by side, each layer divided by its scale; blocks are made as asked for.

    Iterating gives float32 blocks [rows channels], the same ones each time, so that ``SemiNMF.fit``
    takes it. Only one block is in memory besides what the layers hold themselves.

    Args:
        rows: activations of several layers on the same tokens, of one capture.
        scales: of the layers; the root mean square length of each one's rows when None.

    Raises:
        InputError: for fewer than two layers, one twice, layers of different tokens or differently
            cut into shards, or one of zeros.
    """

    def __init__(self, rows: Sequence[Activations], scales: Sequence[float] | None = None) -> None:
        if len({one.site for one in rows}) < max(2, len(rows)):
            raise InputError(
                f"Stacking needs at least two different layers; got "
                f"{', '.join(one.site.name for one in rows) or 'none'}."
            )
        check_same_tokens({one.site.layer: one.tokens for one in rows})
        if len({tuple(map(len, one.shards)) for one in rows}) > 1:
            raise InputError(
                "The layers' rows are cut into different shards; capture the layers together."
            )
        self._rows = tuple(rows)
        self.scales = tuple(map(_scale, rows)) if scales is None else tuple(scales)

    def __len__(self) -> int:
        return len(self._rows[0])

    def __iter__(self) -> Iterator[ActivationMatrix]:
        for parts in zip(*(one.chunks(_BLOCK_ROWS) for one in self._rows), strict=True):
            scaled = [part.float() / s for part, s in zip(parts, self.scales, strict=True)]
            yield torch.cat(scaled, dim=1)


def fit_stacked(
    rows: Sequence[Activations],
    *,
    n_components: int = 100,
    sparsity: float = 0.01,
    seed: int = 0,
    shuffled: bool = False,
    **settings: Any,
) -> StackedDictionary:
    """Factorise several layers at once.

    An atom keeps the share ``sparsity`` of all neurons of all layers, wherever they lie: whether a
    feature lives in one layer or in several is found, not said. Held-out rows are not fitted.

    Args:
        rows: activations of the layers on the same tokens, held-out texts included.
        n_components: number of features.
        sparsity: share of all channels an atom keeps.
        seed: of the start, and of the shuffles.
        shuffled: fit the control instead: every layer's texts in another random order, so that
            layers no longer speak of the same token; atoms then span layers by chance only.
        settings: further ones of ``SemiNMF``.

    Raises:
        InputError: as ``StackedRows``.
    """
    train = [one.where_split("train") for one in rows]
    if shuffled:
        train = _shuffled(train, np.random.default_rng(seed))
    stacked = StackedRows(train)
    estimator = SemiNMF(n_components, sparsity=sparsity, random_state=seed, **settings)
    estimator.fit(stacked)
    return StackedDictionary(
        atoms=torch.as_tensor(np.asarray(estimator.components_), dtype=torch.float32),
        sites=tuple(one.site for one in rows),
        widths=tuple(one.shape[1] for one in rows),
        scales=stacked.scales,
        penalty=float(getattr(estimator, "code_penalty_", 0.0)),
    )


def _shuffled(rows: Sequence[Activations], rng: np.random.Generator) -> list[Activations]:
    found = [rows[0]]
    for one in rows[1:]:
        moved = one.take(shuffled_texts(one.tokens.text_id, rng).numpy())
        found.append(replace(moved, shards=_cut_like(moved.X, rows[0]), tokens=rows[0].tokens))
    return found


def _cut_like(X: ActivationMatrix, other: Activations) -> tuple[ActivationMatrix, ...]:
    """A matrix cut into shards as another one is."""
    return tuple(X.split([len(shard) for shard in other.shards]))


def _scale(rows: Activations) -> float:
    total = sum(float(chunk.float().square().sum()) for chunk in rows.chunks(_BLOCK_ROWS))
    if total == 0 or not np.isfinite(total):
        raise InputError(f"The rows at {rows.site} are all zero or not finite; leave it out.")
    return float(np.sqrt(total / len(rows)))
