"""The levels above a dictionary's features: from its atoms and codes, or together with its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool

from cofire.activations import Activations
from cofire.code_descent import unit_atoms
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.fidelity import FidelitySums
from cofire.factorization.chain import Chain
from cofire.factorization.constraints import kept_entries
from cofire.factorization.hierarchy import DEFAULT_PENALTY, HierarchicalSemiNMF
from cofire.factorization.hierarchy_levels import LevelSettings, levels_above
from cofire.factorization.hierarchy_settings import (
    DIRECTIONS,
    TUNED,
    check_choice,
    level_sizes,
    level_sparsities,
    level_weights,
)
from cofire.factorization.objective import Products
from cofire.structure.tree_levels import Hierarchy, LevelFigures, TreeSettings
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Tensor

_BLOCK_ROWS = 8192  # of activations that are held at once


def grow(
    dictionary: Dictionary,
    codes: CodeMatrix,
    training: Bool[np.ndarray, "rows"],
    settings: TreeSettings,
    activations: Activations | None = None,
) -> Hierarchy:
    """Find the levels above a dictionary's features.

    Without activations the levels are fitted to what the dictionary says of the training rows,
    C_0 D_0, for which its atoms and codes are enough; with them to the rows themselves.

    Args:
        dictionary: whose features are the first level; its codes must be >= 0.
        codes: of all rows.
        training: True for the rows that may be fitted.
        settings: how.
        activations: the rows, in the order of the codes; needed for ``split`` and ``tune="all"``.

    Raises:
        InputError: for levels that do not decrease from the dictionary's size on, signed codes, or
            settings that need the activations when there are none.
    """
    sizes = checked_sizes(dictionary, settings)
    if bool((codes < 0).any()):
        raise InputError(
            "A tree adds up codes of 0 or more; the codes of this dictionary are signed. Fit a "
            "method with codes >= 0, such as snmf."
        )
    if activations is not None and len(activations) != len(codes):
        raise InputError(
            f"There are codes of {len(codes)} rows but activations of {len(activations)}; give the "
            "activations that the run was fitted on."
        )
    if settings.direction != "split" and settings.tune != "all":
        return _from_codes(dictionary, codes, settings, sizes, activations, training)
    if activations is None:
        name = "direction 'split'" if settings.direction == "split" else "tune 'all'"
        raise InputError(f"{name} fits the rows again: give the activations of the run's layer.")
    return _with_rows(dictionary, settings, sizes, activations, training)


def checked_sizes(dictionary: Dictionary, settings: TreeSettings) -> tuple[int, ...]:
    """Features of all levels, the dictionary's first.

    Raises:
        InputError: for unknown words, or levels that do not decrease from the dictionary's on.
    """
    check_choice("direction", settings.direction, DIRECTIONS)
    check_choice("tune", settings.tune, TUNED)
    if not settings.sizes:
        raise InputError("A tree needs a level above the features, such as 50,25; got none.")
    if settings.sizes[0] >= dictionary.n_features:
        raise InputError(
            f"The dictionary has {dictionary.n_features} features, but a level of "
            f"{settings.sizes[0]} above them is asked for; ask for fewer."
        )
    return level_sizes((dictionary.n_features, *settings.sizes))


def _from_codes(
    dictionary: Dictionary,
    codes: CodeMatrix,
    settings: TreeSettings,
    sizes: tuple[int, ...],
    activations: Activations | None,
    training: np.ndarray,
) -> Hierarchy:
    """The dictionary's atoms and codes stay; the levels above are fitted to them."""
    first, norms = unit_atoms(dictionary.atoms.float().cpu())
    scaled = codes.float().cpu() * norms
    products = Products(len(first), first.shape[1], first.device)
    squared_norm = 0.0
    for x, c in _blocks(dictionary, scaled, first, activations, training):
        products.add(c.T, x)
        squared_norm += float(x.double().square().sum())
    share = _sparsity(dictionary, settings)
    shares = level_sparsities(share, sizes)
    asked = LevelSettings(
        sizes=sizes,
        sparsities=shares,
        kept=tuple(kept_entries(one, first.shape[1]) for one in shares),
        level_weights=level_weights(None, sizes),
        penalty=DEFAULT_PENALTY if settings.code_penalty is None else settings.code_penalty,
        direction=settings.direction,
        tune=settings.tune,
        tune_iter=0,
        tune_tol=0.0,
        seed=settings.seed,
        fit={"device": "cpu"},
    )
    start, chain, history, reason = levels_above(first, products, squared_norm, asked)

    def told(found: Chain, figures: tuple[LevelFigures, ...]) -> Hierarchy:
        weights = [matrix.float() for matrix in found.weights]
        return Hierarchy(
            atoms=(dictionary.atoms.float().cpu(), *[a.float() for a in found.atoms[1:]]),
            # Codes stay those of the dictionary; what the norms of its atoms say goes in here.
            weights=(norms[:, None] * weights[0], *weights[1:]),
            codes=codes.float().cpu(),
            figures=figures,
            first_changed=False,
            passes=history[-1].iteration if history else 0,
            stop_reason=reason,
        )

    before = _variances(told(start, ()), dictionary, activations, training)
    return _measured(told(chain, ()), dictionary, activations, training, before)


def _with_rows(
    dictionary: Dictionary,
    settings: TreeSettings,
    sizes: tuple[int, ...],
    activations: Activations,
    training: np.ndarray,
) -> Hierarchy:
    """The first level is fitted or tuned too."""
    X = _shifted(activations.X.float(), dictionary)
    estimator = HierarchicalSemiNMF(
        sizes,
        sparsity=_sparsity(dictionary, settings),
        direction=settings.direction,
        tune=settings.tune,
        first_level=None if settings.direction == "split" else dictionary.atoms.float().cpu(),
        code_penalty=settings.code_penalty,
        random_state=settings.seed,
        device=settings.device,
    )
    estimator.fit(X[torch.from_numpy(training)])
    hierarchy = Hierarchy(
        atoms=tuple(map(torch.from_numpy, estimator.level_components_)),
        weights=tuple(map(torch.from_numpy, estimator.weights_)),
        codes=torch.as_tensor(estimator.transform(X)).cpu(),
        figures=(),
        first_changed=True,
        passes=estimator.n_iter_,
        stop_reason=estimator.stop_reason_,
    )
    before = [None if np.isnan(v) else float(v) for v in estimator.explained_variance_before_]
    return _measured(hierarchy, dictionary, activations, training, before)


def _measured(
    hierarchy: Hierarchy,
    dictionary: Dictionary,
    activations: Activations | None,
    training: np.ndarray,
    before: Sequence[float | None],
) -> Hierarchy:
    after = _variances(hierarchy, dictionary, activations, training)
    heldout = _variances(hierarchy, dictionary, activations, ~training)
    kept = []
    for level, atoms in enumerate(hierarchy.atoms):
        codes = hierarchy.level_codes(level)[torch.from_numpy(training)]
        first = hierarchy.codes[torch.from_numpy(training)]
        sums = FidelitySums(atoms.shape[1])
        for c, c0 in zip(codes.split(_BLOCK_ROWS), first.split(_BLOCK_ROWS), strict=True):
            sums.add(c0 @ hierarchy.atoms[0], c, atoms)
        kept.append(sums.result().explained_variance)
    figures = tuple(
        LevelFigures(len(atoms), *told)
        for atoms, *told in zip(hierarchy.atoms, before, after, heldout, kept, strict=True)
    )
    return replace(hierarchy, figures=figures)


def _variances(
    hierarchy: Hierarchy,
    dictionary: Dictionary,
    activations: Activations | None,
    rows: np.ndarray,
) -> list[float | None]:
    """Explained variance of some rows by every level; None without activations or such rows."""
    if activations is None or not rows.any():
        return [None] * len(hierarchy.atoms)
    found = []
    for level, atoms in enumerate(hierarchy.atoms):
        sums = FidelitySums(atoms.shape[1])
        codes = hierarchy.level_codes(level)
        for x, c in _blocks(dictionary, codes, hierarchy.atoms[0], activations, rows):
            sums.add(x, c, atoms)
        found.append(sums.result().explained_variance)
    return found


def _blocks(
    dictionary: Dictionary,
    codes: Float[Tensor, "rows _"],
    atoms: AtomMatrix,
    activations: Activations | None,
    rows: np.ndarray,
) -> Iterator[tuple[ActivationMatrix, Float[Tensor, "_ _"]]]:
    """Some rows, less the dictionary's offset, with their codes; without activations, C D."""
    start = 0
    blocks = codes.split(_BLOCK_ROWS) if activations is None else activations.chunks(_BLOCK_ROWS)
    for block in blocks:
        place = slice(start, start + len(block))
        start = place.stop
        chosen = torch.from_numpy(rows[place])
        c = codes[place][chosen]
        if not len(c):
            continue
        if activations is None:
            yield c @ atoms, c
        else:
            yield _shifted(block[chosen].float().cpu(), dictionary), c


def _shifted(X: ActivationMatrix, dictionary: Dictionary) -> ActivationMatrix:
    """Rows as the dictionary's atoms add up to them."""
    if dictionary.rectify:
        X = X.clamp_min(0)
    return X if dictionary.offset is None else X - dictionary.offset.to(X)


def _sparsity(dictionary: Dictionary, settings: TreeSettings) -> float:
    if settings.sparsity is not None:
        return settings.sparsity
    most = int((dictionary.atoms != 0).sum(dim=1).max())
    return max(most, 1) / dictionary.n_channels
