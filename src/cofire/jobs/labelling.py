"""The label job: a language model names the features of a run."""

from typing import Literal

from cofire.config import LabelConfig
from cofire.interpret.llm_labels import FeatureLabel, LabelKind, label_features
from cofire.jobs.asking import chat_model
from cofire.progress import SILENT, Progress
from cofire.site import Site, parse_numbers
from cofire.store import Run
from cofire.store.label_table import read_labels, write_labels

AT_ONCE = 16
"""Features asked about before their labels are stored; answers are kept one by one."""


def label(config: LabelConfig, progress: Progress = SILENT) -> dict[Site, list[FeatureLabel]]:
    """Label features of a run; the offline labels stay as they are.

    Args:
        config: what to do.
        progress: shown while asking.

    Returns:
        For each site all labels that the run now has.

    Raises:
        CofireError: when the model cannot answer at all; labels written before are kept, and
            nothing is asked twice.
    """
    run = Run.open(config.run)
    layers = [config.layer] if config.layer is not None or not run.sites else None
    sites = run.sites if layers is None else [run.site_at(one) for one in layers]
    chosen = {site: _chosen(run, site, config.features) for site in sites}
    model = chat_model(config, run.path, device=config.device, progress=progress)
    kinds: tuple[LabelKind, ...] = _kinds(config.kind)
    for site in sites:
        features = run.features(site)
        with progress.task(f"Labelling {site.name}", len(chosen[site]), "feature") as advance:
            missing = 0
            for start in range(0, len(chosen[site]), AT_ONCE):
                some = [features[i] for i in chosen[site][start : start + AT_ONCE]]
                found = [
                    one
                    for kind in kinds
                    for one in label_features(some, model, kind=kind, prompts=config.llm_prompts)
                ]
                write_labels(run, site, found, model=model.name)
                missing += sum(one.missing for one in found)
                advance(len(some), missing=missing)
    return {site: read_labels(run, site) for site in sites}


def _kinds(kind: Literal["both", "input", "output"]) -> tuple[LabelKind, ...]:
    return ("input", "output") if kind == "both" else (kind,)


def _chosen(run: Run, site: Site, features: str | None) -> list[int]:
    found = run.features(site)
    if features is not None and features.strip() != "all":
        return parse_numbers(features, "features", len(found))
    return [one.index for one in found if not one.dead or features is not None]
