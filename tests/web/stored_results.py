"""Results of other commands for the pages that show them, made by what those commands call."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from cofire import jobs
from cofire.config import (
    CompareConfig,
    CoreConfig,
    FlowConfig,
    ReuseConfig,
    TreeConfig,
    WeightsConfig,
)
from cofire.evaluation.described import DescribedFeature
from cofire.evaluation.judging import Judgement
from cofire.evaluation.promotion import Promotion
from cofire.evaluation.steered import Steered, SteeredCell, SteeredFeature, SteeredText
from cofire.evaluation.steering_records import SteeringCell, SteeringSettings
from cofire.store import CompareFolder, Run
from cofire.store.steering_results import write_steering
from cofire.store.weights_folder import WeightsFolder

STEERED = 1
"""The feature of the first layer that was steered."""

TREE = "merge-4-2"
"""The tree of the first layer."""


def add_results(run: Run) -> None:
    """Put a tree, overlaps, reuse, a flow and steering into a run of layers 0 and 2."""
    place = {"run": run.path, "device": "cpu"}
    jobs.tree(TreeConfig(**place, layer=0, levels="4,2"))
    jobs.core(CoreConfig(**place, layer=0, features="1,3,6", draws=20, causal=True, kl=0.02))
    jobs.core(CoreConfig(**place, layer=2, features="0,2", draws=20))
    jobs.reuse(ReuseConfig(run=run.path, draws=20))
    jobs.flow(FlowConfig(**place, correlation=0.2))
    _steer(Run.open(run.path))


def make_lone_results(model: Path, folder: Path) -> list[Path]:
    """Folders of results of their own: weights of heads and a comparison, done and half done."""
    weights = WeightsConfig(
        model=str(model), n_components=3, seeds=4, draws=3, output=folder / "weights"
    )
    comparison = CompareConfig(
        model=str(model),
        methods="snmf:max_iter=8,pca,random",
        layers="0,2",
        k="6",
        sparsity="0.1",
        limit=300,
        loss_texts=8,
        device="cpu",
        output=folder / "compared",
    )
    done = [jobs.weights(weights).path, jobs.compare(comparison).path]
    return [*done, _half_weights(done[0]), _half_comparison(done[1])]


def _half_weights(done: Path) -> Path:
    """What is on disk when half of the matrices are done: no tables yet, nothing on texts."""
    half = Path(shutil.copytree(done, done.with_name("weights-half")))
    manifest = json.loads((half / "manifest.json").read_text())
    heads = [part for part in manifest["parts"] if part.startswith("heads/")]
    for part in [p for p in manifest["parts"] if p not in heads[: len(heads) // 2]]:
        del manifest["parts"][part]
        (half / part).unlink()
    (half / "manifest.json").write_text(json.dumps(manifest))
    folder = WeightsFolder.open(half)
    for head in folder.heads():  # as in folders of before heads were watched on texts
        folder.add_to_head(replace(head, on_texts=None))
    return half


def _half_comparison(done: Path) -> Path:
    """What is on disk when the first cell is fitted, and the next one failed."""
    half = Path(shutil.copytree(done, done.with_name("compared-half")))
    for file in [*half.glob("results.*"), *half.glob("comparisons.*")]:
        file.unlink()
    folder = CompareFolder.open(half)
    _, second, *others = folder.cells
    for cell in [second, *others]:
        shutil.rmtree(folder.cell(cell).path)
    folder.cell(second).note_failure("The rows hold nothing to factorise.")
    return half


def _steer(run: Run) -> None:
    def cell(sign: int, kl: float, scores: list[float | None]) -> SteeredCell:
        found = SteeringCell(STEERED, sign, kl, 0, 2.0, kl, "found")
        texts = [
            SteeredText(i, f" is <b>Monday</b> {i}", False, i, -2.0, Judgement(score, score, ()))
            for i, score in enumerate(scores)
        ]
        return SteeredCell(found, Promotion(found, 3, kl, kl / 2, 1.0), tuple(texts))

    settings = SteeringSettings(targets=(0.25, 0.5), signs=(1, -1), samples=4)
    cells = tuple(
        cell(sign, kl, [1.0, 0.5, 2.0, None if sign < 0 else 1.0])
        for sign in settings.signs
        for kl in settings.targets
    )
    feature = SteeredFeature(DescribedFeature(STEERED, "days", promoted=(5, 6)), cells, ())
    site = run.sites[0]
    write_steering(run, site, Steered(site.name, settings, "letters", (feature,)))
