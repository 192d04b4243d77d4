"""Figures of weight matrices and of their components, each with formula, source and an example.

Functions take tensors and give plain numbers or one number a component; nothing here is random.
``measure_list`` says of each what it means; ``nulls`` says what a figure would be by chance.
"""

import math

import torch

from cofire.errors import InputError
from cofire.low_rank import LowRankMatrix
from cofire.types import Float, Tensor

FAN_OUT_COSINE = 0.1
"""Cosine above which a direction is said to write to a token (Mechanistic Validity, B07)."""

_TILE = 32768  # vocabulary rows at a time

# Of the approximation of negentropy: Hyvärinen 1998 (NIPS 10), eq. 25 with G₂ = exp(-y²/2).
_ODD, _EVEN = 36 / (8 * math.sqrt(3) - 9), 24 / (16 * math.sqrt(3) - 27)


def relative_error(
    matrix: LowRankMatrix | Float[Tensor, "rows channels"], approximation: LowRankMatrix
) -> float:
    """‖W − W'‖_F / ‖W‖_F, from 0 up; 1 for W' = 0. For two thin factors nothing dense is formed.

    Raises:
        InputError: when the shapes differ, or W is zero.

    Example:
        W = diag(3, 4) without its second half: 4 / 5.

        >>> w = torch.diag(torch.tensor([3.0, 4.0]))
        >>> half = LowRankMatrix(w[:, :1], torch.tensor([[1.0, 0.0]]))
        >>> round(relative_error(w, half), 3), round(relative_error(half, half), 3)
        (0.8, 0.0)
    """
    if matrix.shape != approximation.shape:
        raise InputError(
            f"Shapes differ: {tuple(matrix.shape)} and {tuple(approximation.shape)}; compare a "
            "matrix with its own approximation."
        )
    if isinstance(matrix, LowRankMatrix):
        rest = LowRankMatrix(
            torch.cat([matrix.left, -approximation.left], dim=1),
            torch.cat([matrix.right, approximation.right]),
        )
        whole, left = matrix.singular_values().norm(), rest.singular_values().norm()
    else:
        whole, left = matrix.norm(), (matrix - approximation.dense()).norm()
    if whole == 0:
        raise InputError("A relative error needs a matrix that is not zero.")
    return float(left / whole)


def excess_kurtosis(values: Float[Tensor, "*_ values"]) -> Float[Tensor, "*_"]:
    """E[y⁴] / E[y²]² − 3 of centred values, along the last axis: 0 for a Gaussian, from −2 up.

    The moments are those of the sample, not corrected. High for sparse or heavy-tailed sources.

    Example:
        Of −2, 0, 0, 2: E[y⁴] = 8, E[y²] = 2, so 8/4 − 3.

        >>> float(excess_kurtosis(torch.tensor([-2.0, 0.0, 0.0, 2.0])))
        -1.0
    """
    y = values - values.mean(dim=-1, keepdim=True)
    return y.pow(4).mean(dim=-1) / y.square().mean(dim=-1).square() - 3


def negentropy(values: Float[Tensor, "*_ values"]) -> Float[Tensor, "*_"]:
    """How far from Gaussian, in nats, approximately; along the last axis, of standardised values.

    J(y) ≈ k₁ E[y exp(−y²/2)]² + k₂ (E[exp(−y²/2)] − √½)²,  k₁ = 36/(8√3−9), k₂ = 24/(16√3−27)
    (Hyvärinen 1998, NIPS 10:273). True negentropy is 0 for a Gaussian only; the approximation is 0
    for a Gaussian, never negative, and unlike kurtosis not ruled by single outliers.

    Example:
        Values ±1, equally often: E[y exp(−½)] = 0 and k₂ (exp(−½) − √½)² = 33.67 · 0.1006².

        >>> round(float(negentropy(torch.tensor([-1.0, 1.0]))), 4)
        0.3406
    """
    y = values - values.mean(dim=-1, keepdim=True)
    y = y / y.square().mean(dim=-1, keepdim=True).sqrt()
    bell = torch.exp(-y.square() / 2)
    odd = (y * bell).mean(dim=-1)
    even = bell.mean(dim=-1) - math.sqrt(0.5)
    return _ODD * odd.square() + _EVEN * even.square()


def hoyer_sparsity(values: Float[Tensor, "*_ values"]) -> Float[Tensor, "*_"]:
    """(√n − ‖x‖₁/‖x‖₂) / (√n − 1) along the last axis: 0 all entries alike, 1 one entry only.

    Hoyer 2004 (JMLR 5:1457). NaN for a vector of zeros.

    Example:
        >>> hoyer_sparsity(torch.tensor([[1.0, -1.0, 1.0, 1.0], [0.0, 5.0, 0.0, 0.0]])).tolist()
        [0.0, 1.0]
    """
    root = math.sqrt(values.shape[-1])
    ratio = values.abs().sum(dim=-1) / values.norm(dim=-1)
    return (root - ratio) / (root - 1)


def effective_rank(singular_values: Float[Tensor, "rank"]) -> float:
    """exp(H(σ / Σσ)), H the entropy: from 1 to the number of values (Roy & Vetterli 2007).

    Example:
        >>> effective_rank(torch.tensor([2.0, 2.0, 0.0])), effective_rank(torch.tensor([7.0]))
        (2.0, 1.0)
    """
    share = _positive(singular_values) / singular_values.double().sum()
    return float(torch.exp(-(share * share.log()).sum()))


def participation_ratio(singular_values: Float[Tensor, "rank"]) -> float:
    """(Σσ)² / Σσ²: from 1 for one value to their number for equal ones (B07).

    Example:
        Of 3 and 1: 16 / 10.

        >>> participation_ratio(torch.tensor([3.0, 1.0]))
        1.6
    """
    sigma = _positive(singular_values)
    return float(sigma.sum().square() / sigma.square().sum())


def top_ratio(singular_values: Float[Tensor, "rank"], n_components: int) -> float:
    """σ₁ / σ_k, from 1 up; infinite where σ_k is 0 (B01).

    Raises:
        InputError: for k outside 1 to the number of values.

    Example:
        >>> top_ratio(torch.tensor([6.0, 3.0, 1.0]), 2)
        2.0
    """
    if not 1 <= n_components <= len(singular_values):
        raise InputError(
            f"There are singular values 1 to {len(singular_values)}; asked for {n_components}."
        )
    last = float(singular_values[n_components - 1])
    return float(singular_values[0]) / last if last > 0 else math.inf


def components_for_share(singular_values: Float[Tensor, "rank"], share: float = 0.9) -> int:
    """Fewest singular components that hold a share of Σσ²; B50 of the framework asks for 90%.

    Raises:
        InputError: for a share outside 0 to 1.

    Example:
        Squares 9, 1, 1: the first holds 9/11 = 82%, two hold 91%.

        >>> components_for_share(torch.tensor([3.0, 1.0, 1.0]))
        2
    """
    if not 0 < share <= 1:
        raise InputError(f"A share lies above 0 and at most at 1; got {share}.")
    held = singular_values.double().square().cumsum(0)
    return min(int((held < share * held[-1] * (1 - 1e-9)).sum()) + 1, len(singular_values))


def components_for_error(
    sizes: Float[Tensor, "features"], errors: Float[Tensor, "features"], goal: float
) -> int | None:
    """Fewest components whose error is at most ``goal``; None when not even all reach it.

    Args:
        sizes: numbers of components that were tried, increasing.
        errors: relative error with each.
        goal: for instance the error of the SVD with k components.

    Example:
        >>> components_for_error(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.9, 0.6, 0.3]), 0.6)
        2
    """
    reached = torch.nonzero(errors <= goal * (1 + 1e-6))
    return int(sizes[int(reached[0])]) if len(reached) else None


def energy_dependence(sources: Float[Tensor, "features values"]) -> float:
    """Mean |corr(log cosh sᵢ, log cosh sⱼ)| over pairs: what is left of dependence.

    Uncorrelated sources can still be large together, or avoid one another; independent ones do
    neither (energy correlations of Hyvärinen, Hoyer & Inki 2001, Neural Comput. 13:1527; log cosh
    of the standardised source in place of its square, so that single outliers do not decide it and
    small remains of a sparse source do not count). 0 to 1, above 0 by chance; NaN for one source.

    Example:
        Sources that are large for the same samples.

        >>> one = torch.tensor([1.0, -1.0, 3.0, -3.0])
        >>> two = torch.tensor([2.0, -2.0, -6.0, 6.0])
        >>> round(energy_dependence(torch.stack([one, two])), 3)
        1.0
    """
    k = len(sources)
    if k < 2:
        return math.nan
    y = sources - sources.mean(dim=1, keepdim=True)
    y = (y / y.square().mean(dim=1, keepdim=True).sqrt()).double()
    energy = torch.logaddexp(y, -y)  # log cosh up to a constant, without overflow
    above = torch.triu_indices(k, k, 1)
    return float(torch.corrcoef(energy)[above[0], above[1]].abs().mean())


def fan_out(
    directions: Float[Tensor, "features d_model"],
    unembedding: Float[Tensor, "vocab d_model"],
    *,
    cosine: float = FAN_OUT_COSINE,
) -> Float[Tensor, "features"]:
    """Share of the vocabulary that each direction writes to: tokens with |cos| above 0.1 (B07).

    Args:
        directions: of any norm.
        unembedding: a row a token, in the space the directions lie in.
        cosine: the limit.

    Example:
        >>> fan_out(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
        [0.5]
    """
    unit = directions / directions.norm(dim=1, keepdim=True)
    counts = torch.zeros(len(directions))
    for tile in torch.split(unembedding, _TILE):
        tokens = tile.to(unit.dtype)
        tokens = tokens / tokens.norm(dim=1, keepdim=True)
        counts += ((tokens @ unit.T).abs() > cosine).sum(dim=0)
    return counts / len(unembedding)


def copying_score(
    matrix: LowRankMatrix, gram: Float[Tensor, "d_model d_model"] | None = None
) -> float:
    """Σ Re λ / Σ |λ| over the eigenvalues of the OV circuit: 1 copies, −1 suppresses.

    Elhage et al. 2021, A Mathematical Framework for Transformer Circuits. The circuit from token to
    token is W_E L R W_U; its eigenvalues other than 0 are those of the small matrix R G L with
    G = W_U W_E, so that nothing of the size of the vocabulary is formed. NaN for a zero matrix.

    Args:
        matrix: W_OV = L R, from residual stream to residual stream.
        gram: G, from unembedding to embedding; without it the eigenvalues are those of W itself,
            which are the same where embedding and unembedding are tied and orthonormal.

    Example:
        Eigenvalues 2 and −1: (2 − 1) / (2 + 1).

        >>> w = LowRankMatrix(torch.eye(2), torch.diag(torch.tensor([2.0, -1.0])))
        >>> round(copying_score(w), 3)
        0.333
    """
    left = matrix.left if gram is None else gram.to(matrix.left.dtype) @ matrix.left
    values = torch.linalg.eigvals((matrix.right @ left).double())
    whole = float(values.abs().sum())
    return float(values.real.sum()) / whole if whole > 0 else math.nan


def self_alignment(matrix: LowRankMatrix) -> float:
    """‖W W‖ / (Σσ⁴)^½: how far W reads what it writes, from 0 to 1 (B09).

    The largest value that the singular values allow is 1, reached where the directions that W
    writes are those that it reads, each with its own strength. The framework names an alignment
    among the features of its weight classifier without a formula; this one is ours. NaN for a zero
    matrix.

    Args:
        matrix: W = L R, from the residual stream to itself (W_OV), or between two readings of it
            (W_QK: how far queries and keys look for the same).

    Raises:
        InputError: when W is not square.

    Example:
        What is read along the first axis is written along the second, and nowhere read.

        >>> shift = LowRankMatrix(torch.eye(2)[:, :1], torch.tensor([[0.0, 1.0]]))
        >>> self_alignment(shift), self_alignment(LowRankMatrix(torch.eye(2), torch.eye(2)))
        (0.0, 1.0)
    """
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"Only a square matrix can be aligned with itself; got {matrix.shape}.")
    left, right = matrix.left.double(), matrix.right.double()
    reads, meets, writes = left.T @ left, right @ left, right @ right.T
    squares = float((reads @ meets * (meets @ writes)).sum())
    most = float(matrix.singular_values().double().pow(4).sum())
    return math.sqrt(max(squares, 0.0) / most) if most > 0 else math.nan


def _positive(singular_values: Float[Tensor, "rank"]) -> Float[Tensor, "_"]:
    sigma = singular_values.double()
    if not len(sigma) or sigma[0] <= 0:
        raise InputError("Figures of a spectrum need a matrix that is not zero.")
    return sigma[sigma > 0]
