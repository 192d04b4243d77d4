"""Steering features of a dictionary: strengths, continuations, judging, and nulls beside."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.fluency import mean_log_likelihoods
from cofire.evaluation.judging import Continuation, Judge
from cofire.evaluation.promotion import measure_promotion
from cofire.evaluation.steered import (
    Steered,
    SteeredCell,
    SteeredFeature,
    SteeredText,
    effect_target,
)
from cofire.evaluation.steering import Steering
from cofire.evaluation.steering_records import (
    CellKey,
    Generation,
    Promotion,
    SteeringCell,
    SteeringSettings,
    plan_cells,
)
from cofire.models import LanguageModel
from cofire.progress import SILENT, Progress
from cofire.types import AtomMatrix, Float, Tensor

CONTROLS = 2
"""Null directions a feature."""

CPU_AT_ONCE, OTHER_AT_ONCE = 4, 32
"""Features steered together; what is kept after a kill comes in such portions."""


def steer_dictionary(
    model: LanguageModel,
    dictionary: Dictionary,
    described: Sequence[DescribedFeature],
    judge: Judge | None = None,
    *,
    settings: SteeringSettings | None = None,
    controls: int = CONTROLS,
    log_likelihoods: bool = True,
    done: Iterable[SteeredFeature] = (),
    on_feature: Callable[[SteeredFeature], None] | None = None,
    progress: Progress = SILENT,
) -> Steered:
    """Steer features at matched KL, continue prompts, and let a judge score what comes.

    For every sign, KL target and prompt the strength is searched; a target that cannot be reached
    is recorded. Those that were reached are continued. The best cell is chosen on one half of the
    continuations and scored on the other (``SteeredFeature.choice``); the published best of all
    cells stands beside it. Without a judge there are the figures that need none: what becomes of
    the tokens that the feature promotes, against null directions (``Steered.effects``).

    Everything is decided by ``settings.seed`` and the feature, whatever else is steered with it.

    Args:
        model: the model the dictionary was made of.
        dictionary: of any method, at any site that can be changed.
        described: which features, and what they are said to be; see ``describe_features``.
        judge: see ``judge_steered``, which can also be called later.
        settings: prompts, targets, signs, samples, sampling, seed; the published ones by default.
        controls: null directions a feature: its values on shuffled neurons, seeded.
        log_likelihoods: whether continuations are read by the unsteered model; the offline judge
            takes fluency from that.
        done: what was steered earlier with the same settings; it is not steered again.
        on_feature: called with each feature as soon as it is steered, before it is judged.
        progress: shown while steering and judging.

    Returns:
        One record a feature, in the order of ``described``.

    Raises:
        InputError: for a feature that does not exist or is given twice, a site of another width,
            or fewer than two continuations a cell for a judge to choose and score on.
        CofireError: when the judge cannot answer at all; what was steered was given to
            ``on_feature``.
    """
    chosen = settings or SteeringSettings()
    check_steering(dictionary, [one.feature for one in described], chosen, judged=judge is not None)
    kept = {one.feature: one for one in done}
    todo = [one for one in described if one.feature not in kept]
    if todo:
        with progress.task("Steering", len(todo), "feature") as advance:
            steerer = _Steerer(model, dictionary, chosen, controls, log_likelihoods)
            size = CPU_AT_ONCE if model.device.type == "cpu" else OTHER_AT_ONCE
            for start in range(0, len(todo), size):
                for one in steerer.steer(todo[start : start + size]):
                    kept[one.feature] = one
                    if on_feature is not None:
                        on_feature(one)
                    advance(1)
    features = tuple(kept[one.feature] for one in described)
    steered = Steered(dictionary.site.name, chosen, None, features)
    return steered if judge is None else judge_steered(steered, judge, progress=progress)


def judge_steered(steered: Steered, judge: Judge, *, progress: Progress = SILENT) -> Steered:
    """Let a judge score continuations; earlier judgements are replaced.

    A judge sees label and continuation, never the prompt.

    Args:
        steered: what ``steer_dictionary`` gave.
        judge: an ``OfflineJudge`` or a ``LanguageModelJudge``.
        progress: shown while judging.

    Raises:
        CofireError: when the judge cannot answer at all.
    """
    judged = []
    with progress.task("Judging", len(steered.features), "feature") as advance:
        for one in steered.features:
            judged.append(_judged(one, judge))
            advance(1)
    return replace(steered, judge=judge.name, features=tuple(judged))


def permuted_atom(
    atom: Float[Tensor, "channels"], *, count: int, seed: int, feature: int
) -> AtomMatrix:
    """``count`` directions with the values of one atom on shuffled neurons.

    Args:
        atom: its values.
        count: how many.
        seed, feature: decide the shuffling, whatever else is shuffled.
    """
    shuffled = [
        atom[
            torch.from_numpy(np.random.default_rng((seed, feature, number)).permutation(len(atom)))
        ]
        for number in range(count)
    ]
    return torch.stack(shuffled) if shuffled else atom.new_zeros(0, len(atom))


def check_steering(
    dictionary: Dictionary, features: Sequence[int], settings: SteeringSettings, *, judged: bool
) -> None:
    """Refuse what cannot be steered before anything is computed.

    Raises:
        InputError: as ``steer_dictionary``.
    """
    wrong = [n for n in features if not 0 <= n < dictionary.n_features]
    if wrong or len(set(features)) != len(features):
        what = f"{wrong[0]} does not exist" if wrong else "one is given twice"
        raise InputError(
            f"Features to steer are from 0 to {dictionary.n_features - 1}, each once; {what}."
        )
    if judged and settings.samples < 2:
        raise InputError(
            "Judging needs at least 2 samples a cell: one half chooses the cell, the other scores "
            f"it; got {settings.samples}."
        )


class _Steerer:
    """Steers some features at a time; keeps what the unsteered model said of a text."""

    def __init__(
        self,
        model: LanguageModel,
        dictionary: Dictionary,
        settings: SteeringSettings,
        controls: int,
        log_likelihoods: bool,
    ) -> None:
        self._model = model
        self._atoms = dictionary.atoms.cpu()
        self._settings = settings
        self._controls = controls
        self._likelihoods: dict[str, float | None] | None = {} if log_likelihoods else None
        self._steering = Steering(model, dictionary.site, self._atoms, settings)

    def steer(self, described: Sequence[DescribedFeature]) -> Iterator[SteeredFeature]:
        """All cells, their continuations and the null directions of some features."""
        settings, steering = self._settings, self._steering
        keys = plan_cells([one.feature for one in described], settings)
        cells = {cell.key: cell for cell in steering.match(keys)}
        tokens = {one.feature: one.promoted for one in described if one.promoted}
        promotions = self._promotions(steering, cells.values(), tokens)
        reached = [cell for cell in cells.values() if cell.status == "found"]
        texts: dict[CellKey, list[Generation]] = {}
        for one in steering.generate(reached):
            if one.cell is not None:
                texts.setdefault(one.cell.key, []).append(one)
        self._read(one.text for found in texts.values() for one in found)
        controls = self._null(described)
        for about in described:
            own = [key for key in keys if key.feature == about.feature]
            yield SteeredFeature(
                about,
                tuple(
                    SteeredCell(
                        cells[key],
                        promotions.get(key),
                        tuple(self._text(one) for one in texts.get(key, [])),
                    )
                    for key in own
                ),
                controls.get(about.feature, ()),
            )

    def _null(self, described: Sequence[DescribedFeature]) -> dict[int, tuple[SteeredCell, ...]]:
        """Null directions by feature; the cells of each are numbered from 0."""
        with_tokens = [one for one in described if one.promoted]
        if not self._controls or not with_tokens:
            return {}
        target = effect_target(self._settings)
        settings = replace(self._settings, targets=(target,))
        directions = torch.cat(
            [
                permuted_atom(
                    self._atoms[one.feature],
                    count=self._controls,
                    seed=settings.seed,
                    feature=one.feature,
                )
                for one in with_tokens
            ]
        )
        steering = self._steering.along(directions, settings)
        cells = list(steering.match(plan_cells(range(len(directions)), settings)))
        tokens = {i: with_tokens[i // self._controls].promoted for i in range(len(directions))}
        promotions = self._promotions(steering, cells, tokens)
        found: dict[int, list[SteeredCell]] = {}
        for cell in cells:
            owner = with_tokens[cell.feature // self._controls].feature
            own = replace(cell, feature=cell.feature % self._controls)
            promotion = promotions.get(cell.key)
            found.setdefault(owner, []).append(
                SteeredCell(own, None if promotion is None else replace(promotion, cell=own))
            )
        return {feature: tuple(controls) for feature, controls in found.items()}

    def _promotions(
        self,
        steering: Steering,
        cells: Iterable[SteeringCell],
        tokens: dict[int, tuple[int, ...]],
    ) -> dict[CellKey, Promotion]:
        wanted = [cell for cell in cells if cell.feature in tokens]
        return {one.cell.key: one for one in measure_promotion(steering, wanted, tokens)}

    def _read(self, texts: Iterable[str]) -> None:
        """Likelihoods of texts; at weak steering many are the same."""
        if self._likelihoods is None:
            return
        new = [text for text in dict.fromkeys(texts) if text not in self._likelihoods]
        found = mean_log_likelihoods(self._model, new).tolist() if new else []
        self._likelihoods |= {
            text: None if value != value else value for text, value in zip(new, found, strict=True)
        }

    def _text(self, one: Generation) -> SteeredText:
        known = None if self._likelihoods is None else self._likelihoods[one.text]
        return SteeredText(one.sample, one.text, one.ended, one.seed, known)


def _judged(feature: SteeredFeature, judge: Judge) -> SteeredFeature:
    about = feature.about
    judgements = iter(
        judge.judge(
            [
                Continuation(about.label, text.text, about.words, text.log_likelihood)
                for one in feature.cells
                for text in one.texts
            ]
        )
    )
    cells = tuple(
        replace(one, texts=tuple(replace(text, judgement=next(judgements)) for text in one.texts))
        for one in feature.cells
    )
    return replace(feature, cells=cells)
