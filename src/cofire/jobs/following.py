"""The flow job: features followed from layer to layer, or several layers factorised at once."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from cofire.activations import Activations
from cofire.config import FitConfig, FlowConfig
from cofire.errors import CofireError, InputError
from cofire.interpret.concepts import concept_profile
from cofire.interpret.contexts import firing_types
from cofire.interpret.labels import offline_label
from cofire.jobs.run_model import model_of, run_config
from cofire.jobs.sources import FreshRows, RowSource, StoredRows
from cofire.models import LanguageModel
from cofire.models.weights import mlp_weights
from cofire.progress import SILENT, Progress
from cofire.site import Site, parse_layers
from cofire.store import Run
from cofire.store.slug import slug
from cofire.store.structure_file import StructureFile
from cofire.structure.flow import follow_features
from cofire.structure.layer_links import LinkSettings, WeightLinks, reach_through_stream
from cofire.structure.members import concept_members
from cofire.structure.stacking import StackedDictionary, fit_stacked


def flow(config: FlowConfig, progress: Progress = SILENT) -> StructureFile:
    """Follow the features of a run from layer to layer, or stack layers; go on with work begun.

    Args:
        config: what to do.
        progress: shown while working.

    Returns:
        The result. Parts: ``flow``, ``features`` (label, concept and family of every feature) and,
        with a concept, ``chosen``; or ``stacked`` and ``shuffled``.

    Raises:
        CofireError: for input that cannot be used.
        KeyboardInterrupt: when the user stopped it; finished parts are kept.
    """
    run = Run.open(config.run)
    if config.stack is not None:
        return _stack(run, config, progress)
    sites = _sites(run, config.layers)
    settings = LinkSettings(correlation=config.correlation, seed=config.seed)
    file = StructureFile.begin(
        run,
        "flow",
        _name_of([site.layer for site in sites]),
        sites=sites,
        settings={
            **config.model_dump(mode="json", include={"correlation", "weights", "seed"}),
            "layers": [site.layer for site in sites],
        },
    )
    chosen = None
    if config.concept is not None:
        chosen = {
            str(site.layer): [
                {"feature": member.feature, "name": member.name}
                for member in concept_members(
                    run.codes(site), run.tokens(site).text_id, run.corpus, config.concept
                )
            ]
            for site in sites
        }
        if not any(chosen.values()):
            raise InputError(
                f"No feature of these layers is named after {config.concept!r} or a detail of it; "
                "leave --concept out to see all."
            )
    file.part("features", lambda: _features(run, sites))

    def follow() -> dict[str, Any]:
        weights = None
        if config.weights and all(site.kind == "mlp" for site in sites):
            model = model_of(run, config.device, progress)
            weights = _paths(run, model, sites, progress)
        heldout = np.array([text.split == "heldout" for text in run.corpus], dtype=bool)
        return follow_features(
            {site.layer: run.codes(site) for site in sites},
            {site.layer: run.tokens(site) for site in sites},
            heldout,
            settings,
            weights=weights,
            progress=progress,
        ).record()

    file.part("flow", follow)
    file.record["parts"].pop("chosen", None)
    if chosen is not None:
        file.part("chosen", lambda: {"concept": config.concept, "features": chosen})
    return file


def _sites(run: Run, layers: str | None) -> list[Site]:
    sites = run.sites
    if layers is not None and layers.strip() != "all":
        wanted = parse_layers(layers)
        absent = [layer for layer in wanted if layer not in [site.layer for site in sites]]
        if absent:
            held = ", ".join(str(site.layer) for site in sites) or "none"
            raise InputError(f"This run has no finished layer {absent[0]}; it has {held}.")
        sites = [site for site in sites if site.layer in wanted]
    if len({site.kind for site in sites}) > 1:
        raise InputError("Features are followed at one kind of site; this run has several.")
    if len(sites) < 2:
        raise InputError(
            "Following features needs at least two finished layers; fit more, such as "
            "`cofire fit --layers 9-12`."
        )
    return sites


def _name_of(layers: list[int]) -> str:
    first, last = layers[0], layers[-1]
    if len(layers) > 5 and len(layers) == last - first + 1:
        return f"L{first}-to-{last}"
    return slug(f"L{'-'.join(map(str, layers))}")


def _features(run: Run, sites: list[Site]) -> dict[str, Any]:
    family = run.corpus.families
    found: dict[str, Any] = {}
    for site in sites:
        records = []
        for feature in run.features(site):
            concept = feature.named_after
            records.append(
                {
                    "label": feature.label,
                    "concept": concept,
                    "family": None if concept is None else family.get(concept),
                    "density": feature.density,
                }
            )
        found[str(site.layer)] = records
    return found


def _paths(
    run: Run, model: LanguageModel, sites: list[Site], progress: Progress
) -> dict[tuple[int, int], WeightLinks]:
    """What the lower layer's features write beside what the higher layer's neurons read."""
    found = {}
    pairs = list(pairwise(sites))
    with progress.task("Reading weights", len(pairs), "step") as advance:
        for lower, higher in pairs:
            matrices = mlp_weights(model, higher.layer)
            readings = [matrices.W_in]
            if matrices.W_gate is not None:
                readings.append(matrices.W_gate)
            written = model.output_direction(run.dictionary(lower).atoms, lower.layer)
            found[lower.layer, higher.layer] = reach_through_stream(
                written, run.dictionary(higher).atoms, readings
            )
            advance(1)
    return found


def _stack(run: Run, config: FlowConfig, progress: Progress) -> StructureFile:
    """Factorise several layers at once, beside the control of shuffled texts."""
    fitted = run_config(run)
    k = fitted.n_components if config.n_components is None else config.n_components
    sparsity = fitted.sparsity if config.sparsity is None else config.sparsity
    layers = parse_layers(str(config.stack))
    if len(layers) < 2:
        raise InputError(f"--stack takes at least two layers, such as 0-5; got {config.stack!r}.")
    sites = [Site(layer, fitted.site) for layer in layers]
    file = StructureFile.begin(
        run,
        "stack",
        _name_of(layers),
        sites=[],
        settings={
            "run": run.manifest["created"],  # rows are captured again: no part of it says which
            "layers": layers,
            "k": k,
            "sparsity": sparsity,
            "seed": config.seed,
        },
    )
    if {"stacked", "shuffled"} <= set(file.record["parts"]):
        return file
    source = _source(fitted, config, progress)
    absent = [site.layer for site in sites if site not in source.sites]
    if absent:
        raise InputError(f"There are no rows of layer {absent[0]} to stack.")
    rows = list(source.rows(sites))
    for name, shuffled in (("stacked", False), ("shuffled", True)):

        def fit(shuffled: bool = shuffled) -> dict[str, Any]:
            what = (
                "Factorising layers of shuffled texts" if shuffled else "Factorising layers at once"
            )
            with progress.task(what, None, "sweep") as advance:
                found = fit_stacked(
                    rows,
                    n_components=k,
                    sparsity=sparsity,
                    seed=config.seed,
                    shuffled=shuffled,
                    device=config.device,
                    callback=lambda record: advance(1, loss=f"{record.relative_loss:.4f}"),
                )
            if not shuffled:
                _keep_atoms(run, file, found)
            return _stacked_record(found, None if shuffled else rows)

        file.part(name, fit)
    return file


def _source(fitted: FitConfig, config: FlowConfig, progress: Progress) -> RowSource:
    asked = fitted.model_copy(update={"layers": config.stack, "device": config.device})
    if fitted.activations is not None and fitted.activations.exists():
        return StoredRows(fitted.activations, asked, progress, with_model=False)
    if fitted.activations is not None:
        raise CofireError(
            f"The folder of activations {fitted.activations} is gone; make it again with `cofire "
            "capture`, or fit from the model directly."
        )
    return FreshRows(asked, progress)


def _keep_atoms(run: Run, file: StructureFile, found: StackedDictionary) -> None:
    """The atoms of every layer, in its own units, beside the JSON file."""
    from safetensors.torch import save_file

    from cofire.store.archive import write_atomically

    parts = {site.name: found.part(site).atoms for site in found.sites}
    write_atomically(file.path.with_suffix(".safetensors"), lambda path: save_file(parts, path))


def _stacked_record(found: StackedDictionary, rows: list[Activations] | None) -> dict[str, Any]:
    """Where the features lie and, with rows, what they are about."""
    shares, spans = found.shares(), found.spans()
    record: dict[str, Any] = {
        "sites": [site.name for site in found.sites],
        "layers": [site.layer for site in found.sites],
        "scales": list(found.scales),
        "spans": [None if np.isnan(span) else float(span) for span in spans],
    }
    features: list[dict[str, Any]] = [
        {"shares": [None if np.isnan(s) else float(s) for s in row]} for row in shares
    ]
    if rows is not None:
        codes = found.encode(rows)
        tokens, corpus = rows[0].tokens, rows[0].corpus
        best = concept_profile(codes, tokens.text_id, corpus).best
        train = np.array([text.split == "train" for text in corpus])[tokens.text_id]
        types = firing_types(codes[torch.from_numpy(train)], tokens.take(train))
        for i, (match, fired) in enumerate(zip(best, types, strict=True)):
            named = match is not None and match.names_feature
            features[i] |= {
                "label": offline_label(match, fired),
                "concept": match.concept if match is not None and named else None,
            }
    return {**record, "features": features}
