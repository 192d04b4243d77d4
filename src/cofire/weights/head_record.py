"""What is written down about one matrix: its evidence, verdict, and a line for every component."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from cofire.errors import StoreError
from cofire.weights.decompositions import Decomposition
from cofire.weights.evidence import Evidence
from cofire.weights.examination import Examination
from cofire.weights.measures import excess_kurtosis, hoyer_sparsity, negentropy
from cofire.weights.nulls import BEYOND_Z, AgainstNull
from cofire.weights.on_texts import OnTexts
from cofire.weights.verdict import Alignment, Verdict, verdict

ONE_CHANNEL = 0.5
"""Share of a direction's squares in its largest channel from which it is a single channel."""


ATTENDING = 0.25
"""Share of attention from which a head is said to look for repeats, or at the token before."""


RAISING = 0.5
"""Standard deviations from which a head is said to raise the logits of what it attends to."""


@dataclass(frozen=True)
class NamedMatch:
    """The feature a component is most like on one side.

    Attributes:
        name: of the feature.
        index: its number in its dictionary.
        layer: of the dictionary.
        cosine: with the component's direction; of either sign.
        p: how rarely a null direction is as like any feature; None without a null.
    """

    name: str
    index: int
    layer: int
    cosine: float
    p: float | None


@dataclass(frozen=True)
class ComponentRecord:
    """One component of one method.

    Attributes:
        method: which decomposition it belongs to.
        index: its place, largest first.
        share: its own squares as a share of those of W (components are not orthogonal, shares need
            not add up).
        converged: whether the method had settled on it.
        index_of_stability, found_in, stable: Iq, share of runs, and whether it counts; None for
            methods other than ICA.
        negentropy, kurtosis: of its codes over the samples.
        sparsity_read, sparsity_write: Hoyer sparsity of both sides.
        channel_read, channel_write: share of the squares of each side in its largest channel.
        reads, reads_opposite: tokens with the largest and the smallest reading.
        writes, writes_opposite: tokens it makes more likely then; with the opposite reading the
            two change places.
        written_at_read: how much the tokens that are read are written, in standard deviations.
        operation: ``copy``, ``suppress`` or ``transform``; None where it was not measured.
        correlation, margin, p: of the operation.
        feature_read, feature_write: the features it is most like on either side.
        fan_out: share of the vocabulary it writes to.
        kl_own, kl_other, kl_random: nats by which the next token's distribution moves when the
            component is taken out, at its own places, at others, and when random mixtures of the
            method's components, of its size, are taken out at its own places; None where it was
            not tried, or alone.
        specificity: 1 − kl_other / kl_own.
        random_specificity: the same of the random mixtures; None also in records of before it was
            kept.
        p_ablation: that it does no more at its own places than the random ones.
    """

    method: str
    index: int
    share: float
    converged: bool
    index_of_stability: float | None
    found_in: float | None
    stable: bool | None
    negentropy: float
    kurtosis: float
    sparsity_read: float
    sparsity_write: float
    channel_read: float
    channel_write: float
    reads: tuple[str, ...] = ()
    reads_opposite: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    writes_opposite: tuple[str, ...] = ()
    written_at_read: float | None = None
    operation: str | None = None
    correlation: float | None = None
    margin: float | None = None
    p: float | None = None
    feature_read: NamedMatch | None = None
    feature_write: NamedMatch | None = None
    fan_out: float | None = None
    kl_own: float | None = None
    kl_other: float | None = None
    kl_random: float | None = None
    specificity: float | None = None
    p_ablation: float | None = None
    random_specificity: float | None = None


@dataclass(frozen=True)
class HeadRecord:
    """Everything known about one matrix.

    Attributes:
        layer: counted from 0.
        head: counted from 0; None for a matrix of the whole layer.
        matrix: which one, such as ``ov``.
        evidence: figures beside their nulls.
        components: of every method.
        copying: copying score beside its null; None where it has no meaning.
        self_alignment: how far W reads what it writes (B09), likewise.
        induction: attention score of an induction head; None where it was not measured.
        previous_token: attention to the token before, likewise.
        alignments: with features, a record a side.
        seconds: time it took.
        on_texts: what the head does on texts; None where it was not measured.
    """

    layer: int
    head: int | None
    matrix: str
    evidence: Evidence
    components: tuple[ComponentRecord, ...]
    copying: AgainstNull | None = None
    self_alignment: AgainstNull | None = None
    induction: float | None = None
    previous_token: float | None = None
    alignments: tuple[Alignment, ...] = ()
    seconds: float = 0.0
    on_texts: OnTexts | None = None

    @property
    def name(self) -> str:
        """Such as ``9.2``, or ``9`` for a matrix of the whole layer."""
        return str(self.layer) if self.head is None else f"{self.layer}.{self.head}"

    def of_method(self, method: str) -> tuple[ComponentRecord, ...]:
        """The components of one method, largest first."""
        return tuple(one for one in self.components if one.method == method)

    @property
    def verdict(self) -> Verdict:
        """The five patterns, decided from the evidence by the rules of this version."""
        return verdict(
            self.evidence,
            alignment=_stronger(self.alignments, "ica"),
            meaning=_stronger(self.alignments, "nmf"),
        )

    @property
    def roles(self) -> tuple[str, ...]:
        """What the head stands out by, each by a stated rule; none for most heads.

        ``copies`` and ``suppresses``: a copying score three standard deviations above or below
        random rotations; ``induction-like`` and ``previous-token``: a quarter of its attention on
        the token behind the first time, or on the one before, on random tokens that come twice.
        """
        z = None if self.copying is None else self.copying.z
        found = (
            ("copies", z is not None and z >= BEYOND_Z),
            ("suppresses", z is not None and z <= -BEYOND_Z),
            ("induction-like", self.induction is not None and self.induction >= ATTENDING),
            (
                "previous-token",
                self.previous_token is not None and self.previous_token >= ATTENDING,
            ),
        )
        return tuple(name for name, holds in found if holds)

    @property
    def fan_out(self) -> float | None:
        """Mean share of the vocabulary that the components of SVD write to."""
        known = [one.fan_out for one in self.of_method("svd") if one.fan_out is not None]
        return sum(known) / len(known) if known else None

    @property
    def specificity(self) -> float | None:
        """Median specificity of the components that were taken out."""
        return _median([one.specificity for one in self.components])

    @property
    def random_specificity(self) -> float | None:
        """The same of the random mixtures of components that were taken out beside them."""
        return _median([one.random_specificity for one in self.components])

    def record(self) -> dict[str, Any]:
        """Plain JSON values, with the verdict for those who read them without cofire."""
        return {**asdict(self), "verdict": self.verdict.record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "HeadRecord":
        """Put together what ``record`` took apart; the verdict is decided anew.

        Raises:
            StoreError: when it is no such record.
        """
        try:
            parts = dict(record)
            parts["evidence"] = Evidence.from_record(parts["evidence"])
            parts.pop("verdict", None)
            parts["components"] = tuple(_component(one) for one in parts["components"])
            parts["alignments"] = tuple(Alignment(**one) for one in parts["alignments"])
            if parts.get("on_texts") is not None:
                parts["on_texts"] = OnTexts.from_record(parts["on_texts"])
            for name in ("copying", "self_alignment"):
                if parts.get(name) is not None:  # the second was not always measured
                    parts[name] = AgainstNull(**parts[name])
            return cls(**parts)
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"The record of a head is damaged ({error}); delete its file and run the command "
                "again."
            ) from error


def component_records(examined: Examination) -> list[ComponentRecord]:
    """A line for every component of every method, tokens and features still missing."""
    squares = examined.evidence.spectrum.norm**2
    return [
        record
        for method, made in examined.decompositions.items()
        for record in _records(method, made, squares, examined)
    ]


def _records(
    method: str, made: Decomposition, squares: float, examined: Examination
) -> list[ComponentRecord]:
    stability = examined.stability if method == "ica" else None
    codes = made.codes.T
    reading, writing = made.reading(), made.writing()
    columns = (
        made.sizes.square() / squares,
        negentropy(codes),
        excess_kurtosis(codes),
        hoyer_sparsity(reading),
        hoyer_sparsity(writing),
        reading.square().max(dim=1).values,
        writing.square().max(dim=1).values,
    )
    table = torch.nan_to_num(torch.stack(columns, dim=1)).tolist()
    return [
        ComponentRecord(
            method=method,
            index=i,
            share=share,
            converged=bool(made.converged[i]),
            index_of_stability=None if stability is None else float(stability.index[i]),
            found_in=None if stability is None else float(stability.found_in[i]),
            stable=None if stability is None else bool(stability.stable[i]),
            negentropy=far,
            kurtosis=heavy,
            sparsity_read=sparse_in,
            sparsity_write=sparse_out,
            channel_read=channel_in,
            channel_write=channel_out,
        )
        for i, (share, far, heavy, sparse_in, sparse_out, channel_in, channel_out) in enumerate(
            table
        )
    ]


def _component(record: Mapping[str, Any]) -> ComponentRecord:
    parts = dict(record)
    for name in ("reads", "reads_opposite", "writes", "writes_opposite"):
        parts[name] = tuple(parts[name])
    for name in ("feature_read", "feature_write"):
        if parts[name] is not None:
            parts[name] = NamedMatch(**parts[name])
    return ComponentRecord(**parts)


def _stronger(alignments: Sequence[Alignment], method: str) -> Alignment | None:
    """The side on which more components of a method match."""
    if not alignments:
        return None
    return max(alignments, key=lambda one: one.matched.get(method) or 0.0)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
