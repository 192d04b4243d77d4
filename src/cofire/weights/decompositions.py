"""SVD, ICA, NMF and semi-NMF of a weight matrix, all in one form: W ≈ mixing @ components.

    W [rows channels] ≈ mixing [rows features] @ components [features channels]

A row vector goes in on the left: component j reads along column j of ``mixing`` and writes row j of
``components``. ``samples`` says which side of W is the samples of the factorisation: with ``rows``
the codes of every row are ``mixing`` and the atoms are ``components``; with ``columns`` it is the
other way round, W = A S with sources S that are independent over the columns, as ICA of weights is
mostly written.

Every method gets the same k and gives no term besides the k components: a mean that ICA takes off
before it looks for sources is part of the sources again afterwards, so that errors can be compared.
Atoms have unit norm and the codes hold the scale; components come in order of falling size.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from cofire.code_descent import unit_atoms
from cofire.dictionary import Dictionary
from cofire.errors import ConvergenceWarning, InputError
from cofire.low_rank import LowRankMatrix
from cofire.method import MethodSettings
from cofire.nnls import nonnegative_codes
from cofire.registry import method_named
from cofire.site import Site
from cofire.types import AtomMatrix, Bool, CodeMatrix, Float, Tensor
from cofire.weights.whitening import Samples, as_low_rank, check_size, oriented, rank_of

WeightMethod: TypeAlias = Literal["svd", "ica", "nmf", "snmf"]

METHODS: tuple[WeightMethod, ...] = ("svd", "ica", "nmf", "snmf")

_MOST_DENSE = 5e7  # entries of |W|, which has no low-rank form


@dataclass(frozen=True, eq=False)
class Decomposition:
    """W, or |W|, as a product of k components.

    Attributes:
        method: ``svd``, ``ica``, ``nmf`` or ``snmf``.
        samples: which side of W the samples of the factorisation are.
        mixing: what each component reads.
        components: what each component writes.
        converged: whether each component had stopped moving.
        magnitudes: whether |W| was factorised and not W.
        encoder: for linear methods, what takes a sample to its codes.
        record: seeds, steps and settings, as plain JSON values.
    """

    method: str
    samples: Samples
    mixing: Float[Tensor, "rows features"]
    components: Float[Tensor, "features channels"]
    converged: Bool[Tensor, "features"]
    magnitudes: bool = False
    encoder: Float[Tensor, "_ features"] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_components(self) -> int:
        """k."""
        return len(self.components)

    @property
    def atoms(self) -> Float[Tensor, "features _"]:
        """Unit directions, on the side that is not the samples'."""
        return self.components if self.samples == "rows" else self.mixing.T

    @property
    def codes(self) -> Float[Tensor, "_ features"]:
        """How strongly each sample has each atom."""
        return self.mixing if self.samples == "rows" else self.components.T

    @property
    def sizes(self) -> Float[Tensor, "features"]:
        """Frobenius norm of each component's own rank-one matrix."""
        return self.mixing.norm(dim=0) * self.components.norm(dim=1)

    def reading(self) -> AtomMatrix:
        """Directions the components read, of unit norm."""
        return unit_atoms(self.mixing.T.contiguous())[0]

    def writing(self) -> AtomMatrix:
        """Directions the components write, of unit norm."""
        return unit_atoms(self.components)[0]

    def reconstruction(self) -> LowRankMatrix:
        """The product of the two factors, of W or of |W|."""
        return LowRankMatrix(self.mixing, self.components)

    def component(self, index: int) -> LowRankMatrix:
        """The rank-one matrix of one component.

        Raises:
            InputError: when there is no such component.
        """
        if not 0 <= index < self.n_components:
            raise InputError(
                f"Component {index} does not exist: there are components 0 to "
                f"{self.n_components - 1}."
            )
        return LowRankMatrix(self.mixing[:, [index]], self.components[[index]])

    def dictionary(self, site: Site) -> Dictionary:
        """The atoms as a dictionary at a site: where its rows are read or written.

        Linear methods encode a sample as they did when they were fitted; the others by nonnegative
        least squares. Of NMF the atoms are those of |W|.
        """
        provenance = {
            "method": self.method,
            "matrix": "magnitudes" if self.magnitudes else "weights",
            "samples": self.samples,
            "converged": self.converged.tolist(),
            **self.record,
        }
        return Dictionary(
            atoms=self.atoms.contiguous(),
            site=site,
            encoder="nnls" if self.encoder is None else "linear",
            encoder_weight=self.encoder,
            provenance=provenance,
        )


def decompose(
    matrix: LowRankMatrix | Float[Tensor, "_ _"],
    method: WeightMethod | str,
    n_components: int,
    *,
    samples: Samples = "columns",
    seed: int = 0,
    max_iter: int | None = None,
    sparsity: float = 1.0,
) -> Decomposition:
    """Factorise a weight matrix by one method.

    ====  ==========================================================================================
    svd   singular vectors: the best k components there are (Eckart & Young 1936)
    ica   one run of symmetric FastICA in rank space; ``icasso`` tells which of its components last
    nmf   |W| ≈ B H with B, H ≥ 0: parts without their signs (Lee & Seung 1999; scikit-learn)
    snmf  codes ≥ 0, atoms of either sign (``SemiNMF``), which keeps signs
    ====  ==========================================================================================

    Args:
        matrix: W, as two factors or dense.
        method: which.
        n_components: k, at most the rank of W (for ``ica``: of the centred W).
        samples: whose codes are independent (ica) or not negative (nmf: both sides).
        seed: of starts.
        max_iter: most steps; None for the method's own.
        sparsity: share of entries an atom of ``snmf`` keeps.

    Raises:
        InputError: for k above the rank, an unknown method, or a dense |W| of too many entries.
    """
    if method == "svd":
        return singular(matrix, n_components, samples=samples)
    if method == "ica":
        from cofire.weights.icasso import single_run

        return single_run(matrix, n_components, samples=samples, seed=seed, max_iter=max_iter)
    if method == "nmf":
        return magnitude_parts(matrix, n_components, samples=samples, seed=seed, max_iter=max_iter)
    if method == "snmf":
        return signed_parts(
            matrix,
            n_components,
            samples=samples,
            seed=seed,
            max_iter=max_iter,
            sparsity=sparsity,
        )
    raise InputError(f"Unknown method {method!r}; use one of {', '.join(METHODS)}.")


def singular(
    matrix: LowRankMatrix | Float[Tensor, "_ _"], n_components: int, *, samples: Samples = "columns"
) -> Decomposition:
    """The k largest singular triplets; exact and without randomness. See ``decompose``."""
    data = oriented(as_low_rank(matrix), samples)
    u, sigma, vh = data.svd()
    check_size(n_components, rank_of(sigma, data.shape))
    k = n_components
    return assembled(
        "svd",
        u[:, :k] * sigma[:k],
        vh[:k],
        samples=samples,
        converged=torch.ones(k, dtype=torch.bool),
        encoder=vh[:k].T,
    )


def magnitude_parts(
    matrix: LowRankMatrix | Float[Tensor, "_ _"],
    n_components: int,
    *,
    samples: Samples = "columns",
    seed: int = 0,
    max_iter: int | None = None,
) -> Decomposition:
    """NMF of the dense |W|, samples as rows: atoms by scikit-learn, codes exact. See ``decompose``.

    |W| has no low-rank form, which is why this method is the slow one.
    """
    X = dense_samples(matrix, n_components, samples).abs()
    estimator = method_named("nmf").estimator(
        MethodSettings(n_components=n_components, seed=seed, max_iter=max_iter, tol=None)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SklearnConvergenceWarning)  # kept as ``converged``
        estimator.fit(X.numpy())
    atoms = unit_atoms(torch.from_numpy(estimator.components_).to(X.dtype))[0]
    done = estimator.n_iter_ < (max_iter or estimator.max_iter)
    return assembled(
        "nmf",
        nonnegative_codes(X, atoms),
        atoms,
        samples=samples,
        converged=torch.full((n_components,), done),
        magnitudes=True,
        record={"seed": seed, "n_iter": int(estimator.n_iter_)},
    )


def signed_parts(
    matrix: LowRankMatrix | Float[Tensor, "_ _"],
    n_components: int,
    *,
    samples: Samples = "columns",
    seed: int = 0,
    max_iter: int | None = None,
    sparsity: float = 1.0,
) -> Decomposition:
    """Semi-NMF of W, samples as rows: codes ≥ 0, atoms of either sign. See ``decompose``.

    Without winner-take-all by default (``sparsity`` 1), so that its k components can be held
    against those of the others; the codes keep the small L1 penalty of ``SemiNMF``.
    """
    X = dense_samples(matrix, n_components, samples)
    estimator = method_named("snmf").estimator(
        MethodSettings(
            n_components=n_components, sparsity=sparsity, seed=seed, max_iter=max_iter, device="cpu"
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # kept as ``converged``
        codes = torch.from_numpy(estimator.fit(X.numpy()).transform(X.numpy()))
    done = estimator.stop_reason_ in ("converged", "exact", "patience")
    return assembled(
        "snmf",
        codes.to(X.dtype),
        torch.from_numpy(estimator.components_).to(X.dtype),
        samples=samples,
        converged=torch.full((n_components,), done),
        record={
            "seed": seed,
            "n_iter": int(estimator.n_iter_),
            "stop_reason": estimator.stop_reason_,
            "sparsity": sparsity,
        },
    )


def dense_samples(
    matrix: LowRankMatrix | Float[Tensor, "_ _"], n_components: int, samples: Samples
) -> Float[Tensor, "rows channels"]:
    """W as a dense matrix with its samples as rows, after checking k and the size.

    Raises:
        InputError: for k above the rank, or too many entries.
    """
    data = oriented(as_low_rank(matrix), samples)
    check_size(n_components, min(*data.shape, data.left.shape[1]))
    if data.shape[0] * data.shape[1] > _MOST_DENSE:
        raise InputError(
            f"NMF and semi-NMF work on the dense matrix, at most {_MOST_DENSE:.0e} entries; this "
            f"one is {data.shape[0]} × {data.shape[1]}. Leave these methods out."
        )
    return data.dense()


def assembled(
    method: str,
    codes: CodeMatrix,
    atoms: AtomMatrix,
    *,
    samples: Samples,
    converged: Bool[Tensor, "features"],
    magnitudes: bool = False,
    encoder: Float[Tensor, "channels features"] | None = None,
    record: Mapping[str, Any] | None = None,
    sort: bool = True,
) -> Decomposition:
    """Codes and atoms, samples as rows, in the common form: unit atoms, falling size, one sign.

    Signed codes are turned so that their third moment is not negative.

    Args:
        method, samples, converged, magnitudes, encoder, record: see ``Decomposition``.
        codes, atoms: samples ≈ codes @ atoms.
        sort: whether they are still to be put in order.
    """
    atoms, norms = unit_atoms(atoms)
    codes = codes * norms
    order = torch.arange(len(atoms))
    if sort:
        order = codes.norm(dim=0).argsort(descending=True, stable=True)
    if encoder is not None:
        sign = torch.where(codes.pow(3).sum(dim=0) < 0, -1.0, 1.0).to(codes.dtype)
        codes, atoms = codes * sign, atoms * sign[:, None]
        encoder = (encoder * (norms * sign))[:, order].contiguous()
    codes, atoms = codes[:, order], atoms[order]
    on_rows = samples == "rows"
    return Decomposition(
        method=method,
        samples=samples,
        mixing=(codes if on_rows else atoms.T).contiguous(),
        components=(atoms if on_rows else codes.T).contiguous(),
        converged=converged[order],
        magnitudes=magnitudes,
        encoder=encoder,
        record=record or {},
    )
