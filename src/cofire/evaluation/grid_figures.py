"""Figures of one method and setting, over all of its seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from cofire.dictionary import Dictionary
from cofire.evaluation.bootstrap import RESAMPLES, estimate_of, share_of
from cofire.evaluation.grid import GridCell
from cofire.evaluation.health import collapsed_groups
from cofire.evaluation.loss_recovered import ReplacementLosses, loss_recovered
from cofire.evaluation.measurement import Estimate
from cofire.evaluation.reconstruction import RowErrors, unexplained_variance
from cofire.evaluation.stability import stability
from cofire.evaluation.steered import SteeredFeature

Columns: TypeAlias = Mapping[str, np.ndarray]
Summary: TypeAlias = Literal["mean", "median", "share"]

SCORES = ("cosine", "codes")


@dataclass(frozen=True, eq=False)
class CellRecord:
    """What is known of one finished cell; None or empty for stages that were not done.

    Attributes:
        cell: which one.
        dictionary: its dictionary.
        features: columns of the table of features.
        concepts: columns of the table of concepts' best features.
        rows: columns of the table of held-out rows.
        losses: columns of the table of losses.
        written: columns of the table of features tested on sentences written for their labels.
        halves: columns of the table of features found in one half of the texts and the other.
        steered: the steered features.
        published: whether they were steered by the published protocol.
        effect_target: the KL target at which effects are compared, in nats.
        unsteered: score of the unsteered model's continuations for each steered feature's label.
        seconds: time of the fit.
    """

    cell: GridCell
    dictionary: Dictionary
    features: Columns | None = None
    concepts: Columns | None = None
    rows: Columns | None = None
    losses: Columns | None = None
    written: Columns | None = None
    halves: Columns | None = None
    steered: tuple[SteeredFeature, ...] = ()
    published: bool = False
    effect_target: float = 0.0
    unsteered: tuple[float | None, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class GridFigure:
    """One figure of a group of cells.

    Attributes:
        measure: a name of ``GRID_MEASURES``.
        score: ``cosine`` or ``codes`` where detection was by one of them.
        over: what its interval draws.
        estimate: the figure.
    """

    measure: str
    score: str | None
    over: str
    estimate: Estimate


def group_figures(
    records: Sequence[CellRecord], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[GridFigure]:
    """All figures of the cells of one method and setting, their seeds taken together.

    Features of all seeds are pooled, and drawn together when they are tested for one concept; rows
    and losses are pooled and drawn by text, concepts averaged over seeds first.

    Args:
        records: the cells, one a seed.
        resamples, seed: of the intervals.
    """
    draws: dict[str, Any] = {"resamples": resamples, "seed": seed}
    found = list(_reconstruction(records, draws)) + list(_replacement(records, draws))
    found += _features(records, draws)
    found += _written(records, draws)
    found += _concepts(records, draws)
    found += _stability(records, draws)
    found += _halves(records, draws)
    found += _steering(records, draws)
    times = [record.seconds for record in records if record.seconds is not None]
    if times:
        found.append(
            GridFigure("fit-seconds", None, "", Estimate(float(np.mean(times)), len(times)))
        )
    return found


def feature_values(records: Sequence[CellRecord], column: str) -> tuple[np.ndarray, np.ndarray]:
    """One column of the features of all seeds, and a number a feature for the concept it is for."""
    values = [r.features[column] for r in records if r.features and column in r.features]
    names = [r.features["concept"] for r in records if r.features and column in r.features]
    if not values:
        return np.zeros(0), np.zeros(0, dtype=int)
    joined = np.concatenate(names)
    numbers: dict[Any, int] = {}
    groups = [numbers.setdefault(name, len(numbers)) for name in joined.tolist()]
    return np.concatenate(values).astype(float), np.array(groups)


def concept_values(records: Sequence[CellRecord], score: str, column: str) -> dict[str, float]:
    """One column of the concepts' best features: mean over the seeds that have it, by concept."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.concepts is None:
            continue
        chosen = record.concepts["score"] == score
        names = record.concepts["concept"][chosen].tolist()
        values = record.concepts[column][chosen].astype(float).tolist()
        for name, value in zip(names, values, strict=True):
            found.setdefault(name, []).append(value)
    return {name: _known_mean(values) for name, values in found.items()}


def written_values(records: Sequence[CellRecord], column: str) -> tuple[np.ndarray, np.ndarray]:
    """One column of the features tested on written sentences, and a number a feature for its label.

    Features of one label are tested on the same sentences.
    """
    tables = [r.written for r in records if r.written is not None and column in r.written]
    if not tables:
        return np.zeros(0), np.zeros(0, dtype=int)
    labels = np.concatenate([table["label"] for table in tables]).tolist()
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    values = np.concatenate([table[column] for table in tables]).astype(float)
    return values, np.array([numbers[label] for label in labels])


def steered_values(records: Sequence[CellRecord], figure: str) -> np.ndarray:
    """One figure of every steered feature of all seeds; NaN where missing."""
    return np.array(
        [
            np.nan if value is None else value
            for record in records
            for value in _steered_figure(record, figure)
        ],
        dtype=float,
    )


def _steered_figure(record: CellRecord, figure: str) -> list[float | None]:
    steered, target = record.steered, record.effect_target
    if figure == "steering-score":
        return [one.score for one in steered]
    if figure == "steering-best":
        return [one.best for one in steered]
    if figure == PUBLISHED:
        return [one.published_score if record.published else None for one in steered]
    if figure == "steering-shift":
        return [one.shift(target) for one in steered]
    if figure == "steering-efficiency":
        return [one.efficiency(target) for one in steered]
    if figure == "steering-unjudged":
        return [_unjudged(one) for one in steered]
    if figure == "steering-unreached":
        return [one.unreached / len(one.cells) for one in steered]
    floors = record.unsteered or (None,) * len(steered)
    return [
        None if one.score is None or floor is None else one.score - floor
        for one, floor in zip(steered, floors, strict=True)
    ]


def _unjudged(feature: SteeredFeature) -> float | None:
    """Share of its continuations without a score; None when none was given to a judge."""
    judged = [
        text.judgement for one in feature.cells for text in one.texts if text.judgement is not None
    ]
    return sum(one.missing for one in judged) / len(judged) if judged else None


_OF_FEATURES: tuple[tuple[str, str, Summary], ...] = (
    ("concept-detection", "order", "median"),
    ("detected-share", "order", "share"),
    ("detection-auroc", "auroc", "mean"),
    ("detection-precision", "precision", "mean"),
)
_OF_WRITTEN: tuple[tuple[str, str, Summary], ...] = (
    ("written-detection", "order", "median"),
    ("written-share", "order", "share"),
    ("written-auroc", "auroc", "mean"),
)
_OF_CONCEPTS: tuple[tuple[str, str, Summary], ...] = (
    ("concept-auroc", "auroc", "mean"),
    ("concept-precision", "precision", "mean"),
    ("concept-order", "order", "median"),
)

PUBLISHED = "steering-published"

STEERING_FIGURES = (
    "steering-score",
    "steering-best",
    "steering-gain",
    "steering-shift",
    "steering-efficiency",
    "steering-unreached",
    "steering-unjudged",
)


def _reconstruction(
    records: Sequence[CellRecord], draws: Mapping[str, Any]
) -> Iterator[GridFigure]:
    rows = [record.rows for record in records if record.rows is not None]
    if not rows:
        return
    names = ("text_id", "unexplained", "variance", "active", "equal_unexplained", "equal_active")
    pooled = {name: np.concatenate([one[name] for one in rows]) for name in names}
    texts = pooled["text_id"]
    for kind, suffix in (("", ""), ("equal_", "-equal")):
        unexplained = pooled[f"{kind}unexplained"].astype(float)
        active = pooled[f"{kind}active"].astype(float)
        if np.isnan(unexplained).all():
            missing = Estimate(None, 0, len(texts), note="Its codes are dense by nature.")
            yield GridFigure("unexplained-variance" + suffix, None, "texts", missing)
            continue
        errors = RowErrors(unexplained, pooled["variance"], active, texts)
        yield GridFigure(
            "unexplained-variance" + suffix, None, "texts", unexplained_variance(errors, **draws)
        )
        yield GridFigure(
            "active-features" + suffix, None, "texts", estimate_of(active, groups=texts, **draws)
        )


def _replacement(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    losses = [record.losses for record in records if record.losses is not None]
    if not losses:
        return
    pooled = {name: np.concatenate([one[name] for one in losses]) for name in losses[0]}
    for name, measure in (("cross_entropy", "loss"), ("divergence", "divergence")):
        for column, suffix in (("reconstructed", ""), ("equal", "-equal")):
            rebuilt = pooled[f"{name}_{column}"].astype(float)
            found = ReplacementLosses(
                pooled[f"{name}_clean"],
                rebuilt,
                pooled[f"{name}_mean_ablated"],
                pooled[f"{name}_zero_ablated"],
                pooled["text_id"],
            )
            for against in ("mean", "zero") if not suffix else ("mean",):
                yield GridFigure(
                    f"{measure}-recovered-{against}{suffix}",
                    None,
                    "texts",
                    loss_recovered(found, against=against, **draws),
                )


def _features(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    known = [record.features for record in records if record.features is not None]
    if known:
        dead = np.concatenate([one["dead"] for one in known]).astype(float)
        twins = np.concatenate([one["duplicate"] for one in known]).astype(float)
        kin = [collapsed_groups(one["nearest"], one["duplicate"]) for one in known]
        starts = np.cumsum([0, *(len(one) for one in kin[:-1])])
        groups = np.concatenate([one + start for one, start in zip(kin, starts, strict=True)])
        yield GridFigure("dead-share", None, "features", share_of(dead, **draws))
        twin_share = share_of(twins, groups=groups, **draws)
        yield GridFigure("duplicate-share", None, "features", twin_share)
    for score in SCORES:
        for measure, column, summary in _OF_FEATURES:
            values, groups = feature_values(records, f"{score}_{column}")
            if len(values):
                yield GridFigure(
                    measure, score, "features", _estimate(values, summary, groups, draws)
                )


def _written(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    for score in SCORES:
        for measure, column, summary in _OF_WRITTEN:
            values, groups = written_values(records, f"{score}_{column}")
            if len(values):
                yield GridFigure(
                    measure, score, "features", _estimate(values, summary, groups, draws)
                )


def _concepts(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    for score in SCORES:
        for measure, column, summary in _OF_CONCEPTS:
            values = np.array(list(concept_values(records, score, column).values()), dtype=float)
            if len(values):
                yield GridFigure(
                    measure, score, "concepts", _estimate(values, summary, None, draws)
                )


def _stability(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    if len(records) < 2:
        return
    found = stability([record.dictionary for record in records], **draws)
    null = Estimate(float(np.mean(found.null_draws)), len(found.null_draws), seed=draws["seed"])
    yield GridFigure("stability", None, "features", found.overall)
    yield GridFigure("stability-null", None, "draws", null)
    yield GridFigure("stability-excess", None, "features", found.excess)


def _halves(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    tables = [record.halves for record in records if record.halves is not None]
    if not tables:
        return
    agreement = np.concatenate([table["agreement"] for table in tables]).astype(float)
    null = np.concatenate([table["null"] for table in tables]).astype(float)
    yield GridFigure("stability-halves", None, "features", estimate_of(agreement, **draws))
    excess = estimate_of(agreement - null, **draws)
    yield GridFigure("stability-halves-excess", None, "features", excess)


def _steering(records: Sequence[CellRecord], draws: Mapping[str, Any]) -> Iterator[GridFigure]:
    labels = [one.about.label for record in records for one in record.steered]
    if not labels:
        return
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    groups = np.array([numbers[label] for label in labels])
    published = any(record.published for record in records)
    for figure in (*STEERING_FIGURES, *([PUBLISHED] if published else [])):
        values = steered_values(records, figure)
        yield GridFigure(figure, None, "features", _estimate(values, "mean", groups, draws))


def _estimate(
    values: np.ndarray, summary: Summary, groups: np.ndarray | None, draws: Mapping[str, Any]
) -> Estimate:
    if summary == "share":
        flags = np.where(np.isnan(values), np.nan, values > 0)
        return share_of(flags, groups=groups, **draws)
    return estimate_of(values, summary, groups=groups, **draws)


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    with np.errstate(invalid="ignore"):
        return float(np.mean(known)) if known else float("nan")
