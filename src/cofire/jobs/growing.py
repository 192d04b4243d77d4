"""The tree job: a run's features in, a tree over them out, kept in the run's folder."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from cofire.config import TreeConfig
from cofire.errors import ConvergenceWarning, InputError
from cofire.jobs.run_rows import stored_rows
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.store import Run
from cofire.store.tree_parts import StoredTree, load_tree, save_tree
from cofire.structure.nestings import Nesting, load_nesting, nesting_of
from cofire.structure.tree import ParentRule, build_tree
from cofire.structure.tree_comparison import score_trees
from cofire.structure.tree_fit import checked_sizes, grow
from cofire.structure.tree_labels import NodeReading, label_tree, read_level, training_rows
from cofire.structure.tree_levels import Hierarchy, TreeSettings

_logger = logging.getLogger(__name__)


def tree(config: TreeConfig, progress: Progress = SILENT) -> StoredTree:
    """The tree of a run's features: the one that is kept there, or a new one.

    Args:
        config: what to do.
        progress: shown while working.

    Raises:
        CofireError: for input that cannot be used.
    """
    rule_of(config)
    run = Run.open(config.run)
    site = run.site_at(config.layer)
    asked = tree_settings(config)
    dictionary = run.dictionary(site)
    checked_sizes(dictionary, asked)
    name = tree_name(asked)
    settings = _kept_settings(config, asked)
    known = load_tree(run, site, name)
    if known is not None and dict(known.settings) == settings:
        return known
    if known is not None:
        _logger.info("The tree %s at %s was made with other settings; making it anew.", name, site)
    corpus, tokens, codes = run.corpus, run.tokens(site), run.codes(site)
    nesting = nesting_of(corpus, None if config.nesting is None else load_nesting(config.nesting))
    training = training_rows(tokens, corpus)
    rows = None if config.activations is None else stored_rows(config.activations, run, site)
    with (
        progress.task(f"Growing {name} at {site.name}", 1, "tree") as advance,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", ConvergenceWarning)
        found = grow(dictionary, codes, training, asked, rows)
        advance(1)
    for warning in caught:
        _logger.warning("%s: %s", site.name, warning.message)
    readings = _read(run, site, found, nesting, config, progress)
    matrices = [weights.double().numpy() for weights in found.weights]
    labelled = label_tree(build_tree(matrices), readings)
    scores = score_trees(
        labelled,
        found.atoms[0],
        found.codes[torch.from_numpy(training)],
        nesting,
        seed=config.seed,
    )
    save_tree(run, site, name, found, settings=settings, readings=readings, scores=scores)
    stored = load_tree(run, site, name)
    if stored is None:
        raise InputError(f"The tree {name} cannot be read back from {run.path}.")
    return stored


def directions(config: TreeConfig, progress: Progress = SILENT) -> list[StoredTree]:
    """The trees of every direction that the input allows, on the same features or rows.

    Args:
        config: what to do; its direction is left aside. ``split`` needs the activations.
        progress: shown while working.

    Raises:
        CofireError: as ``tree``.
    """
    names = ["merge", "cluster"] if config.activations is None else ["merge", "split", "cluster"]
    return [tree(config.model_copy(update={"direction": name}), progress) for name in names]


def rule_of(config: TreeConfig) -> ParentRule:
    """Which parents count.

    Raises:
        InputError: for shares that are none.
    """
    return ParentRule(secondary=config.secondary, least=config.least)


def tree_settings(config: TreeConfig) -> TreeSettings:
    """What a config asks of the levels.

    Raises:
        InputError: for levels that cannot be read.
    """
    try:
        sizes = tuple(int(part) for part in config.levels.split(","))
    except ValueError:
        raise InputError(
            f"--levels takes whole numbers such as 50,25; got {config.levels!r}."
        ) from None
    return TreeSettings(
        sizes=sizes,
        direction=config.direction,
        tune=config.tune,
        sparsity=config.sparsity,
        code_penalty=config.code_penalty,
        seed=config.seed,
        device=config.device,
    )


def tree_name(settings: TreeSettings) -> str:
    """What a tree is called in a run's folder."""
    tuned = [] if settings.tune == "above" else [f"tune-{settings.tune}"]
    return "-".join([settings.direction, *map(str, settings.sizes), *tuned])


def _kept_settings(config: TreeConfig, settings: TreeSettings) -> dict[str, Any]:
    """What decides a tree, as plain JSON values."""
    decisive = {name: value for name, value in asdict(settings).items() if name != "device"}
    return {
        **decisive,
        "sizes": list(settings.sizes),
        "activations": config.activations is not None,
        "nesting": None if config.nesting is None else str(config.nesting.resolve()),
        "contexts": config.contexts,
    }


def _read(
    run: Run,
    site: Site,
    found: Hierarchy,
    nesting: Nesting,
    config: TreeConfig,
    progress: Progress,
) -> Sequence[Sequence[NodeReading]]:
    readings = []
    with progress.task("Reading the nodes", len(found.atoms), "level") as advance:
        for level in range(len(found.atoms)):
            readings.append(
                read_level(
                    found.level_codes(level),
                    run.tokens(site),
                    run.corpus,
                    nesting,
                    n_contexts=config.contexts,
                )
            )
            advance(1)
    if not found.first_changed:
        # The run's features keep the labels they have everywhere else.
        features = run.features(site)
        readings[0] = [
            replace(reading, label=feature.label)
            for reading, feature in zip(readings[0], features, strict=True)
        ]
    return readings
