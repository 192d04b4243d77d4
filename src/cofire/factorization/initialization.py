"""Where a factorisation starts: random as published, k-means++ on a sample, or SVD.

Notation: X [rows channels] data, D [features channels] atoms, C [rows features] codes; the paper
(arXiv:2506.10920) writes A = X^T, Z = D^T, Y = C^T.
"""

import torch
from torch import Generator

from cofire.code_descent import unit_atoms
from cofire.errors import InputError
from cofire.factorization.data import DataMatrix
from cofire.nnls import nonnegative_codes
from cofire.types import ActivationMatrix, AtomMatrix, CodeMatrix, Float, Int, Tensor

STARTS = ("random", "kmeans++", "svd")
LLOYD_STEPS = 4
_MIN_SAMPLE = 4096
_ROUGH_LLOYD_STEPS = 1  # sweeps over a sample improve atoms faster than Lloyd's algorithm does
_ROUGH_MIN_SAMPLE = 2048
_SAMPLE_PER_FEATURE = 8
_POWER_STEPS = 4
_EXTRA_DIRECTIONS = 10  # oversampling of the randomised SVD, Halko et al. 2011
# Ding, Li & Jordan 2010, section 5: multiplicative updates start from the indicators plus 0.2.
_INDICATOR_OFFSET = 0.2
_ROUGH = 1e-2  # the codes only say what is left to explain


def sample_size(n_features: int, *, rough: bool = False) -> int:
    """Rows that say enough to begin with so many features."""
    return max(_ROUGH_MIN_SAMPLE if rough else _MIN_SAMPLE, _SAMPLE_PER_FEATURE * n_features)


def initial_atoms(
    data: DataMatrix, n_features: int, start: str, generator: Generator, *, rough: bool = False
) -> AtomMatrix:
    """Atoms before winner-take-all, of any norm, on the device of the data.

    Args:
        data: the rows to start from.
        n_features: number of atoms, at most the number of rows.
        start: ``random`` (standard normal entries), ``kmeans++`` or ``svd``.
        generator: a CPU generator, so that all devices draw the same numbers.
        rough: from fewer rows and with one Lloyd step, for atoms that sweeps over a sample improve.

    Raises:
        InputError: for an unknown start, or more atoms than an SVD has.
    """
    if start == "random":
        atoms = torch.randn(n_features, data.n_channels, generator=generator)
        return atoms.to(data.device, data.compute_dtype)
    if start not in STARTS:
        raise InputError(f"Unknown init {start!r}; use one of {', '.join(STARTS)}.")
    sample = data.sample(sample_size(n_features, rough=rough), generator)
    if start == "kmeans++":
        steps = _ROUGH_LLOYD_STEPS if rough else LLOYD_STEPS
        return kmeans(sample.X, n_features, generator, weights=sample.weights, steps=steps)
    rows = sample.X
    if sample.weights is not None:
        rows = rows * sample.weights.sqrt()[:, None]
    return _singular_vectors(rows, n_features, generator)


def more_atoms(
    data: DataMatrix, atoms: Float[Tensor, "_ channels"], n_features: int, generator: Generator
) -> AtomMatrix:
    """Given atoms, completed by directions of what they leave unexplained on a sample.

    Args:
        data: the rows.
        atoms: at most ``n_features`` of them, which come first.
        n_features: how many atoms there should be.
        generator: a CPU generator.
    """
    missing = n_features - len(atoms)
    if missing == 0:
        return atoms
    X = data.sample(sample_size(n_features), generator).X
    residual = X - nonnegative_codes(X, atoms, tol=_ROUGH) @ atoms
    return torch.cat([atoms, kmeans(unit_atoms(residual)[0], missing, generator)])


def initial_codes(
    data: DataMatrix, atoms: AtomMatrix, start: str, generator: Generator
) -> CodeMatrix:
    """Strictly positive codes to begin multiplicative updates with.

    ``random`` draws them uniformly from (0, 1) as published. The other two follow Ding, Li &
    Jordan 2010: the indicator of the nearest atom (``kmeans++``) or the absolute projections
    (``svd``), plus 0.2 of their scale, since a zero would stay zero for ever.
    """
    shape = (data.n_rows, atoms.shape[0])
    if start == "random":
        return torch.rand(shape, generator=generator).to(data.device, data.compute_dtype)
    codes = torch.empty(shape, dtype=data.compute_dtype, device=data.device)
    for rows, tile, _ in data.tiles():
        if start == "kmeans++":
            nearest = _nearest(tile, atoms)
            codes[rows] = torch.nn.functional.one_hot(nearest, shape[1]).to(codes.dtype)
        else:
            codes[rows] = (tile @ atoms.T).abs()
    return codes.add_(_INDICATOR_OFFSET * (1.0 if start == "kmeans++" else codes.mean()))


def kmeans(
    rows: ActivationMatrix,
    n_centres: int,
    generator: Generator,
    *,
    weights: Float[Tensor, "rows"] | None = None,
    steps: int = LLOYD_STEPS,
) -> AtomMatrix:
    """Centres by k-means++ sampling in batches, then Lloyd steps.

    Sampling draws a tenth of the centres at a time with probability proportional to the squared
    distance to the nearest centre so far (Arthur & Vassilvitskii 2007, in rounds as in Bahmani et
    al., arXiv:1203.6402): ten passes instead of one for every centre. A centre that loses all its
    rows stays where it is.

    Args:
        rows: the sample; needs no more rows than centres.
        n_centres: number of centres.
        generator: a CPU generator.
        weights: how much each row counts, >= 0; all alike when None.
        steps: Lloyd steps.
    """
    centres = _distant_rows(rows, n_centres, generator, weights)
    weighted = rows if weights is None else rows * weights[:, None]
    for _ in range(steps):
        nearest = _nearest(rows, centres)
        sizes = torch.bincount(nearest, weights, minlength=n_centres).to(rows.dtype)[:, None]
        means = _group_sums(weighted, nearest, n_centres) / torch.where(sizes > 0, sizes, 1.0)
        centres = torch.where(sizes > 0, means, centres)
    return centres


def _group_sums(rows: Tensor, group: Tensor, n_groups: int) -> AtomMatrix:
    if rows.device.type == "cpu":
        return rows.new_zeros(n_groups, rows.shape[1]).index_add_(0, group, rows)
    # On GPUs index_add_ adds in no fixed order; a product with indicators does.
    return torch.nn.functional.one_hot(group, n_groups).to(rows.dtype).T @ rows


def _distant_rows(
    rows: Tensor, n_centres: int, generator: Generator, rows_count: Tensor | None
) -> AtomMatrix:
    # Distances to the origin: the first centre is drawn by size.
    distances = torch.linalg.vector_norm(rows, dim=1).square()
    squares = distances.clone()
    chosen: list[Tensor] = []
    remaining, batch = n_centres, 1
    while remaining > 0:
        weights = distances.cpu().double().clamp(min=0)
        if rows_count is not None:
            weights *= rows_count.cpu().double()
        batch = min(batch, remaining, int((weights > 0).sum()))
        if batch == 0:  # fewer distinct rows than centres: repeat rows, winner-take-all follows
            picked = torch.randint(len(rows), (remaining,), generator=generator)
        else:
            picked = torch.multinomial(weights, batch, generator=generator)
        picked = picked.to(rows.device)
        chosen.append(rows[picked])
        apart = torch.addmm(squares[picked], rows, rows[picked].T, alpha=-2).amin(dim=1)
        distances = torch.minimum(distances, (apart + squares).clamp_(min=0))
        distances[picked] = 0
        remaining -= len(picked)
        batch = max(1, n_centres // 10)
    return torch.cat(chosen)


def _nearest(rows: Tensor, centres: Tensor) -> Int[Tensor, "rows"]:
    return torch.addmm(centres.square().sum(dim=1), rows, centres.T, alpha=-2).argmin(dim=1)


def _singular_vectors(rows: Tensor, n_features: int, generator: Generator) -> AtomMatrix:
    """Leading right singular vectors, each turned to the side where more of the rows lie."""
    available = min(rows.shape)
    if n_features > available:
        raise InputError(
            f"init='svd' gives at most {available} atoms for this data; got n_components="
            f"{n_features}: use init='kmeans++' or fewer components."
        )
    width = min(available, n_features + _EXTRA_DIRECTIONS)
    probe: Float[Tensor, "channels features"] = torch.randn(
        rows.shape[1], width, generator=generator
    ).to(rows.device, rows.dtype)
    for _ in range(_POWER_STEPS):
        probe = torch.linalg.qr(rows.T @ (rows @ probe)).Q
    right = torch.linalg.svd(rows @ probe, full_matrices=False).Vh @ probe.T
    projections = rows @ right[:n_features].T
    positive = projections.clamp(min=0).square().sum(dim=0)
    sign = torch.where(2 * positive < projections.square().sum(dim=0), -1.0, 1.0)
    return right[:n_features] * sign.to(right.dtype)[:, None]
