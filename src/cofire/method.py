"""What a method is: a name, how its estimator is built, and what it needs and honours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cofire.baselines import learnable_concepts
from cofire.corpus import Corpus
from cofire.dictionary import Dictionary, EstimatorEncoder
from cofire.errors import InputError
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
        needs_labels: whether it learns from the labels of the texts. It then makes one feature a
            concept, named after it, and does not take ``n_components``; its estimator is fitted on
            ``Activations``.
        control: whether it learns no groups from the data, so that others are held against it.
        deterministic: whether nothing in it is random, so that seeds make no difference.
    """

    name: str
    summary: str
    source: str
    build: Callable[[MethodSettings], Any]
    encoder: EstimatorEncoder
    honours: frozenset[str] = field(default_factory=frozenset)
    overcomplete: bool = True
    needs_labels: bool = False
    control: bool = False
    deterministic: bool = False

    def estimator(self, settings: MethodSettings) -> Any:
        """An unfitted estimator.

        Raises:
            InputError: when a setting was changed that this method does not use.
        """
        default = MethodSettings()
        always = {"seed", "device"} | (set() if self.needs_labels else {"n_components"})
        if settings.n_components != default.n_components and self.needs_labels:
            raise InputError(
                f"Method {self.name!r} makes one feature a concept of the labelled texts; leave "
                "n_components (-k) out."
            )
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
        if self.needs_labels:
            return
        most = rows if self.overcomplete else min(rows, channels)
        if n_components > most:
            raise InputError(
                f"Method {self.name!r} finds at most {most} features on {rows} training rows × "
                f"{channels} channels; n_components is {n_components}. Lower it or add data."
            )

    def check_texts(self, corpus: Corpus) -> None:
        """Refuse texts that the method cannot learn from, before rows are captured.

        Raises:
            InputError: when it needs labels and there are too few.
        """
        if self.needs_labels:
            learnable_concepts(corpus)

    def dictionary(self, estimator: Any, site: Site, provenance: Mapping[str, Any]) -> Dictionary:
        """The dictionary of a fitted estimator.

        What the estimator keeps of its own fit (``record_``) goes into the provenance; the number
        of features is the dictionary's.
        """
        made = {**provenance, **getattr(estimator, "record_", {})}
        if "n_components" in made:
            made["n_components"] = len(estimator.components_)
        return Dictionary.from_estimator(estimator, site, encoder=self.encoder, provenance=made)
