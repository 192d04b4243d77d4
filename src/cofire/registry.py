"""Names to methods: everything ``--method`` takes, with what each one honours.

Adding a method is one entry here, or in another package an entry point of the group
``cofire.methods`` that gives a ``Method``.
"""

from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Any

from cofire.baselines import (
    DifferenceOfMeans,
    KMeansAtoms,
    PermutedNeurons,
    PositiveDictionaryLearning,
    RandomDirections,
    RawNeurons,
    RectifiedNMF,
    ica,
    matched_sae,
    pca,
    svd,
)
from cofire.baselines.matched_sae import Architecture
from cofire.errors import InputError
from cofire.factorization import SemiNMF
from cofire.factorization.constraints import kept_entries
from cofire.method import Method, MethodSettings

_SNMF_SETTINGS = frozenset(
    {
        "sparsity",
        "sparsity_budget",
        "solver",
        "init",
        "max_iter",
        "tol",
        "code_penalty",
        "max_active",
        "center",
    }
)


def _snmf(s: MethodSettings) -> SemiNMF:
    return SemiNMF(
        n_components=s.n_components,
        sparsity=s.sparsity,
        sparsity_budget=s.sparsity_budget,
        center=s.center,
        solver=s.solver,
        random_state=s.seed,
        device=s.device,
        **s.given("init", "max_iter", "tol", "code_penalty", "max_active"),
    )


def _sae(s: MethodSettings, architecture: Architecture) -> Any:
    return matched_sae(
        s.n_components,
        architecture=architecture,
        random_state=s.seed,
        device=s.device,
        **s.given("max_iter", "max_active"),
    )


_BUILT_IN = (
    Method(
        name="snmf",
        summary="Sparse signed neuron groups, codes ≥ 0 (semi-nonnegative matrix factorisation)",
        source="Shafran, Geiger & Geva 2025, arXiv 2506.10920; Ding, Li & Jordan 2010",
        build=_snmf,
        encoder="nnls",
        honours=_SNMF_SETTINGS,
    ),
    Method(
        name="pca",
        summary="Principal components: orthogonal atoms, signed codes",
        source="scikit-learn PCA",
        build=lambda s: pca(s.n_components, seed=s.seed),
        encoder="linear",
        overcomplete=False,
    ),
    Method(
        name="svd",
        summary="Singular vectors: as pca, but the mean row is left in",
        source="Eckart & Young 1936; scikit-learn TruncatedSVD",
        build=lambda s: svd(s.n_components, seed=s.seed),
        encoder="linear",
        overcomplete=False,
    ),
    Method(
        name="ica",
        summary="Independent components: statistically independent signed codes",
        source="Hyvärinen & Oja 2000; scikit-learn FastICA",
        build=lambda s: ica(s.n_components, seed=s.seed, **s.given("max_iter", "tol")),
        encoder="linear",
        overcomplete=False,
        honours=frozenset({"max_iter", "tol"}),
    ),
    Method(
        name="nmf",
        summary="NMF of the rectified activations: atoms ≥ 0, codes ≥ 0",
        source="Lee & Seung 1999; scikit-learn NMF",
        build=lambda s: RectifiedNMF(
            s.n_components, random_state=s.seed, **s.given("max_iter", "tol")
        ),
        encoder="nnls",
        overcomplete=False,  # its start takes singular vectors
        honours=frozenset({"max_iter", "tol"}),
    ),
    Method(
        name="dictionary-learning",
        summary="Online dictionary learning with codes ≥ 0 and dense signed atoms",
        source="Mairal et al. 2009; scikit-learn MiniBatchDictionaryLearning",
        build=lambda s: PositiveDictionaryLearning(
            s.n_components, random_state=s.seed, **s.given("max_iter")
        ),
        encoder="nnls",
        honours=frozenset({"max_iter"}),
    ),
    Method(
        name="kmeans",
        summary="Centres of k clusters of rows, seen from the mean row; codes ≥ 0",
        source="Sculley 2010; scikit-learn MiniBatchKMeans",
        build=lambda s: KMeansAtoms(s.n_components, random_state=s.seed, **s.given("max_iter")),
        encoder="nnls",
        honours=frozenset({"max_iter"}),
    ),
    Method(
        name="sae-topk",
        summary="Sparse autoencoder with at most max_active features a row, same rows",
        source="Gao et al. 2024, arXiv 2406.04093; SAELens",
        build=partial(_sae, architecture="topk"),
        encoder="topk",
        honours=frozenset({"max_iter", "max_active"}),
    ),
    Method(
        name="sae-l1",
        summary="Sparse autoencoder with an L1 penalty that leaves about max_active features a row",
        source="Bricken et al. 2023, Towards Monosemanticity; SAELens",
        build=partial(_sae, architecture="standard"),
        encoder="relu",
        honours=frozenset({"max_iter", "max_active"}),
    ),
    Method(
        name="diffmeans",
        summary="Difference of means: one direction a concept, from labelled texts",
        source="Marks & Tegmark 2023, arXiv 2310.06824; Wu et al. 2025, arXiv 2501.17148",
        build=lambda s: DifferenceOfMeans(),
        encoder="nnls",
        needs_labels=True,
        deterministic=True,
    ),
    Method(
        name="neurons",
        summary="Control: the most active single neurons, each on one side",
        source="cofire",
        build=lambda s: RawNeurons(s.n_components),
        encoder="nnls",
        control=True,
        deterministic=True,
    ),
    Method(
        name="random",
        summary="Control: random directions",
        source="cofire",
        build=lambda s: RandomDirections(s.n_components, random_state=s.seed),
        encoder="nnls",
        control=True,
    ),
    Method(
        name="random-sparse",
        summary="Control: random directions with as many neurons each as snmf keeps",
        source="cofire",
        build=lambda s: RandomDirections(
            s.n_components, kept=partial(kept_entries, s.sparsity), random_state=s.seed
        ),
        encoder="nnls",
        honours=frozenset({"sparsity"}),
        control=True,
    ),
    Method(
        name="permuted-snmf",
        summary="Control: snmf with each feature's values on shuffled neurons",
        source="cofire",
        build=lambda s: PermutedNeurons(_snmf(s), random_state=s.seed),
        encoder="nnls",
        honours=_SNMF_SETTINGS,
        control=True,
    ),
)

__all__ = ["Method", "MethodSettings", "method_named", "methods"]


@cache
def methods() -> Mapping[str, Method]:
    """All methods by name: the built-in ones, then those of installed plug-ins.

    Raises:
        InputError: when a plug-in takes a name that is in use.
    """
    found = {method.name: method for method in _BUILT_IN}
    for point in entry_points(group="cofire.methods"):
        method: Method = point.load()
        if method.name in found:
            raise InputError(
                f"The plug-in {point.value} offers a method {method.name!r}, but that name is "
                "taken; uninstall one of the two."
            )
        found[method.name] = method
    return found


def method_named(name: str) -> Method:
    """One method.

    Raises:
        InputError: when there is none of this name.
    """
    known = methods()
    if name not in known:
        raise InputError(f"Unknown method {name!r}; choose one of {', '.join(known)}.")
    return known[name]
