"""The core and reuse jobs: a run in, results about shared neurons in its folder out."""

from dataclasses import asdict
from typing import Any

from cofire.config import CoreConfig, ReuseConfig
from cofire.errors import InputError
from cofire.interpret.reading import FeatureSet
from cofire.jobs.core_causal import causal_parts
from cofire.progress import SILENT, Progress
from cofire.site import Site, parse_numbers
from cofire.store import Run
from cofire.store.slug import slug
from cofire.store.structure_file import StructureFile
from cofire.structure.members import Member, best_of_each, concept_members
from cofire.structure.reuse import measure_reuse
from cofire.structure.sharing import measure_sharing
from cofire.structure.support import signed_support


def core(config: CoreConfig, progress: Progress = SILENT) -> StructureFile:
    """Core and exclusive neurons of some features, and what they do; go on with work begun.

    Args:
        config: what to do.
        progress: shown while working.

    Returns:
        The result with the parts ``members``, ``sharing`` and, where asked for, ``amplified`` and
        ``ablated``.

    Raises:
        CofireError: for input that cannot be used.
        KeyboardInterrupt: when the user stopped it; finished parts are kept.
    """
    if (config.features is None) == (config.concept is None):
        raise InputError("Name the features with --features 3,17,41, or a concept with --concept.")
    if not config.kl > 0:
        raise InputError(f"--kl is a divergence above 0 nats; got {config.kl}.")
    run = Run.open(config.run)
    site = run.site_at(config.layer)
    members, left_out = chosen_members(run, site, config.features, config.concept)
    of = config.concept or "-".join(str(member["feature"]) for member in members)
    file = StructureFile.begin(
        run,
        "core",
        f"L{site.layer}-{slug(of)}",
        sites=[site],
        settings={
            **config.model_dump(
                mode="json",
                include={"features", "concept", "share", "keep", "draws", "seed"},
            ),
            "site": site.name,
        },
    )
    file.part("members", lambda: members)
    file.part("left_out", lambda: left_out)
    dictionary = run.dictionary(site)
    features = [int(member["feature"]) for member in members]
    file.part(
        "sharing",
        lambda: measure_sharing(
            dictionary,
            features,
            share=config.share,
            keep=config.keep,
            draws=config.draws,
            seed=config.seed,
            progress=progress,
        ).record(),
    )
    if config.causal:
        causal_parts(file, run, site, members, config, progress)
    return file


def chosen_members(
    run: Run, site: Site, features: str | None, concept: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The features a config asks for, and those that stand for the concept but are left out.

    Of a concept's features those named after details are taken where there are at least two
    details with a feature, of each detail the one that selects it best; else those named after the
    concept itself.

    Raises:
        InputError: when fewer than two are found, or one does not exist.
    """
    found = run.features(site)
    if features is not None:
        parts = features.split(",")  # each by itself: in the order asked for, and no number lost
        numbers = [n for part in parts for n in parse_numbers(part, "features", len(found))]
        if len(numbers) < 2 or len(set(numbers)) < len(numbers):
            raise InputError(f"--features takes at least two different features; got {features!r}.")
        return [_record(found, number, None) for number in numbers], []
    named = concept_members(run.codes(site), run.tokens(site).text_id, run.corpus, str(concept))
    order = list(dict.fromkeys(text.detail for text in run.corpus if text.label == concept))
    details = best_of_each([member for member in named if member.detail])
    details.sort(key=lambda member: order.index(member.name))
    chosen = details if len(details) > 1 else [member for member in named if not member.detail]
    if len(chosen) < 2:
        raise InputError(
            f"{_count(len(named))} of layer {site.layer} named after {concept!r} or a detail of "
            "it; sharing is a question of at least two. Try another layer, more features (-k), or "
            "name features with --features."
        )
    taken = {member.feature for member in chosen}
    rest = [member for member in named if member.feature not in taken]
    return (
        [_record(found, member.feature, member) for member in chosen],
        [_record(found, member.feature, member) for member in rest],
    )


def reuse(config: ReuseConfig, progress: Progress = SILENT) -> StructureFile:
    """Reuse of neurons and families of features at one layer or all; go on with work begun.

    Returns:
        The result with one part a layer.

    Raises:
        CofireError: for input that cannot be used.
        KeyboardInterrupt: when the user stopped it; finished layers are kept.
    """
    run = Run.open(config.run)
    sites = run.sites if config.layer is None else [run.site_at(config.layer)]
    if not sites:
        run.site_at()  # says that no layer is finished
    file = StructureFile.begin(
        run,
        "reuse",
        "all" if config.layer is None else f"L{config.layer}",
        sites=sites,
        settings=config.model_dump(mode="json", include={"keep", "draws", "seed"}),
    )
    for site in sites:

        def measure(site: Site = site) -> dict[str, Any]:
            return _reuse_of(run, site, config, progress)

        file.part(site.name, measure)
    return file


def _reuse_of(run: Run, site: Site, config: ReuseConfig, progress: Progress) -> dict[str, Any]:
    features = run.features(site)
    concepts = [feature.named_after for feature in features]
    found = measure_reuse(
        signed_support(run.dictionary(site).atoms, keep=config.keep),
        concepts=concepts,
        families=[None if name is None else run.corpus.families.get(name) for name in concepts],
        draws=config.draws,
        seed=config.seed,
        progress=progress,
    )
    return {
        "layer": site.layer,
        **found.record(),
        "labels": [feature.label for feature in features],
        "concepts": concepts,
    }


def _record(found: FeatureSet, feature: int, member: Member | None) -> dict[str, Any]:
    label = found[feature].label
    if member is None:
        name = f"feature {feature}"
    else:
        name = member.name if member.detail else f"{member.name}, feature {feature}"
    return {
        "feature": feature,
        "name": name,
        "detail": member is not None and member.detail,
        "label": label,
        "match": None if member is None else asdict(member.match),
    }


def _count(n: int) -> str:
    return {0: "No feature", 1: "Only one feature"}.get(n, f"Only {n} features")
