"""The steer job: features of a stored run are steered, judged, and kept in its folder."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cofire.config import SteerConfig
from cofire.errors import InputError, StoreError
from cofire.evaluation.described import DescribedFeature, describe_features
from cofire.evaluation.judging import Judge
from cofire.evaluation.steered import Steered
from cofire.evaluation.steering_records import (
    PUBLISHED_PROMPT,
    PUBLISHED_TARGETS,
    SteeringSettings,
)
from cofire.jobs.asking import check_answering, judging_model, model_judge
from cofire.jobs.judges import offline_judge
from cofire.jobs.run_model import model_of
from cofire.jobs.steering import check_steering, judge_steered, steer_dictionary
from cofire.models import LanguageModel, SamplingSettings
from cofire.progress import SILENT, Progress
from cofire.site import Site, parse_numbers
from cofire.store import Run
from cofire.store.label_table import read_labels
from cofire.store.steering_results import (
    UnfinishedSteering,
    read_steering,
    settings_record,
    write_steering,
)

_logger = logging.getLogger(__name__)

_MISSING_SHOWN = 10


def steer(config: SteerConfig, progress: Progress = SILENT) -> Steered:
    """Steer features of a run; go on with what was begun, and add to what was done.

    Args:
        config: what to do.
        progress: shown while working.

    Returns:
        Results of the features asked for; the run's folder holds those of earlier calls too.

    Raises:
        CofireError: for input that cannot be used, or a judge that cannot answer; what was steered
            is kept.
    """
    run = Run.open(config.run)
    site = run.site_at(config.layer)
    chosen = chosen_features(config, run, site)
    settings = steering_settings(config)
    described = _described(config, run, site, chosen)
    earlier, further = _earlier(config, run, site, settings)
    before = () if earlier is None else earlier.features
    dictionary = run.dictionary(site)
    check_steering(dictionary, chosen, settings, judged=config.judge != "none")
    asked = _model_judge(config, run, progress)
    unfinished = UnfinishedSteering.of(run, site)
    key = settings_record(settings, **further)
    done = {one.feature: one for one in before} | {o.feature: o for o in unfinished.read(key)}
    model = model_of(run, config.device, progress)
    # Judged anew are all of the run's steered features, so that one judge has judged them.
    wanted = sorted({*done, *chosen})
    steered = steer_dictionary(
        model,
        dictionary,
        [described[i] for i in wanted],
        settings=settings,
        controls=config.controls,
        done=[replace(one, about=described[one.feature]) for one in done.values()],
        on_feature=lambda one: unfinished.add(one, key),
        progress=progress,
    )
    judge = asked or _offline(config, model, site, settings, run, progress)
    if judge is not None:
        steered = judge_steered(steered, judge, progress=progress)
    elif earlier is not None:
        steered = replace(steered, judge=earlier.judge)  # what was judged stays judged
    write_steering(run, site, steered, **further)
    kept = set(chosen)
    return replace(steered, features=tuple(o for o in steered.features if o.feature in kept))


def chosen_features(config: SteerConfig, run: Run, site: Site) -> list[int]:
    """Numbers of the features that the settings ask for.

    Raises:
        InputError: unless exactly one way of choosing is given, or for a feature that is not there.
    """
    ways = (config.features is not None, config.all, config.sample is not None)
    if sum(ways) != 1:
        raise InputError(
            "Choose features with --features 3,17 or --all or --sample N: one of them."
        )
    found = run.features(site)
    if config.features is not None and config.features.strip() != "all":
        return parse_numbers(config.features, "features", len(found))
    if config.sample is None:
        return list(range(len(found)))
    alive = [one.index for one in found if not one.dead]
    if config.sample > len(alive):
        raise InputError(
            f"{len(alive)} features are not dead; a sample of {config.sample} is more."
        )
    drawn = np.random.default_rng(config.seed).choice(alive, config.sample, replace=False)
    numbers: list[int] = np.sort(drawn).tolist()
    return numbers


def steering_settings(config: SteerConfig) -> SteeringSettings:
    """The library's settings for those of the command.

    Raises:
        InputError: when one is out of range.
    """
    published = config.protocol == "published"
    return SteeringSettings(
        prompts=config.prompt or (PUBLISHED_PROMPT,),
        targets=PUBLISHED_TARGETS if config.targets is None else _targets(config.targets),
        shared_strength=published,
        samples=config.samples,
        new_tokens=config.new_tokens,
        sampling=SamplingSettings(
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=None if published else config.top_p,
        ),
        seed=config.seed,
    )


def _targets(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"Cannot read KL targets {text!r}; write for example 0.1,0.5.") from error


def _described(
    config: SteerConfig, run: Run, site: Site, chosen: Sequence[int]
) -> list[DescribedFeature]:
    """What all features are said to be; says which of the chosen have no label of the kind."""
    features = run.features(site)
    if config.describe in ("offline", "tokens"):
        kind = "input" if config.describe == "offline" else "output"
        return describe_features(features, kind=kind)
    written = {
        one.feature: one.label for one in read_labels(run, site) if one.kind == config.describe
    }
    if not any(written.values()):
        raise InputError(
            f"{run.path} has no {config.describe} labels at layer {site.layer}; write them first "
            "with `cofire label`."
        )
    missing = [str(feature) for feature in chosen if not written.get(feature)]
    if missing:
        more = ", ..." if len(missing) > _MISSING_SHOWN else ""
        _logger.warning(
            "%d of %d features have no %s label, and are judged for their offline description: "
            "%s%s.",
            len(missing),
            len(chosen),
            config.describe,
            ", ".join(missing[:_MISSING_SHOWN]),
            more,
        )
    return describe_features(
        features, kind=config.describe, labels=[written.get(one.index) for one in features]
    )


def _earlier(
    config: SteerConfig, run: Run, site: Site, settings: SteeringSettings
) -> tuple[Steered | None, dict[str, Any]]:
    """Stored results made with the same settings, and what else decides results."""
    further = {"controls": config.controls}
    if config.again:
        return None, further
    found = read_steering(run, site)
    if found is None:
        return None, further
    steered, stored = found
    wanted = settings_record(settings, **further)
    begun = settings_record(steered.settings, **stored)
    for name, value in wanted.items():
        if begun.get(name) != value:
            raise StoreError(
                f"Layer {site.layer} was steered with {name} {begun.get(name)!r}, but {value!r} is "
                "asked for; give the same, or --again to replace those results."
            )
    return steered, further


def _model_judge(config: SteerConfig, run: Run, progress: Progress) -> Judge | None:
    if config.judge != "llm" and config.judge != "local":
        return None
    model = judging_model(config, config.judge, run.path, device=config.device, progress=progress)
    check_answering(model, config)
    return model_judge(model, config)


def _offline(
    config: SteerConfig,
    model: LanguageModel,
    site: Site,
    settings: SteeringSettings,
    run: Run,
    progress: Progress,
) -> Judge | None:
    if config.judge == "none":
        return None
    with progress.task("Calibrating the offline judge", None, "") as advance:
        judge = offline_judge(model, site, settings, run.corpus, seed=config.seed)
        advance(1)
    return judge


def steered_records(steered: Steered) -> list[dict[str, Any]]:
    """A line a feature, for a listing."""
    target = steered.effect_target
    effects = steered.effects(0)
    return [
        {
            "feature": one.feature,
            "label": one.about.label,
            "score": one.score,
            "sign": None if one.choice is None else one.choice.sign,
            "KL": None if one.choice is None else one.choice.target_kl,
            "best of all": one.best,
            **({"published": one.published_score} if steered.settings.shared_strength else {}),
            "shift": one.shift(target),
            "null shift": effects.least if effects.null else None,
            "KL efficiency": one.efficiency(target),
            "not judged": one.missing,
            "texts": one.n_texts,
            "unreached": one.unreached,
        }
        for one in steered.features
    ]
