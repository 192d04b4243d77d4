"""Names to methods: everything ``--method`` takes, with what each one honours.

Adding a method is one entry here, or in another package an entry point of the group
``cofire.methods`` that gives a ``Method``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from cofire.baselines import PositiveDictionaryLearning, RectifiedNMF, ica, pca
from cofire.dictionary import Dictionary, EstimatorEncoder
from cofire.errors import InputError
from cofire.factorization import SemiNMF
from cofire.site import Site


@dataclass(frozen=True)
class MethodSettings:
    """What a user can set about a factorisation.

    Attributes:
        n_components: number of features.
        sparsity: share of channels an atom keeps, 0 < s ≤ 1.
        solver: name of a solver.
        init: name of a start, None for the solver's own.
        max_iter: most sweeps, None for the method's own.
        tol: stop tolerance, None for the method's own.
        code_penalty: L1 penalty on codes, relative to the median row norm, None for the solver's
            own.
        max_active: most features a row may express, None for no limit.
        sparsity_budget: what the sparsity holds for, each ``atom`` or the ``dictionary``.
        center: whether the mean row is taken off first.
        seed: of everything random.
        device: to compute on, where the method can choose.
    """

    n_components: int = 100
    sparsity: float = 0.01
    solver: str = "bcd"
    init: str | None = None
    max_iter: int | None = None
    tol: float | None = None
    code_penalty: float | None = None
    max_active: int | None = None
    sparsity_budget: str = "atom"
    center: bool = False
    seed: int = 0
    device: str = "auto"

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the named settings that are not None."""
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Method:
    """A way to make a dictionary.

    Attributes:
        name: what ``--method`` takes.
        summary: one line.
        source: paper or library.
        build: settings to an unfitted estimator.
        encoder: rule by which the dictionary encodes (see ``Dictionary``).
        honours: settings it uses beside ``n_components``, ``seed`` and ``device``.
        overcomplete: whether it can find more features than there are channels.
    """

    name: str
    summary: str
    source: str
    build: Callable[[MethodSettings], Any]
    encoder: EstimatorEncoder
    honours: frozenset[str] = field(default_factory=frozenset)
    overcomplete: bool = True

    def estimator(self, settings: MethodSettings) -> Any:
        """An unfitted estimator.

        Raises:
            InputError: when a setting was changed that this method does not use.
        """
        default = MethodSettings()
        always = {"n_components", "seed", "device"}
        for setting in fields(settings):
            name = setting.name
            changed = getattr(settings, name) != getattr(default, name)
            if changed and name not in self.honours | always:
                raise InputError(
                    f"Method {self.name!r} has no setting {name!r}; leave it out. It takes "
                    f"{', '.join(sorted(self.honours | always))}."
                )
        return self.build(settings)

    def check_size(self, n_components: int, rows: int, channels: int) -> None:
        """Refuse more features than the data allow.

        Raises:
            InputError: saying how many there may be.
        """
        most = rows if self.overcomplete else min(rows, channels)
        if n_components > most:
            raise InputError(
                f"Method {self.name!r} finds at most {most} features on {rows} training rows × "
                f"{channels} channels; n_components is {n_components}. Lower it or add data."
            )

    def dictionary(self, estimator: Any, site: Site, provenance: Mapping[str, Any]) -> Dictionary:
        """The dictionary of a fitted estimator."""
        return Dictionary.from_estimator(
            estimator, site, encoder=self.encoder, provenance=provenance
        )


_BUILT_IN = (
    Method(
        name="snmf",
        summary="Sparse signed neuron groups, codes ≥ 0 (semi-nonnegative matrix factorisation)",
        source="Shafran, Geiger & Geva 2025, arXiv 2506.10920; Ding, Li & Jordan 2010",
        build=lambda s: SemiNMF(
            n_components=s.n_components,
            sparsity=s.sparsity,
            sparsity_budget=s.sparsity_budget,
            center=s.center,
            solver=s.solver,
            random_state=s.seed,
            device=s.device,
            **s.given("init", "max_iter", "tol", "code_penalty", "max_active"),
        ),
        encoder="nnls",
        honours=frozenset(
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
        ),
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
)


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
